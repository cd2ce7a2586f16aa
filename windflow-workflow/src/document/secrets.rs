//! Secret references in documents: do the sources they name exist? Which ones there are, only the caller knows.

use std::collections::BTreeMap;

use windflow_core::workflow::did_you_mean;
use windflow_core::{SecretRef, SecretSources};

use super::decode::At;
use super::diagnostic::Problems;
use super::source::Span;
use super::tree::{Kind, Node};

/// Notes every reference in a template that no source can answer. A reference is a word of its own in a text, as the actions
/// read it: `Bearer secret://env/TOKEN`.
pub(super) fn check_template(at: &At<'_>, sources: &SecretSources, problems: &mut Problems) {
    match &at.node.kind {
        Kind::Scalar(scalar) if scalar.text().contains(SecretRef::SCHEME) => {
            let mut seen = BTreeMap::new();
            for word in scalar.text().split_ascii_whitespace() {
                let nth = seen.entry(word).and_modify(|nth| *nth += 1).or_insert(0);
                check_word(word, *nth, at, sources, problems);
            }
        }
        Kind::Scalar(_) => {}
        Kind::List(items) => {
            for (index, node) in items.iter().enumerate() {
                check_template(&At { node, path: format!("{}[{index}]", at.path) }, sources, problems);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                let path = format!("{}.{}", at.path, entry.key);
                check_template(&At { node: &entry.value, path }, sources, problems);
            }
        }
    }
}

/// Notes what is wrong with one word, the `nth` of its kind in the text.
fn check_word(word: &str, nth: usize, at: &At<'_>, sources: &SecretSources, problems: &mut Problems) {
    if !word.starts_with(SecretRef::SCHEME) || word == SecretRef::SCHEME || problems.is_full() {
        return;
    }
    let told = match word.parse::<SecretRef>() {
        Ok(reference) => unknown(&reference, sources),
        // What an expression makes of it is not known yet.
        Err(_) if word.contains("${{") => None,
        Err(error) => Some((error.to_string(), None)),
    };
    if let Some((message, hint)) = told {
        let found = problems.source_of(at.node.span).find_in(at.node.span, word, nth);
        let start = found.unwrap_or(at.node.span.start);
        problems.hinted(Span { start, ..at.node.span }, &at.path, message, hint);
    }
}

/// What is wrong with a reference, if no source can answer it, and what a person can do.
pub(super) fn unknown(reference: &SecretRef, sources: &SecretSources) -> Option<(String, Option<String>)> {
    let name = reference.source();
    if sources.names().any(|known| known == name) {
        return None;
    }
    let known: Vec<&str> = sources.names().collect();
    let hint = match did_you_mean(name, known.iter().copied()) {
        Some(hint) => hint,
        None if known.is_empty() => "no source of secrets is registered".to_owned(),
        None => format!("known: {}", known.join(", ")),
    };
    Some((format!("'{reference}' names the secret source '{name}', and there is no such source"), Some(hint)))
}

/// Where a variable of a service stands: its value, or its name when the value comes from elsewhere.
pub(super) fn variable<'n>(root: &'n Node, service: &str, variable: &str) -> (Span, String) {
    let path = format!("services.{service}.environment");
    let Some(node) = root.find(&["services", service, "environment"]) else { return (root.locate(&path), path) };
    let at = At { node, path };
    match &node.kind {
        Kind::List(_) => {
            let named = |item: &At<'n>| {
                item.raw().is_some_and(|text| text.split_once('=').map_or(text, |(key, _)| key) == variable)
            };
            at.one_or_many().into_iter().find(named).map_or((node.span, at.path), |item| (item.node.span, item.path))
        }
        _ => match node.get(variable) {
            Some(entry) => {
                let written = matches!(&entry.value.kind, Kind::Scalar(scalar) if !scalar.text().is_empty());
                let span = if written { entry.value.span } else { entry.key_span };
                (span, format!("{}.{variable}", at.path))
            }
            None => (node.span, at.path),
        },
    }
}
