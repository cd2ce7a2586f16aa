//! What all parts of a stack are read with.

use std::path::Path;

use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::reader::join;
use crate::document::source::Span;
use crate::document::tree::{Entry, Kind, Node};
use crate::environment::Environment;

/// What surrounds a stack file.
#[derive(Debug)]
pub(super) struct Around<'e> {
    pub(super) environment: &'e Environment,
    /// The folder the file lies in, absolute.
    pub(super) folder: &'e Path,
}

/// The tree with every `${VAR}` replaced. Keys stay: Compose interpolates values only. `depth` counts the keys above:
/// extensions of the file and of its services that are not ours are left out.
pub(super) fn interpolated(
    node: &Node,
    path: &str,
    depth: usize,
    around: &Around<'_>,
    problems: &mut Problems,
) -> Node {
    let kind = match &node.kind {
        Kind::Scalar(scalar) if scalar.text().contains('$') => {
            match super::interpolate::interpolate(scalar.text(), around.environment) {
                Ok(text) => Kind::Scalar(scalar.filled(text)),
                Err(wrong) => {
                    let start = problems.source.find_in(node.span, "$", wrong.dollar).unwrap_or(node.span.start);
                    problems.hinted(Span { start, end: node.span.end }, path, wrong.message, wrong.hint);
                    node.kind.clone()
                }
            }
        }
        Kind::Scalar(scalar) => Kind::Scalar(scalar.filled(scalar.text().to_owned())),
        Kind::List(items) => Kind::List(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| interpolated(item, &format!("{path}[{index}]"), depth + 1, around, problems))
                .collect(),
        ),
        Kind::Map(entries) => Kind::Map(
            entries
                .iter()
                .filter(|entry| !(matches!(depth, 0 | 2) && entry.key.starts_with("x-")) || &*entry.key == "x-windflow")
                .map(|entry| Entry {
                    key: entry.key.clone(),
                    key_span: entry.key_span,
                    value: interpolated(&entry.value, &join(path, &entry.key), depth + 1, around, problems),
                })
                .collect(),
        ),
    };
    Node { span: node.span, kind }
}

impl<'n> At<'n> {
    /// A scalar as text, whatever its type: Compose takes `8080` where a text is meant.
    pub(super) fn scalar_text(&self, problems: &mut Problems) -> Option<&'n str> {
        match &self.node.kind {
            Kind::Scalar(scalar) if !self.is_null() => Some(scalar.text()),
            _ => self.expected(problems, "text"),
        }
    }

    /// Refuses an expression where the type cannot carry one. Whether it may go on.
    pub(super) fn closed(&self, problems: &mut Problems) -> bool {
        let open = self.raw().is_some_and(|text| text.contains("${{"));
        if open {
            let hint = "an expression may stand in image, command, environment values and labels; use ${VAR} here";
            self.hinted(problems, "cannot hold an expression", hint);
        }
        !open
    }

    /// A list of texts.
    pub(super) fn texts(&self, problems: &mut Problems) -> Option<Vec<String>> {
        let items = self.items(problems)?;
        Some(items.iter().filter_map(|at| at.scalar_text(problems)).map(str::to_owned).collect())
    }
}
