//! Workflows built in code.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::body::Body;
use super::plan::Workflow;
use super::policy::{Join, OnFailure, OnUnknown, Retry};
use super::problem::{InvalidWorkflow, Problem};
use super::spec::{Compensate, NodeSpec, WorkflowSpec};
use crate::id::{ActionName, InvalidName, NodeName, WorkflowName};

/// One node, as it is being built. Names are checked by [`WorkflowBuilder::build`], with everything else.
#[derive(Clone, Debug)]
#[must_use]
pub struct Node {
    name: String,
    spec: NodeSpec,
    problems: Vec<InvalidName>,
}

impl Node {
    /// A node that performs an action.
    pub fn new(name: impl Into<String>, uses: impl AsRef<str>) -> Self {
        let name = name.into();
        let mut problems = Vec::new();
        let mut spec = NodeSpec::new(placeholder(), placeholder_action());
        keep(NodeName::new(&name), &mut problems, |name| spec.name = name);
        keep(ActionName::new(uses), &mut problems, |uses| spec.uses = uses);
        Self { name, spec, problems }
    }

    /// A node that holds a workflow of its own.
    pub fn with_body(name: impl Into<String>, body: Body) -> Self {
        let uses = body.name();
        let mut node = Self::new(name, uses.as_str());
        node.spec.body = Some(Box::new(body));
        node
    }

    /// Its input: any JSON, whose texts may hold `${{ … }}`.
    pub fn input(mut self, input: Value) -> Self {
        self.spec.with = input;
        self
    }

    /// The nodes that must be finished before.
    pub fn needs(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        for name in names {
            keep(NodeName::new(name), &mut self.problems, |name| self.spec.needs.push(name));
        }
        self
    }

    /// Skipped when this expression is false.
    pub fn when(mut self, expression: impl Into<String>) -> Self {
        self.spec.when = Some(expression.into());
        self
    }

    /// When it may start.
    pub fn join(mut self, join: Join) -> Self {
        self.spec.join = join;
        self
    }

    /// How it is retried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.spec.retry = Some(Box::new(retry));
        self
    }

    /// How long one attempt may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = Some(timeout);
        self
    }

    /// How long the step may take over all its attempts.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.spec.deadline = Some(deadline);
        self
    }

    /// How it is undone, if not by its action's own compensation.
    pub fn compensate(mut self, compensate: Compensate) -> Self {
        self.spec.compensate = Some(Box::new(compensate));
        self
    }

    /// What happens when nobody can tell whether it has happened.
    pub fn on_unknown(mut self, on_unknown: OnUnknown) -> Self {
        self.spec.on_unknown = on_unknown;
        self
    }
}

fn keep<T>(name: Result<T, InvalidName>, problems: &mut Vec<InvalidName>, put: impl FnOnce(T)) {
    match name {
        Ok(name) => put(name),
        Err(error) => problems.push(error),
    }
}

// What stands in for a name that is wrong until `build` reports it; both are valid names.
fn placeholder() -> NodeName {
    NodeName::fixed("_")
}
fn placeholder_action() -> ActionName {
    ActionName::fixed("_")
}

/// Builds a [`Workflow`] in code.
#[derive(Clone, Debug)]
#[must_use]
pub struct WorkflowBuilder {
    spec: WorkflowSpec,
    problems: Vec<Problem>,
}

impl WorkflowBuilder {
    pub(super) fn new(name: impl Into<String>) -> Self {
        let (name, problems) = match WorkflowName::new(name.into()) {
            Ok(name) => (name, Vec::new()),
            Err(error) => (WorkflowName::fixed("_"), vec![Problem::new("name", error)]),
        };
        Self { spec: WorkflowSpec::new(name), problems }
    }

    /// Adds a node.
    pub fn node(mut self, node: Node) -> Self {
        let Node { name, spec, problems } = node;
        self.problems.extend(problems.into_iter().map(|error| Problem::new(format!("nodes.{name}"), error)));
        self.spec.nodes.push(spec);
        self
    }

