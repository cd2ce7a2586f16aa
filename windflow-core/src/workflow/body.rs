//! Nodes that hold a workflow of their own instead of an action: its runs are children of the run.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression::{references, template_references};
use super::spec::{Compensate, WorkflowSpec};
use crate::id::{ActionName, NodeName};
use crate::time::millis;

/// How deep runs may lie in runs.
pub const MAX_DEPTH: usize = 8;
/// The most runs one step may have: items of a `for_each`, rounds of a `repeat`.
pub const MAX_CHILDREN: u32 = 10_000;

/// What a node does that holds a workflow: runs of it, which are children of the run.
///
/// A *block* sees what is around it: the inputs of the workflow it stands in, and the outputs of nodes that are finished
/// before it. A *called* workflow has inputs of its own, given by the node's `with`. Either is undone as a whole: a child
/// that fails undoes itself first, unless its workflow says otherwise, and the node fails then; a child that has succeeded
/// is undone when the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// One run of another workflow. The node's output is its.
    Call {
        /// Which workflow; pinned with this one.
        workflow: Box<WorkflowSpec>,
    },
    /// One run of a block. The node's output is its.
    Scope {
        /// The block.
        block: Box<WorkflowSpec>,
    },
    /// A run of a block for each item of the node's `with`: a list, or a map. The node's output is a list of the outputs
    /// in the order of the items, or a map of them.
    ForEach {
        /// The block; it reads the item as `item`, and its place in the list, or its key in the map, as `key`.
        block: Box<WorkflowSpec>,
        /// How many run at the same time; 1 to [`MAX_CHILDREN`].
        max_parallel: u32,
        /// What the failure of one does to the others.
        #[serde(default)]
        on_item_failure: OnItemFailure,
    },
    /// Runs of a block, one after the other, until an expression is true. The node's output is that of the last one.
    Repeat {
        /// The block; it reads the number of the round, counted from 0, as `key`, and the output of the round before, `null`
        /// in the first, as `item`.
        block: Box<WorkflowSpec>,
        /// An expression, without `${{ }}`, evaluated after each round; it reads the round's output as `item`, and its number
        /// as `key`.
        until: String,
        /// How many rounds at most; 1 to [`MAX_CHILDREN`]. The node fails when it is still not true then.
        max_rounds: u32,
        /// How long it waits between two rounds.
        #[serde(default, with = "millis", skip_serializing_if = "Duration::is_zero")]
        every: Duration,
    },
    /// One run of the block whose case equals the node's `with`; a number or a boolean equals its text as well. The node's output is its, `null` when there is no such
    /// case and no other.
    Switch {
        /// The cases: what `with` must be, and the block; the first that fits counts.
        cases: Vec<Case>,
        /// The block when none fits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        otherwise: Option<Box<WorkflowSpec>>,
    },
}

/// One case of a [`Body::Switch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the node's `with` must be equal to.
    pub is: Value,
    /// What is done then.
    pub block: WorkflowSpec,
}

/// What the failure of one item does to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnItemFailure {
    /// No other begins, those that run are cancelled, and the node fails.
    #[default]
    Stop,
    /// All are run, and the node succeeds; its output says of each how it ended:
    /// `{"state": "succeeded", "output": …}`, or `{"state": "compensated", "problem": "…"}`.
    Collect,
}

impl Body {
    /// The name that stands in the node's `uses`.
    #[must_use]
    pub fn name(&self) -> ActionName {
        ActionName::fixed(match self {
            Self::Call { .. } => "call",
            Self::Scope { .. } => "scope",
            Self::ForEach { .. } => "for_each",
            Self::Repeat { .. } => "repeat",
            Self::Switch { .. } => "switch",
        })
    }

