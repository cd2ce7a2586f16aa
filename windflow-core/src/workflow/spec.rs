//! The versioned form in which a workflow is stored and hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Body, InputSpec, Join, OnFailure, OnUnknown, Retry};
use crate::id::{ActionName, NodeName, WorkflowName};
use crate::time::millis;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A workflow as data. [`Workflow::from_spec`](super::Workflow::from_spec) validates it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowSpec {
    /// The version of this form: [`WorkflowSpec::VERSION`].
    pub version: u16,
    /// For people.
    pub name: WorkflowName,
    /// The inputs a run takes; any JSON when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<String, InputSpec>>,
    /// The nodes, in the order they were written.
    pub nodes: Vec<NodeSpec>,
    /// A template for the run's output, evaluated when all nodes are finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// What a step's final failure does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// How many steps may run at the same time; 1 to 100,000.
    #[serde(default = "default_parallel", skip_serializing_if = "is_default_parallel")]
    pub max_parallel: u32,
    /// How long the run may take before it is cancelled; waiting counts.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// Of a block, which nodes around it it reads; filled in by [`Workflow::from_spec`](super::Workflow::from_spec). Absent
    /// when it is no block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captures: Option<BTreeSet<NodeName>>,
}

fn default_parallel() -> u32 {
    WorkflowSpec::DEFAULT_PARALLEL
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_default_parallel(value: &u32) -> bool {
    *value == WorkflowSpec::DEFAULT_PARALLEL
}

impl WorkflowSpec {
    /// The version of the form written today.
    pub const VERSION: u16 = 1;
    /// How many steps run at the same time unless said otherwise.
    pub const DEFAULT_PARALLEL: u32 = 1_000;

    /// A workflow without nodes yet.
    #[must_use]
    pub fn new(name: WorkflowName) -> Self {
        Self {
            version: Self::VERSION,
            name,
            inputs: None,
            nodes: Vec::new(),
            outputs: None,
            on_failure: OnFailure::default(),
            max_parallel: Self::DEFAULT_PARALLEL,
            deadline: None,
            captures: None,
        }
    }
}

/// One node as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Unique within the workflow.
    pub name: NodeName,
    /// The action; the [name](Body::name) of its body when it has one.
    pub uses: ActionName,
    /// The action's input, a template. Of a node with a body what that makes of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub with: Value,
    /// The nodes that must be finished before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<NodeName>,
    /// An expression, without `${{ }}`; the node is skipped when it is false.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// When it may start.
    #[serde(default, skip_serializing_if = "is_default")]
    pub join: Join,
    /// How it is retried; [`Retry::default`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// How long one attempt may take; it then ends [`ErrorClass::Unknown`](crate::ErrorClass::Unknown).
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long the step may take over all its attempts.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// How it is undone; by its action's own compensation when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Box<Compensate>>,
    /// What happens when nobody can tell whether it has happened, for at-least-once actions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_unknown: OnUnknown,
    /// What it does instead of performing an action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<Body>>,
}

impl NodeSpec {
    /// A node without needs, input or policy.
    #[must_use]
    pub fn new(name: NodeName, uses: ActionName) -> Self {
        Self {
            name,
            uses,
            with: Value::Null,
            needs: Vec::new(),
            when: None,
            join: Join::default(),
            retry: None,
            timeout: None,
            deadline: None,
            compensate: None,
            on_unknown: OnUnknown::default(),
            body: None,
        }
    }

    /// A node that holds a workflow of its own.
    #[must_use]
    pub fn with_body(name: NodeName, body: Body) -> Self {
        let uses = body.name();
        Self { body: Some(Box::new(body)), ..Self::new(name, uses) }
    }
}

/// How a node is undone otherwise than by its action's own compensation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Compensate {
    /// It is not: the author says that what it did may stay.
    Nothing,
    /// By performing another action.
    Action {
        /// Which.
        uses: ActionName,
        /// Its input, a template, evaluated when the compensation begins; it may read the node's own output, which is
        /// `null` when the step started and never finished.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        with: Value,
        /// How it is retried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Box<Retry>>,
    },
    /// By its action's own compensation, retried like this.
    Own {
        /// How it is retried.
        retry: Box<Retry>,
    },
}
