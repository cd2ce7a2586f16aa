//! `include`: other stack files, loaded on their own and taken in.

use std::path::{Path, PathBuf};

use super::keys::STACK;
use super::load::{File, Group, Loader};
use super::merge;
use super::shape::{Cx, map, text};
use super::short::word;
use crate::document::decode::At;
use crate::document::tree::{Entry, Kind, Node};

/// A file by its name.
pub(super) fn short(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    let path = word(at, cx)?;
    Some(map(span, [("path", Some(Node::new(span, Kind::List(vec![text(span, path)]))))]))
}

/// What of an included file is taken in.
const TAKEN: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

impl Loader<'_> {
    /// Takes in what a file includes. What the file says itself stands above that.
    pub(super) fn included(&mut self, mut tree: Node, group: &Group, trail: &[PathBuf]) -> Option<Node> {
        let Kind::Map(entries) = &mut tree.kind else { return Some(tree) };
        let Some(place) = entries.iter().position(|entry| &*entry.key == "include") else { return Some(tree) };
        let include = entries.remove(place);
        let Kind::List(items) = &include.value.kind else { return Some(tree) };
        for (index, item) in items.iter().enumerate() {
            let at = At { node: item, path: format!("include[{index}]") };
            let Some(taken) = self.include(&at, group, trail) else { continue };
            tree = take(taken, tree);
        }
        Some(tree)
    }

    /// One item of `include`: the files of it, merged.
    fn include(&mut self, at: &At<'_>, group: &Group, trail: &[PathBuf]) -> Option<Node> {
        let texts = |key: &str| -> Vec<String> {
            match at.node.get(key).map(|entry| &entry.value.kind) {
                Some(Kind::List(items)) => items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect(),
                _ => Vec::new(),
            }
        };
        let span = at.node.get("path").map_or(at.node.span, |entry| entry.value.span);
        let files: Vec<File> =
            texts("path").iter().map(|name| self.named(name, &group.folder, (span, at.path.clone()))).collect();
        let first = files.first()?;
        if let Some(remote) = texts("path").iter().find(|name| name.contains("://") || name.starts_with("git@")) {
            let message = format!("'{remote}' is not on this machine, and only files that are can be included");
            self.problems.error(span, &at.path, message);
            return None;
        }
        if trail.contains(&first.path) {
            self.problems.error(span, &at.path, format_args!("'{}' includes itself", first.shown));
            return None;
        }
        if trail.len() > self.limits.max_include_depth {
            let message = format!("files are included more than {} levels deep", self.limits.max_include_depth);
            self.problems.error(span, &at.path, message);
            return None;
        }
        let beside = || first.path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let folder = at.node.text_of("project_directory").filter(|folder| !folder.is_empty());
        let folder = folder.map_or_else(beside, |folder| group.folder.join(folder));
        let named: Vec<PathBuf> = texts("env_file").iter().map(|name| group.folder.join(name)).collect();
        let mut variables = group.variables.clone();
        if named.is_empty() {
            self.take_env_file(&folder.join(".env"), false, span, &at.path, &mut variables);
        }
        for file in named.iter().filter(|file| *file != Path::new("/dev/null")) {
            self.take_env_file(file, true, span, &at.path, &mut variables);
        }
        let inner = Group { folder: super::shape::clean(&folder).into(), variables };
        self.group(&files, &inner, trail)
    }
}

/// Puts what was included below what includes it.
fn take(included: Node, mut into: Node) -> Node {
    let Kind::Map(theirs) = included.kind else { return into };
    let Kind::Map(own) = &mut into.kind else { return into };
    for entry in theirs {
        if !TAKEN.contains(&&*entry.key) {
            continue;
        }
        match own.iter_mut().find(|there| *there.key == *entry.key) {
            Some(there) => {
                let mine = std::mem::replace(&mut there.value, Node::new(there.key_span, Kind::Map(Vec::new())));
                let wrap = |value: Node| {
                    let entry = Entry { key: entry.key.clone(), key_span: value.span, value };
                    Node::new(entry.key_span, Kind::Map(vec![entry]))
                };
                let Node { kind: Kind::Map(both), .. } = merge::above(wrap(entry.value), wrap(mine), &STACK) else {
                    continue;
                };
                there.value = both
                    .into_iter()
                    .next()
                    .map_or_else(|| Node::new(there.key_span, Kind::Map(Vec::new())), |entry| entry.value);
            }
            None => own.push(entry),
        }
    }
    into
}
