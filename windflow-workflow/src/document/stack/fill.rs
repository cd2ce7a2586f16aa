//! Every `${VAR}` of a tree.

use super::interpolate::{Lookup, interpolate};
use crate::document::diagnostic::Problems;
use crate::document::reader::join;
use crate::document::source::Span;
use crate::document::tree::{Entry, Kind, Node};

/// Where a key is a name, and no extension however it begins.
pub(super) const NAMED: [&str; 6] = ["services", "networks", "volumes", "secrets", "configs", "models"];

/// What is wrong with a text that the system would take for shorter than it is.
const NUL: &str = "holds a NUL character, and no program can be given one";

/// Fills trees.
pub(super) struct Fill<'f> {
    pub(super) lookup: &'f Lookup<'f>,
    pub(super) problems: &'f mut Problems,
    /// How many more bytes variables may bring in.
    pub(super) bytes: &'f mut usize,
}

impl Fill<'_> {
    /// The tree with every variable replaced. Keys stay: Compose interpolates values only. In extensions that are not ours a
    /// text that cannot be filled stays as it is: they may be anything.
    pub(super) fn tree(&mut self, node: &Node, path: &str, strict: bool) -> Node {
        // Only what is in a file may hold anything.
        let is_content = path.starts_with("configs.") && path.ends_with(".content");
        if strict && !is_content && matches!(&node.kind, Kind::Scalar(scalar) if scalar.text().contains('\0')) {
            self.problems.error(node.span, path, NUL);
        }
        let kind = match &node.kind {
            Kind::Scalar(scalar) if scalar.text().contains('$') => {
                match interpolate(scalar.text(), self.lookup, *self.bytes) {
                    Ok(text) => {
                        *self.bytes = self.bytes.saturating_sub(text.len());
                        Kind::Scalar(scalar.filled(text))
                    }
                    Err(wrong) => {
                        if strict {
                            let found = self.problems.source_of(node.span).find_in(node.span, "$", wrong.dollar);
                            let span = Span { start: found.unwrap_or(node.span.start), ..node.span };
                            self.problems.hinted(span, path, wrong.message, wrong.hint);
                        }
                        Kind::Scalar(scalar.filled(scalar.text().to_owned()))
                    }
                }
            }
            Kind::Scalar(scalar) => Kind::Scalar(scalar.filled(scalar.text().to_owned())),
            Kind::List(items) => Kind::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.tree(item, &format!("{path}[{index}]"), strict))
                    .collect(),
            ),
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|entry| {
                        let extension =
                            entry.key.starts_with("x-") && &*entry.key != "x-windflow" && !NAMED.contains(&path);
                        let strict = strict && !extension;
                        Entry {
                            key: entry.key.clone(),
                            key_span: entry.key_span,
                            value: self.tree(&entry.value, &join(path, &entry.key), strict),
                        }
                    })
                    .collect(),
            ),
        };
        Node { span: node.span, kind, tag: node.tag }
    }
}
