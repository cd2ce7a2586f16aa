//! The normal form as people and other tools read it.

use serde_json::Value;
use windflow_core::workflow::{Piece, pieces};

use crate::document::tree::Node;

/// The normal form as a value that reads as the same stack again: each `$` is written `$$`, for it stands for itself.
pub(super) fn value(node: &Node) -> Value {
    let mut value = node.to_value();
    escape(&mut value);
    value
}

fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = escaped(text),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(map) => map.values_mut().for_each(escape),
        _ => {}
    }
}

fn escaped(text: &str) -> String {
    let Ok(pieces) = pieces(text) else { return text.replace('$', "$$") };
    let mut out = String::with_capacity(text.len() + 8);
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(&text.replace('$', "$$")),
            Piece::Expression(inside) => {
                out.push_str("${{ ");
                out.push_str(inside);
                out.push_str(if inside.contains("//") { "\n}}" } else { " }}" });
            }
        }
    }
    out
}

/// A value as YAML, block by block.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut out),
        _ => {
            scalar(value, &mut out);
            out.push('\n');
        }
    }
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&indent);
                word(key, out);
                out.push(':');
                nested(value, depth + 1, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&indent);
                out.push('-');
                // The first key of a map stands beside the dash.
                let mut inner = String::new();
                nested(item, depth + 1, &mut inner);
                match inner.strip_prefix('\n') {
                    Some(rest) => {
                        out.push(' ');
                        out.push_str(rest.trim_start_matches(' '));
                    }
                    None => out.push_str(&inner),
                }
            }
        }
        _ => {}
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let open = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if open {
        out.push('\n');
        block(value, depth, out);
    } else {
        out.push(' ');
        scalar(value, out);
        out.push('\n');
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::String(text) => word(text, out),
        other => out.push_str(&other.to_string()),
    }
}

/// A text, in quotes where it would be read as something else without.
fn word(text: &str, out: &mut String) {
    let first = text.chars().next();
    let safe = |c: char| {
        c.is_alphanumeric()
            || matches!(c, '_' | '-' | '.' | '/' | '+' | '@' | ',' | ' ' | '=' | '$' | '(' | ')' | ';' | '<')
    };
    let plain = first.is_some_and(|c| c.is_alphabetic() || matches!(c, '/' | '_' | '$'))
        && text.chars().all(|c| c.is_ascii() && safe(c) || c == ':')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !is_word(text);
    if plain {
        out.push_str(text);
    } else {
        // JSON leaves one control character as it is that YAML does not.
        out.push_str(&Value::from(text).to_string().replace('\u{7f}', "\\x7f"));
    }
}

/// Words that mean something else to some reader of YAML.
fn is_word(text: &str) -> bool {
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}
