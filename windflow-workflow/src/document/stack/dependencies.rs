//! Every dependency exists, and none leads back to where it came from.

use std::collections::BTreeSet;

use windflow_core::ServiceName;
use windflow_core::target::Stack;
use windflow_core::workflow::did_you_mean;

use crate::document::diagnostic::Problems;
use crate::document::source::Span;
use crate::document::tree::Node;

/// `known` are the services of the stack, `seen` those that some file names: of others, profiles keep them away.
pub(super) fn check(
    stack: &Stack,
    known: &BTreeSet<&str>,
    seen: &BTreeSet<String>,
    root: &Node,
    problems: &mut Problems,
) {
    for (name, service) in &stack.services {
        for (need, dependency) in &service.depends_on {
            let (span, path) = place(root, name, need);
            if need == name {
                problems.error(span, &path, "a service cannot depend on itself");
            } else if !known.contains(need.as_str())
                && dependency.required
                && !problems.touches(&format!("services.{need}"))
            {
                let hint = if seen.contains(need.as_str()) {
                    Some("it has profiles, and none of them is active".to_owned())
                } else {
                    did_you_mean(need.as_str(), known.iter().copied())
                };
                problems.hinted(span, &path, format_args!("there is no service '{need}'"), hint);
            }
        }
    }
    circles(stack, root, problems);
}

fn circles(stack: &Stack, root: &Node, problems: &mut Problems) {
    // Services that wait for nobody are taken away until only circles and what hangs on them are left.
    let mut left: BTreeSet<&ServiceName> = stack.services.keys().collect();
    loop {
        let free: Vec<&ServiceName> = left
            .iter()
            .copied()
            .filter(|name| !stack.services[*name].depends_on.keys().any(|need| need != *name && left.contains(need)))
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            left.remove(name);
        }
    }
    let Some(mut at) = left.first().copied() else { return };
    let mut way = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        match stack.services[at].depends_on.keys().find(|need| *need != at && left.contains(need)) {
            Some(next) => at = next,
            None => return,
        }
    }
    let start = way.iter().position(|name| *name == at).unwrap_or(0);
    let circle: Vec<&str> = way[start..].iter().map(|name| name.as_str()).chain([at.as_str()]).collect();
    let second = circle.get(1).and_then(|name| ServiceName::new(name).ok());
    let (span, path) = place(root, at, second.as_ref().unwrap_or(at));
    problems.error(span, &path, format_args!("waits for itself: {}", circle.join(" needs ")));
}

fn place(root: &Node, service: &ServiceName, need: &ServiceName) -> (Span, String) {
    let path = format!("services.{service}.depends_on");
    let Some(node) = root.find(&["services", service.as_str(), "depends_on"]) else { return (root.span, path) };
    match node.get(need.as_str()) {
        Some(entry) => (entry.key_span, format!("{path}.{need}")),
        None => (node.span, path),
    }
}
