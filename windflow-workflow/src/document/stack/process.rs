//! `x-windflow: { process: … }`: a service as a process of a host.

use std::path::{Component, Path, PathBuf};

use super::keys::PROCESS;
use super::shape::{Cx, entry, fields, text};
use crate::document::decode::At;
use crate::document::tree::{Kind, Node};

/// A process with absolute paths, and with the folders in which its program is looked up.
pub(super) fn process(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut node = fields(at, &PROCESS, cx)?;
    let folder = cx.folder.to_path_buf();
    let mut own = None;
    if let Kind::Map(entries) = &mut node.kind {
        for entry in entries {
            match (&*entry.key, &mut entry.value.kind) {
                ("command", Kind::List(words)) => own = Some(program(words, at, &folder, cx)?),
                ("working_dir", _) => entry.value = located(&entry.value, &folder),
                ("search", Kind::List(folders)) => {
                    *folders = folders.iter().map(|node| located(node, &folder)).collect();
                }
                _ => {}
            }
        }
    }
    // A program with a slash is a file; one without is looked for beside the stack file, unless told where.
    if let (Some(false), Kind::Map(entries)) = (own, &mut node.kind)
        && !entries.iter().any(|entry| &*entry.key == "search")
    {
        let beside = text(node.span, folder.to_string_lossy().into_owned());
        entries.push(entry("search", Node::new(node.span, Kind::List(vec![beside]))));
    }
    Some(node)
}

/// The command of a process: a list, for no shell splits it.
pub(super) fn command(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    if at.raw().is_some() {
        let hint = "write a list, such as [python3, -m, http.server]; for a shell write [sh, -c, \"…\"]";
        at.hinted(cx.problems, "must be a list: no shell splits it", hint);
        return None;
    }
    let items = at.items(cx.problems)?;
    let words: Vec<Node> =
        items.iter().filter_map(|at| Some(text(at.node.span, at.scalar_text(cx.problems)?))).collect();
    if items.is_empty() || at.node.first_text().is_some_and(str::is_empty) {
        at.error(cx.problems, "must name a program");
        return None;
    }
    Some(Node::new(at.node.span, Kind::List(words)))
}

/// Makes the program of a command absolute, when it is a path. Whether it is one.
fn program(words: &mut [Node], at: &At<'_>, folder: &Path, cx: &mut Cx<'_>) -> Option<bool> {
    let Some(first) = words.first_mut() else {
        at.error(cx.problems, "must name a program");
        return None;
    };
    let Kind::Scalar(scalar) = &first.kind else { return Some(true) };
    let by_path = scalar.text().contains('/') && !scalar.text().starts_with("${{");
    if by_path {
        *first = located(first, folder);
    }
    Some(by_path)
}

/// A path as seen from a folder, without `.` in it. What begins with an expression is left as it is.
fn located(node: &Node, folder: &Path) -> Node {
    let Kind::Scalar(scalar) = &node.kind else { return node.clone() };
    if scalar.text().starts_with("${{") {
        return node.clone();
    }
    let joined = folder.join(scalar.text());
    let plain: PathBuf = joined.components().filter(|part| *part != Component::CurDir).collect();
    text(node.span, plain.to_string_lossy().into_owned())
}
