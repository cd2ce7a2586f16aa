//! Where expressions stand in a text. What they mean is the evaluator's business; the engine only needs to know that
//! they are there, and which nodes they read.

use std::collections::BTreeSet;

use serde_json::Value;

/// A piece of a text: plain, or the inside of `${{ … }}` without surrounding space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that stays as it is.
    Text(&'a str),
    /// An expression.
    Expression(&'a str),
}

/// Cuts a text into plain pieces and expressions. A `}}` inside a quoted text of the expression does not end it.
///
/// # Errors
/// The place of a `${{` that is never closed.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, usize> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${{") {
        let open = at + found;
        if open > at {
            out.push(Piece::Text(&text[at..open]));
        }
        let inside = open + 3;
        let close = end_of_expression(&text[inside..]).ok_or(open)?;
        out.push(Piece::Expression(text[inside..inside + close].trim()));
        at = inside + close + 2;
    }
    if at < text.len() || out.is_empty() {
        out.push(Piece::Text(&text[at..]));
    }
    Ok(out)
}

fn end_of_expression(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut i, mut quote) = (0, None);
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (Some(_), b'\\') => i += 1,
            (Some(q), b) if q == b => quote = None,
            (None, b @ (b'"' | b'\'' | b'`')) => quote = Some(b),
            (None, b'}') if bytes.get(i + 1) == Some(&b'}') => {
                // `#{a: #{}}}`: a map literal may close right before the expression does.
                let mut end = i;
                while bytes.get(end + 2) == Some(&b'}') {
                    end += 1;
                }
                return Some(end);
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// Whether any text in the value holds an expression.
#[must_use]
pub fn has_expression(template: &Value) -> bool {
    match template {
        Value::String(text) => text.contains("${{"),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(map) => map.values().any(has_expression),
        _ => false,
    }
}

/// The nodes an expression reads: every `nodes.NAME`, `nodes["NAME"]` and `nodes['NAME']` in it.
#[must_use]
pub fn references(expression: &str) -> BTreeSet<&str> {
    let mut out = BTreeSet::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut at = 0;
    while let Some(found) = expression[at..].find("nodes") {
        let start = at + found;
        at = start + "nodes".len();
        // `my_nodes.x` and `inputs.nodes.x` are something else.
        if expression[..start].chars().next_back().is_some_and(|c| word(c) || c == '.') {
            continue;
        }
        let rest = expression[at..].trim_start();
        if let Some(name) = rest.strip_prefix("?.").or_else(|| rest.strip_prefix('.')) {
            let name = name.trim_start();
            // A node name may hold '-', which an expression would read as minus: such a node is read as nodes["a-b"].
            let end = name.find(|c: char| !word(c)).unwrap_or(name.len());
            if end > 0 {
                out.insert(&name[..end]);
            }
        } else if let Some(index) = rest.strip_prefix("?[").or_else(|| rest.strip_prefix('[')) {
            let index = index.trim_start();
            if let Some(quote) = index.chars().next().filter(|c| "\"'`".contains(*c))
                && let Some(end) = index[1..].find(quote)
            {
                out.insert(&index[1..=end]);
            }
        }
    }
    out
}

/// The nodes that any expression of a template reads.
pub(crate) fn template_references(template: &Value, out: &mut BTreeSet<String>) -> Result<(), String> {
    match template {
        Value::String(text) => {
            if !text.contains("${{") {
                return Ok(());
            }
            for piece in pieces(text).map_err(|at| text[at..].chars().take(40).collect::<String>())? {
                if let Piece::Expression(expression) = piece {
                    out.extend(references(expression).into_iter().map(str::to_owned));
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| template_references(item, out)),
        Value::Object(map) => map.values().try_for_each(|item| template_references(item, out)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_its_expressions() {
        use Piece::{Expression as E, Text as T};
        assert_eq!(pieces("plain").unwrap(), [T("plain")]);
        assert_eq!(pieces("").unwrap(), [T("")]);
        assert_eq!(pieces("${{ a }}").unwrap(), [E("a")]);
        assert_eq!(pieces("x${{a}}y${{ b }}").unwrap(), [T("x"), E("a"), T("y"), E("b")]);
        assert_eq!(pieces(r#"${{ "}}" + '}}' }}!"#).unwrap(), [E(r#""}}" + '}}'"#), T("!")]);
        assert_eq!(pieces("${{ #{a: #{}}}}").unwrap(), [E("#{a: #{}}")]);
        assert_eq!(pieces("ab ${{ x"), Err(3));
    }

    #[test]
    fn references_are_the_nodes_an_expression_reads() {
        let found = |text| references(text).into_iter().collect::<Vec<_>>();
        assert_eq!(found("nodes.build.output.url + nodes[\"a-b\"].output"), ["a-b", "build"]);
        assert_eq!(found("nodes['x'].output == nodes . y"), ["x", "y"]);
        assert_eq!(found("inputs.nodes.z + my_nodes.q + nodes[key]"), [""; 0]);
    }
}
