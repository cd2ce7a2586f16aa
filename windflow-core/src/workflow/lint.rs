//! What can be told of a workflow once its actions are known.

use serde::Serialize;
use serde_json::Value;

use super::plan::Workflow;
use super::problem::did_you_mean;
use super::spec::{Compensate, WorkflowSpec};
use crate::action::Registry;
use crate::id::{ActionName, NodeName};
use crate::outcome::Reversal;

/// Whether a finding keeps the workflow from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot run.
    Error,
    /// It can, and the author should know.
    Warning,
}

/// Something found out about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Whether it keeps the workflow from running.
    pub severity: Severity,
    /// Which node.
    pub node: NodeName,
    /// Where in the node, as a path: `uses`, `with/url`.
    pub path: String,
    /// What.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Workflow {
    /// Checks every node against the actions that are registered.
    #[must_use]
    pub fn lint(&self, actions: &Registry) -> Vec<Finding> {
        self.spec().lint(actions)
    }
}

impl WorkflowSpec {
    /// Checks every node against the actions that are registered, whether or not the workflow as a whole is valid.
    #[must_use]
    pub fn lint(&self, actions: &Registry) -> Vec<Finding> {
        let mut findings = Vec::new();
        for node in &self.nodes {
            for (place, inner) in node.body.iter().flat_map(|body| body.workflows()) {
                findings.extend(inner.lint(actions).into_iter().map(|finding| {
                    let path = format!("{place}/nodes/{}/{}", finding.node, finding.path);
                    Finding { node: node.name.clone(), path, ..finding }
                }));
            }
            let mut push = |severity, path: String, message: String, hint| {
                findings.push(Finding { severity, node: node.name.clone(), path, message, hint });
            };
            let look_up = |uses: &ActionName, with: &Value, at: &str, push: &mut dyn FnMut(_, String, String, _)| {
                let Some(action) = actions.get(uses) else {
                    let hint = did_you_mean(uses.as_str(), actions.names().map(ActionName::as_str));
                    push(Severity::Error, format!("{at}uses"), format!("there is no action '{uses}'"), hint);
                    return None;
                };
                for (path, message) in action.check(with) {
                    push(Severity::Error, format!("{at}with{path}"), message, None);
                }
                Some(action.reversal())
            };
            let own = match node.body {
                Some(_) => None,
                None => look_up(&node.uses, &node.with, "", &mut push),
            };
            match node.compensate.as_deref() {
                Some(Compensate::Action { uses, with, .. }) => {
                    look_up(uses, with, "compensate/", &mut push);
                }
                Some(Compensate::Nothing) => {}
                _ if own == Some(Reversal::None) => push(
                    Severity::Warning,
                    "compensate".to_owned(),
                    format!("is not undoable: '{}' cannot take its work back", node.uses),
                    Some("name an action in 'compensate', or write 'compensate: nothing' if it may stay".to_owned()),
                ),
                _ => {}
            }
        }
        findings
    }
}
