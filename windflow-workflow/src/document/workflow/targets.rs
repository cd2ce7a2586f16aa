//! The targets that a workflow names: are they there? Which ones there are, only the caller knows.

use std::collections::BTreeSet;

use serde_json::Value;
use windflow_core::workflow::{Compensate, did_you_mean};
use windflow_core::{ActionName, TargetName};

use super::block::written;
use super::file::Opened;
use crate::document::diagnostic::Diagnostic;
use crate::document::source::Source;

/// The actions that work on a target. What others call so is theirs.
const ON_TARGETS: [&str; 7] = ["adopt", "deploy", "destroy", "exec", "rollback", "scale", "wait_healthy"];

impl Opened {
    /// Every name of a target, in a node of an action that works on one, that no target has.
    pub(in crate::document) fn check_targets(
        &self,
        targets: &BTreeSet<TargetName>,
        source: &Source,
    ) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        let mut look = |uses: &ActionName, with: &Value, path: &str| {
            if !ON_TARGETS.contains(&uses.as_str()) {
                return;
            }
            let fallback = with.get("fallback").and_then(Value::as_array).into_iter().flatten().enumerate();
            let fallback = fallback.map(|(n, name)| (format!("{path}.fallback[{n}]"), name));
            let named = with.get("target").map(|name| (format!("{path}.target"), name)).into_iter().chain(fallback);
            for (path, name) in named {
                // What an expression comes to is not known yet; what is no name at all the action says itself.
                let Some(name) = name.as_str().filter(|name| TargetName::new(name).is_ok()) else { continue };
                if targets.iter().any(|target| target.as_str() == name) {
                    continue;
                }
                let known = || targets.iter().map(TargetName::as_str);
                let hint = did_you_mean(name, known());
                let hint = hint.unwrap_or_else(|| format!("known: {}", known().collect::<Vec<_>>().join(", ")));
                let path = written(&path, &self.root);
                let written = self.root.find(&path.split('.').collect::<Vec<_>>());
                let at = written.map_or_else(|| self.root.locate(&path), |node| node.span).start;
                let message = format!("there is no target '{name}'");
                wrong.push(Diagnostic::new(source.name(), at, path, message).with_hint(hint));
            }
        };
        let mut open = vec![(self.spec.nodes.as_slice(), String::new())];
        while let Some((nodes, of)) = open.pop() {
            for node in nodes {
                let at = format!("{of}nodes.{}", node.name);
                look(&node.uses, &node.with, &format!("{at}.with"));
                if let Some(Compensate::Action { uses, with, .. }) = node.compensate.as_deref() {
                    look(uses, with, &format!("{at}.compensate.with"));
                }
                let inner = node.body.iter().flat_map(|body| body.workflows());
                open.extend(inner.map(|(place, block)| (block.nodes.as_slice(), format!("{at}.{place}."))));
            }
        }
        wrong
    }
}