    /// Its workflows, each with its place in the node's form: one, or one for each case.
    pub fn workflows(&self) -> Box<dyn Iterator<Item = (String, &WorkflowSpec)> + '_> {
        match self {
            Self::Call { workflow } => Box::new(std::iter::once(("workflow".to_owned(), &**workflow))),
            Self::Scope { block } | Self::ForEach { block, .. } | Self::Repeat { block, .. } => {
                Box::new(std::iter::once(("block".to_owned(), &**block)))
            }
            Self::Switch { cases, otherwise } => {
                let cases = cases.iter().enumerate();
                let cases = cases.map(|(at, case)| (format!("cases[{at}].block"), &case.block));
                Box::new(cases.chain(otherwise.iter().map(|block| ("otherwise".to_owned(), &**block))))
            }
        }
    }

    /// Its workflows, to change them before the one they stand in is validated.
    pub fn workflows_mut(&mut self) -> Vec<&mut WorkflowSpec> {
        match self {
            Self::Call { workflow: one }
            | Self::Scope { block: one }
            | Self::ForEach { block: one, .. }
            | Self::Repeat { block: one, .. } => vec![&mut **one],
            Self::Switch { cases, otherwise } => {
                let cases = cases.iter_mut().map(|case| &mut case.block);
                cases.chain(otherwise.iter_mut().map(|block| &mut **block)).collect()
            }
        }
    }

    /// Which of [`Body::workflows`] is run when the node's input is this.
    #[must_use]
    pub fn chosen(&self, input: &Value) -> Option<usize> {
        match self {
            Self::Switch { cases, otherwise } => {
                let text = match input {
                    Value::Number(_) | Value::Bool(_) => Some(Value::from(input.to_string())),
                    _ => None,
                };
                let case = cases.iter().position(|case| case.is == *input || Some(&case.is) == text.as_ref());
                case.or(otherwise.as_ref().map(|_| cases.len()))
            }
            _ => Some(0),
        }
    }

    /// Whether its workflows see what is around them.
    #[must_use]
    pub fn is_block(&self) -> bool {
        !matches!(self, Self::Call { .. })
    }
}

/// Lets every block within say which nodes around it it reads: a run of it takes their outputs along.
pub(super) fn fill_captures(spec: &mut WorkflowSpec) {
    for node in &mut spec.nodes {
        let Some(body) = node.body.as_deref_mut() else { continue };
        let is_block = body.is_block();
        for inner in body.workflows_mut() {
            fill_captures(inner);
            inner.captures = is_block.then(|| unresolved(inner));
        }
    }
}

/// The nodes that a workflow reads, or a block within it does, and that are not in it.
fn unresolved(spec: &WorkflowSpec) -> BTreeSet<NodeName> {
    let mut names = BTreeSet::new();
    for node in &spec.nodes {
        // What is never closed is told where the workflow is checked.
        let _ = template_references(&node.with, &mut names);
        let expressions = node.when.iter().map(String::as_str).chain(match node.body.as_deref() {
            Some(Body::Repeat { until, .. }) => Some(until.as_str()),
            _ => None,
        });
        for expression in expressions {
            names.extend(references(expression).into_iter().map(str::to_owned));
        }
        if let Some(Compensate::Action { with, .. }) = node.compensate.as_deref() {
            let _ = template_references(with, &mut names);
        }
        for (_, inner) in node.body.iter().flat_map(|body| body.workflows()) {
            names.extend(inner.captures.iter().flatten().map(NodeName::to_string));
        }
    }
    let _ = spec.outputs.as_ref().map(|outputs| template_references(outputs, &mut names));
    let own: BTreeSet<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    names.iter().filter(|name| !own.contains(name.as_str())).filter_map(|name| NodeName::new(name).ok()).collect()
}

/// How many levels of runs there are in a run of a workflow, itself included.
pub(super) fn depth(spec: &WorkflowSpec) -> usize {
    let inner = spec.nodes.iter().flat_map(|node| &node.body).flat_map(|body| body.workflows());
    1 + inner.map(|(_, spec)| depth(spec)).max().unwrap_or(0)
}