    /// A template for the run's output.
    pub fn outputs(mut self, outputs: Value) -> Self {
        self.spec.outputs = Some(outputs);
        self
    }

    /// What a step's final failure does.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.spec.on_failure = on_failure;
        self
    }

    /// How many steps may run at the same time.
    pub fn max_parallel(mut self, most: u32) -> Self {
        self.spec.max_parallel = most;
        self
    }

    /// How long the run may take before it is cancelled.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.spec.deadline = Some(deadline);
        self
    }

    /// It as data, to be held by a node of another: not validated yet.
    ///
    /// # Errors
    /// [`InvalidWorkflow`] when a name is none.
    pub fn spec(self) -> Result<WorkflowSpec, InvalidWorkflow> {
        match self.problems.is_empty() {
            true => Ok(self.spec),
            false => Err(InvalidWorkflow { name: self.spec.name, problems: self.problems }),
        }
    }

    /// Validates it.
    ///
    /// # Errors
    /// [`InvalidWorkflow`] with every problem.
    pub fn build(self) -> Result<Arc<Workflow>, InvalidWorkflow> {
        let name = self.spec.name.clone();
        match Workflow::from_spec(self.spec) {
            Ok(workflow) if self.problems.is_empty() => Ok(workflow),
            Ok(_) => Err(InvalidWorkflow { name, problems: self.problems }),
            Err(invalid) => {
                let problems = self.problems.into_iter().chain(invalid.problems).collect();
                Err(InvalidWorkflow { name, problems })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(builder: WorkflowBuilder) -> Vec<String> {
        builder.build().unwrap_err().problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let found = problems(
            Workflow::builder("demo")
                .node(Node::new("a", "x").needs(["b"]))
                .node(Node::new("b", "x").needs(["a"]))
                .node(Node::new("build", "x").needs(["biuld"]).timeout(Duration::ZERO))
                .node(Node::new("build", "x"))
                .node(Node::new("c d", "x"))
                .max_parallel(0),
        );
        assert_eq!(
            found,
            [
                "nodes.c d: node name 'c d' must be 1 to 64 characters of A-Z a-z 0-9 _ - and start with a letter, a digit or _",
                "max_parallel: must be 1 to 100,000",
                "nodes.build: is there twice; a node's name must be unique",
                "nodes.build.needs: there is no node 'biuld' (did you mean 'build'?)",
                "nodes.build.timeout: must be longer than nothing",
                "nodes.a.needs: needs itself: a needs b needs a (a workflow runs forwards only; remove one of these needs)",
            ]
        );
    }

    #[test]
    fn a_reference_to_an_output_that_no_ancestor_produces_fails_at_build() {
        let found = problems(
            Workflow::builder("demo")
                .node(Node::new("a", "x"))
                .node(Node::new("b", "x").input(json!({"u": "${{ nodes.a.output.url }}"})))
                .node(Node::new("c", "x").needs(["b"]).when("nodes.aa.output.ok")),
        );
        assert_eq!(
            found,
            [
                "nodes.b.with: reads the output of 'a', which is not finished before 'b' (add 'a' to its needs)",
                "nodes.c.if: reads 'nodes.aa', and there is no such node (did you mean 'a'?)",
            ]
        );
    }

    #[test]
    fn an_ancestor_further_away_may_be_read_and_the_hash_follows_the_content() {
        let build = |url: &str| {
            Workflow::builder("demo")
                .node(Node::new("a", "x").input(json!({"url": url})))
                .node(Node::new("b", "x").needs(["a"]))
                .node(Node::new("c", "x").needs(["b"]).input(json!("${{ nodes.a.output }}")))
                .build()
                .unwrap()
        };
        let workflow = build("u");
        assert_eq!(workflow.reads(workflow.find("c").unwrap()), [workflow.find("a").unwrap()]);
        assert_eq!(workflow.hash(), build("u").hash());
        assert_ne!(workflow.hash(), build("v").hash());
        assert_eq!(*Workflow::from_bytes(workflow.bytes()).unwrap(), *workflow);
    }
}
