//! From the engine's words for a place, `nodes.build.needs`, to a place in the file.

use windflow_core::workflow::{Finding, Problem, Severity as CoreSeverity, members, references};

use super::block::written;
use crate::document::decode::At;
use crate::document::diagnostic::{Diagnostic, Severity};
use crate::document::expressions::{Found, in_condition, in_template};
use crate::document::source::{Position, Source};
use crate::document::tree::{Kind, Node};

/// A problem of the engine's validation, located as precisely as its words allow.
pub(super) fn problem(problem: &Problem, root: &Node, source: &Source) -> Diagnostic {
    let mut problem = problem.clone();
    problem.path = written(&problem.path, root);
    let problem = &problem;
    let (at, path) = place(problem, root, source);
    Diagnostic { hint: problem.hint.clone(), ..Diagnostic::new(source.name(), at, path, &problem.message) }
}

fn place(problem: &Problem, root: &Node, source: &Source) -> (Position, String) {
    let key = || (root.locate(&problem.path).start, problem.path.clone());
    let parts: Vec<&str> = problem.path.split('.').collect();
    let Some(node) = root.find(&parts) else { return key() };
    let at = At { node, path: problem.path.clone() };
    // Only the last of the nodes within each other counts.
    let last = parts.len().saturating_sub(match parts.as_slice() {
        [.., "nodes", _, "compensate", "with"] | [.., "nodes", _, "repeat", "until"] => 4,
        [.., "nodes", _, _] => 3,
        [.., "outputs"] => 1,
        _ => parts.len(),
    });
    match &parts[last..] {
        ["nodes", _, "needs"] => needed(&problem.message, &at).unwrap_or_else(key),
        ["nodes", _, "if"] | ["nodes", _, "repeat", "until"] => {
            read(&problem.message, in_condition(&at, source).into_iter()).unwrap_or_else(key)
        }
        ["nodes", _, "with" | "for_each" | "switch" | "outputs"] | ["nodes", _, "compensate", "with"] | ["outputs"] => {
            read(&problem.message, in_template(&at, std::slice::from_ref(source)).0.into_iter()).unwrap_or_else(key)
        }
        // What is read within a node that holds others.
        _ if problem.message.starts_with("reads ") => {
            read(&problem.message, in_template(&at, std::slice::from_ref(source)).0.into_iter()).unwrap_or_else(key)
        }
        _ => match &node.kind {
            Kind::Scalar(_) => (node.span.start, problem.path.clone()),
            _ => key(),
        },
    }
}

/// The item of `needs` that a message quotes.
fn needed(message: &str, at: &At<'_>) -> Option<(Position, String)> {
    // "there is no node 'x'", "'x' is there twice", "needs itself: a needs x needs a"
    let name = match message.strip_prefix("needs itself: ") {
        Some(way) => way.split(" needs ").nth(1)?,
        None => message.split('\'').nth(1)?,
    };
    let items = at.one_or_many();
    let mut same = items.iter().filter(|item| item.raw() == Some(name));
    let found = if message.ends_with("there twice") { same.next_back() } else { same.next() }?;
    Some((found.node.span.start, found.path.clone()))
}

/// The expression that reads the node a message quotes, and where in it.
fn read<'n>(message: &str, mut found: impl Iterator<Item = Found<'n>>) -> Option<(Position, String)> {
    // "reads 'nodes.x', and …", "reads the output of 'x', which …"
    let quoted = message.split('\'').nth(1)?;
    let name = quoted.strip_prefix("nodes.").unwrap_or(quoted);
    let found = found.find(|found| references(found.text).contains(name))?;
    let byte = members(found.text, "nodes").into_iter().find(|(member, _)| *member == name).map_or(0, |(_, byte)| byte);
    Some((found.place(byte), found.path.clone()))
}

/// A finding about a node, located.
pub(super) fn finding(finding: &Finding, root: &Node, source: &Source) -> Diagnostic {
    let mut path = format!("nodes.{}", finding.node);
    for part in finding.path.split('/').filter(|part| !part.is_empty()) {
        // A JSON pointer says `0` for a place in a list.
        if part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push('.');
            path.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    let path = written(&path, root);
    let severity = match finding.severity {
        CoreSeverity::Error => Severity::Error,
        CoreSeverity::Warning => Severity::Warning,
    };
    let at = root.locate(&path).start;
    Diagnostic { hint: finding.hint.clone(), severity, ..Diagnostic::new(source.name(), at, path, &finding.message) }
}
