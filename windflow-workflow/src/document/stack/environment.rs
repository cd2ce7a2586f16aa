//! `environment` and `labels`: maps, or lists of `KEY=VALUE`.

use std::collections::BTreeMap;

use windflow_core::SecretRef;
use windflow_core::target::EnvValue;

use super::build::Around;
use super::process::NUL;
use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::source::Span;
use crate::document::tree::Kind;

/// A pair, whichever form it was written in. `None` is a key without a value.
struct Pair<'n> {
    key: &'n str,
    value: Option<&'n str>,
    at: At<'n>,
    key_span: Span,
}

fn pairs<'n>(at: &At<'n>, problems: &mut Problems) -> Vec<Pair<'n>> {
    let mut out: Vec<Pair<'n>> = Vec::new();
    match &at.node.kind {
        Kind::List(_) => {
            for at in at.items(problems).unwrap_or_default() {
                let Some(text) = at.scalar_text(problems) else { continue };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Some(value)),
                    None => (text, None),
                };
                let key_span = at.node.span;
                if out.iter().any(|pair| pair.key == key) {
                    at.error(problems, format_args!("'{key}' is there twice"));
                }
                out.push(Pair { key, value, at, key_span });
            }
        }
        Kind::Map(_) => {
            for (entry, at) in at.entries(problems).unwrap_or_default() {
                let value = if at.is_null() {
                    None
                } else {
                    match at.scalar_text(problems) {
                        Some(text) => Some(text),
                        None => continue,
                    }
                };
                out.push(Pair { key: &entry.key, value, at, key_span: entry.key_span });
            }
        }
        Kind::Scalar(_) if at.is_null() => {}
        Kind::Scalar(_) => {
            at.expected::<()>(problems, "a map or a list of KEY=VALUE");
        }
    }
    out
}

/// `environment:`. A key without a value takes it from the surroundings; `secret://…` becomes a reference.
pub(super) fn environment(at: &At<'_>, around: &Around<'_>, problems: &mut Problems) -> BTreeMap<String, EnvValue> {
    let mut out = BTreeMap::new();
    for pair in pairs(at, problems) {
        if pair.key.is_empty() || pair.key.contains(['=', '\0']) || pair.key.contains("${{") {
            problems.error(pair.key_span, &pair.at.path, "is not a variable's name");
            continue;
        }
        let value = match pair.value.or_else(|| around.environment.variable(pair.key)) {
            Some(value) => value,
            None => {
                let hint = format!("set it, or write a value; an empty one is written {}: \"\"", pair.key);
                let message = format!("has no value, and the variable '{}' is not set", pair.key);
                problems.hinted(pair.key_span, &pair.at.path, message, Some(hint));
                continue;
            }
        };
        let value = if value.starts_with(SecretRef::SCHEME) {
            match value.parse::<SecretRef>() {
                Ok(reference) => EnvValue::Secret(reference),
                Err(error) => {
                    pair.at.error(problems, error);
                    continue;
                }
            }
        } else if value.contains('\0') {
            pair.at.error(problems, NUL);
            continue;
        } else {
            EnvValue::Plain(value.to_owned())
        };
        out.insert(pair.key.to_owned(), value);
    }
    out
}

/// `labels:`. A label without a value is empty.
pub(super) fn labels(at: &At<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for pair in pairs(at, problems) {
        if pair.key.is_empty() || pair.key.contains("${{") {
            problems.error(pair.key_span, &pair.at.path, "is not a label's name");
            continue;
        }
        out.insert(pair.key.to_owned(), pair.value.unwrap_or_default().to_owned());
    }
    out
}
