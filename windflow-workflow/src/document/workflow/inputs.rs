//! The typed inputs of a workflow file.

use std::collections::BTreeMap;

use windflow_core::workflow::{InputKind, InputSpec};

use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::keys;

pub(super) const KINDS: [(&str, InputKind); 7] = [
    ("string", InputKind::String),
    ("integer", InputKind::Integer),
    ("number", InputKind::Number),
    ("boolean", InputKind::Boolean),
    ("array", InputKind::Array),
    ("object", InputKind::Object),
    ("any", InputKind::Any),
];

/// `inputs: { image: { type: string, default: x }, count: integer }`.
pub(super) fn inputs(at: &At<'_>, problems: &mut Problems) -> BTreeMap<String, InputSpec> {
    let mut out = BTreeMap::new();
    if at.is_null() {
        return out;
    }
    for (entry, at) in at.entries(problems).unwrap_or_default() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if entry.key.is_empty() || entry.key.len() > 64 || !entry.key.chars().all(word) {
            let message = "an input's name must be 1 to 64 characters of A-Z a-z 0-9 _ -";
            problems.error(entry.key_span, &at.path, message);
            continue;
        }
        // A wrong input stays known by its name, so that what reads it is not wrong as well.
        let spec = input(&at, problems);
        let unknown = InputSpec { kind: InputKind::Any, description: None, default: None, choices: Vec::new() };
        out.insert(entry.key.to_string(), spec.unwrap_or(unknown));
    }
    out
}

fn input(at: &At<'_>, problems: &mut Problems) -> Option<InputSpec> {
    if at.raw().is_some() {
        let kind = at.choice(problems, &KINDS)?;
        return Some(InputSpec { kind, description: None, default: None, choices: Vec::new() });
    }
    let fields = at.fields(problems, "an input", keys::INPUT, keys::INPUT_LATER)?;
    let kind = fields
        .need(problems, "type", "one of string, integer, number, boolean, array, object, any")
        .and_then(|at| at.choice(problems, &KINDS));
    let description = fields.get("description").and_then(|at| at.text(problems)).map(str::to_owned);
    let kind = kind?;
    let mut right = |at: &At<'_>| {
        let value = at.node.to_value();
        if kind.takes(&value) { Some(value) } else { at.expected(problems, &article(kind)) }
    };
    let choices: Vec<_> = match fields.get("enum") {
        None => Vec::new(),
        Some(at) => at.one_or_many().iter().filter_map(&mut right).collect(),
    };
    let default = fields.get("default").filter(|at| kind != InputKind::Any || !at.is_null());
    let default = default.and_then(|at| Some((at, right(at)?)));
    if let (Some((at, value)), false) = (&default, choices.is_empty())
        && !choices.contains(value)
    {
        let all: Vec<String> = choices.iter().map(ToString::to_string).collect();
        at.error(problems, format_args!("must be one of {}, as 'enum' says", all.join(", ")));
    }
    Some(InputSpec { kind, description, default: default.map(|(_, value)| value), choices })
}

fn article(kind: InputKind) -> String {
    match kind {
        InputKind::Boolean => "a boolean, true or false".to_owned(),
        kind => kind.to_string(),
    }
}
