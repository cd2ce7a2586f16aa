//! Every expression of a document: can it be read, and are the inputs it reads there?

use std::collections::BTreeMap;

use windflow_core::workflow::{InputSpec, Piece, did_you_mean, members, pieces};

use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::source::{Position, Source, Span, source_of};
use crate::document::tree::{Kind, Node};
use crate::expression::Sandbox;

/// The inputs of a workflow.
pub(super) type Inputs = BTreeMap<String, InputSpec>;

/// What an expression may read; see [`windflow_core::Scope::to_value`].
pub(super) const GIVEN: &[&str] = &["inputs", "nodes", "run"];
/// What one may read besides that is done for an item, or in rounds.
pub(super) const GIVEN_WITHIN: &[&str] = &["inputs", "nodes", "run", "item", "key"];

/// An expression and where it stands.
#[derive(Debug)]
pub(super) struct Found<'n> {
    pub(super) text: &'n str,
    pub(super) path: String,
    /// Where its first character stands, or at least the text it is in.
    start: Position,
    /// In which of the files.
    file: u32,
    /// Whether the file says it letter by letter, so that places inside it can be told.
    verbatim: bool,
}

impl Found<'_> {
    /// The place of a byte of the expression.
    pub(super) fn place(&self, byte: usize) -> Position {
        match self.text.get(..byte) {
            Some(before) if self.verbatim && !before.contains('\n') => self.start.right(before.chars().count()),
            _ => self.start,
        }
    }
}

/// The expressions in a template, and the places of those that are never closed.
pub(super) fn in_template<'n>(at: &At<'n>, sources: &[Source]) -> (Vec<Found<'n>>, Vec<(Span, String)>) {
    let (mut found, mut unclosed) = (Vec::new(), Vec::new());
    walk(at.node, &at.path, sources, &mut found, &mut unclosed);
    (found, unclosed)
}

fn walk<'n>(
    node: &'n Node,
    path: &str,
    sources: &[Source],
    found: &mut Vec<Found<'n>>,
    unclosed: &mut Vec<(Span, String)>,
) {
    match &node.kind {
        Kind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), sources, found, unclosed);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                walk(&entry.value, &format!("{path}.{}", entry.key), sources, found, unclosed);
            }
        }
        Kind::Scalar(scalar) if scalar.text().contains("${{") => match pieces(scalar.text()) {
            Ok(pieces) => {
                let Some(source) = source_of(sources, node.span) else { return };
                let expressions = pieces.iter().filter_map(|piece| match piece {
                    Piece::Expression(text) => Some(*text),
                    Piece::Text(_) => None,
                });
                let mut places = source.find_all(node.span, "${{");
                for text in expressions {
                    found.push(stands(text, path, node.span, places.next(), 3, source));
                }
            }
            Err(at) => {
                let nth = scalar.text()[..at].matches("${{").count();
                let found = source_of(sources, node.span).and_then(|source| source.find_in(node.span, "${{", nth));
                unclosed.push((Span { start: found.unwrap_or(node.span.start), ..node.span }, path.to_owned()));
            }
        },
        Kind::Scalar(_) => {}
    }
}

/// The expression of an `if`, with or without `${{ }}`.
pub(super) fn in_condition<'n>(at: &At<'n>, source: &Source) -> Option<Found<'n>> {
    let text = at.raw()?;
    match pieces(text).as_deref() {
        Ok([Piece::Expression(text)]) => {
            Some(stands(text, &at.path, at.node.span, source.find_in(at.node.span, "${{", 0), 3, source))
        }
        Ok([Piece::Text(text)]) => {
            let quoted = matches!(&at.node.kind, Kind::Scalar(scalar) if !scalar.is_plain());
            Some(stands(text.trim(), &at.path, at.node.span, Some(at.node.span.start), usize::from(quoted), source))
        }
        _ => None,
    }
}

fn stands<'n>(
    text: &'n str,
    path: &str,
    span: Span,
    open: Option<Position>,
    skip: usize,
    source: &Source,
) -> Found<'n> {
    let open = open.unwrap_or(span.start);
    let rest = source.rest(open.right(skip));
    let bare = rest.trim_start_matches(' ');
    let space = rest.len() - bare.len();
    let first = text.split('\n').next().unwrap_or_default();
    let verbatim = bare.starts_with(first);
    let start = if verbatim { open.right(skip + space) } else { open };
    Found { text, path: path.to_owned(), start, file: span.file, verbatim }
}

/// Checks every expression in a template: that it is closed, can be read, and names only what is there. `inputs` are those
/// of the workflow, when they are known.
pub(super) fn check_template(
    at: &At<'_>,
    inputs: Option<&Inputs>,
    given: &[&str],
    sandbox: &Sandbox,
    problems: &mut Problems,
) {
    let (found, unclosed) = in_template(at, &problems.sources.clone());
    for (at, path) in unclosed {
        problems.error(at, &path, "opens an expression that '}}' never closes");
    }
    for found in found {
        check(&found, inputs, given, sandbox, problems);
    }
}

/// Checks what an expression says on its own.
pub(super) fn check(
    found: &Found<'_>,
    inputs: Option<&Inputs>,
    given: &[&str],
    sandbox: &Sandbox,
    problems: &mut Problems,
) {
    if let (true, Some(inputs)) = (check_names(found, given, sandbox, problems), inputs) {
        check_inputs(found, inputs, problems);
    }
}

/// Its syntax, and the functions and variables it names. Whether it can be read.
fn check_names(found: &Found<'_>, given: &[&str], sandbox: &Sandbox, problems: &mut Problems) -> bool {
    if problems.is_full() {
        return false;
    }
    let (wrong, read) = match sandbox.check(found.text, given) {
        Ok(wrong) => (wrong, true),
        Err(error) => (vec![error], false),
    };
    for wrong in wrong {
        let line = found.text.split('\n').nth(wrong.line.saturating_sub(1)).unwrap_or_default();
        let before: usize = line.chars().take(wrong.column.saturating_sub(1)).map(char::len_utf8).sum();
        let at = if wrong.line <= 1 { found.place(before) } else { found.start };
        let message = if read {
            wrong.message
        } else {
            let shown: String = found.text.chars().take(60).collect();
            format!("cannot read the expression '{shown}': {}", wrong.message.replace("script", "expression"))
        };
        problems.hinted(Span::at(at).of_file(found.file), &found.path, message, wrong.hint);
    }
    read
}

/// Checks that the inputs an expression reads are there.
pub(super) fn check_inputs(found: &Found<'_>, inputs: &Inputs, problems: &mut Problems) {
    for (name, byte) in members(found.text, "inputs") {
        if inputs.contains_key(name) || problems.is_full() {
            continue;
        }
        let at = found.place(byte);
        let message = format!("reads 'inputs.{name}', and there is no such input");
        let hint = did_you_mean(name, inputs.keys().map(String::as_str));
        let hint = hint.or_else(|| inputs.is_empty().then(|| "the workflow has no inputs".to_owned()));
        problems.hinted(Span::at(at).of_file(found.file), &found.path, message, hint);
    }
}
