//! `${VAR}` and its relatives. `${{ … }}` is an expression and stays.

use windflow_core::workflow::{Piece, pieces};

/// How a variable is looked up.
pub(super) type Lookup<'l> = dyn Fn(&str) -> Option<String> + 'l;

/// Why a text cannot be interpolated: at which `$` of it, counted from 0, a sentence, and what a person can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) dollar: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// What is wrong with a value that would be taken for an expression: nobody has written one.
pub(super) const OPENS: &str = "a variable brings in '${{', which would be taken for an expression";

/// Replaces `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?message}`, `${VAR?message}`, `${VAR:+other}`,
/// `${VAR+other}` and `$$`. A default may hold variables itself. A variable that is not set and has no default is
/// refused: a stack that silently lacks a value is worse than none.
///
/// `most` is how many bytes may come out of it.
pub(super) fn interpolate(text: &str, lookup: &Lookup<'_>, most: usize) -> Result<String, Wrong> {
    let Ok(pieces) = pieces(text) else { return Ok(text.to_owned()) };
    let variables = Variables { lookup, unset: None, most };
    let mut out = String::with_capacity(text.len());
    let mut dollars = 0;
    for piece in pieces {
        match piece {
            Piece::Text(text) => match expand(text, 0, &variables, 0) {
                Ok(text) if text.contains("${{") => {
                    let message = OPENS.to_owned();
                    return Err(Wrong { dollar: dollars, message, hint: None });
                }
                Ok(text) => out.push_str(&text),
                Err(Inside { at, message, hint }) => {
                    let before = text.get(..at).unwrap_or(text).matches('$').count().saturating_sub(1);
                    return Err(Wrong { dollar: dollars + before, message, hint });
                }
            },
            Piece::Expression(expression) => {
                dollars += 1;
                out.push_str("${{ ");
                out.push_str(expression);
                // It may end in a comment.
                out.push_str(if expression.contains("//") { "\n}}" } else { " }}" });
            }
        }
        let (Piece::Text(text) | Piece::Expression(text)) = piece;
        dollars += text.matches('$').count();
    }
    Ok(out)
}

/// The same in a text without expressions. Where `unset` is given, a variable that is not set has its value.
pub(super) fn substitute(
    text: &str,
    lookup: &Lookup<'_>,
    unset: Option<&Lookup<'_>>,
    most: usize,
) -> Result<String, Wrong> {
    expand(text, 0, &Variables { lookup, unset, most }, 0).map_err(|Inside { at, message, hint }| {
        let dollar = text.get(..at).unwrap_or(text).matches('$').count().saturating_sub(1);
        Wrong { dollar, message, hint }
    })
}

/// What variables are replaced by.
struct Variables<'v, 'l> {
    lookup: &'v Lookup<'l>,
    unset: Option<&'v Lookup<'l>>,
    most: usize,
}

impl Variables<'_, '_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    fn need(&self, name: &str, at: usize) -> Result<String, Inside> {
        self.get(name).or_else(|| self.unset.and_then(|unset| unset(name))).ok_or_else(|| unset(name, at))
    }
}

/// A [`Wrong`] on its way out: the byte just after the `$`.
struct Inside {
    at: usize,
    message: String,
    hint: Option<String>,
}

fn expand(text: &str, base: usize, variables: &Variables<'_, '_>, depth: usize) -> Result<String, Inside> {
    let wrong = |at: usize, message: String, hint: Option<&str>| Inside {
        at: base + at,
        message,
        hint: hint.map(str::to_owned),
    };
    if depth > 16 {
        return Err(wrong(0, "defaults are nested more than 16 levels deep".to_owned(), None));
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let dollar = at + found;
        out.push_str(&text[at..dollar]);
        let rest = &text[dollar + 1..];
        if rest.starts_with('$') {
            out.push('$');
            at = dollar + 2;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let close = closing(inside).ok_or_else(|| {
                wrong(dollar + 1, "'${' is never closed by '}'".to_owned(), Some("a lone '$' is written '$$'"))
            })?;
            out.push_str(&braced(&inside[..close], base + dollar + 2, variables, depth)?);
            at = dollar + 3 + close;
        } else {
            let length = name_length(rest);
            if length == 0 {
                let hint = Some("a lone '$' is written '$$'");
                return Err(wrong(dollar + 1, "'$' is not followed by a variable's name".to_owned(), hint));
            }
            out.push_str(&variables.need(&rest[..length], base + dollar + 1)?);
            at = dollar + 1 + length;
        }
    }
    out.push_str(&text[at..]);
    if out.len() > variables.most.max(text.len()) {
        return Err(wrong(0, "its variables make it too long".to_owned(), None));
    }
    Ok(out)
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let mut bytes = text.bytes();
    match bytes.next() {
        Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
            1 + bytes.take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
        }
        _ => 0,
    }
}

fn unset(name: &str, at: usize) -> Inside {
    let hint = format!("set it, or write a default: ${{{name}:-value}}");
    Inside { at, message: format!("the variable '{name}' is not set"), hint: Some(hint) }
}

fn braced(inside: &str, base: usize, variables: &Variables<'_, '_>, depth: usize) -> Result<String, Inside> {
    let length = name_length(inside);
    let (name, operator) = inside.split_at(length);
    let refuse = |message: String| Inside {
        at: base,
        message,
        hint: Some("write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${NAME:+other}".to_owned()),
    };
    if length == 0 {
        return Err(refuse(format!("'${{{inside}}}' does not name a variable")));
    }
    if operator.is_empty() {
        return variables.need(name, base);
    }
    let value = variables.get(name);
    let (filled, kind, argument) = match operator.strip_prefix(':') {
        Some(rest) => (value.filter(|value| !value.is_empty()), rest.get(..1), rest.get(1..)),
        None => (value, operator.get(..1), operator.get(1..)),
    };
    let argument = argument.unwrap_or_default();
    let start = base + inside.len() - argument.len();
    match (kind, filled) {
        (Some("-" | "?"), Some(value)) => Ok(value),
        (Some("-"), None) => expand(argument, start, variables, depth + 1),
        (Some("?"), None) => {
            let told = expand(argument, start, variables, depth + 1)?;
            let told = if told.is_empty() { "it is required".to_owned() } else { told };
            Err(Inside { at: base, message: format!("the variable '{name}' is not set: {told}"), hint: None })
        }
        (Some("+"), Some(_)) => expand(argument, start, variables, depth + 1),
        (Some("+"), None) => Ok(String::new()),
        _ => Err(refuse(format!("'{operator}' cannot follow the variable '{name}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_the_rules_of_compose() {
        let set = [("A", "1"), ("EMPTY", ""), ("B_2", "b")];
        let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let told = |text: &str| interpolate(text, &lookup, 1_000).map_err(|wrong| (wrong.dollar, wrong.message));
        for (text, value) in [
            ("plain", "plain"),
            ("$A-${A}-$B_2", "1-1-b"),
            ("$$A ${A:-x}", "$A 1"),
            ("${NO:-x} ${NO-y} ${EMPTY:-z} ${EMPTY-w}.", "x y z ."),
            ("${NO:-${A}}", "1"),
            ("${NO:-${ALSO_NO:-deep}}", "deep"),
            ("${A:+set} ${EMPTY:+set}${EMPTY+there} ${NO+set}.", "set there ."),
            ("${A:?must} ${A?must}", "1 1"),
            ("${{ inputs.x }}", "${{ inputs.x }}"),
            ("a${{ \"}}\" }}b$A${{x}}${{ y }}$A", "a${{ \"}}\" }}b1${{ x }}${{ y }}1"),
            ("${{ inputs.x // the newest\n }}", "${{ inputs.x // the newest\n}}"),
            ("${{ never", "${{ never"),
            ("é${A}é", "é1é"),
        ] {
            assert_eq!(told(text).as_deref(), Ok(value), "{text}");
        }
        assert_eq!(told("x ${NO}"), Err((0, "the variable 'NO' is not set".to_owned())));
        assert_eq!(told("$A ${{x}} $NO"), Err((2, "the variable 'NO' is not set".to_owned())));
        assert_eq!(told("${NO:?give it}"), Err((0, "the variable 'NO' is not set: give it".to_owned())));
        for bad in ["$", "a $ b", "${", "${}", "${A", "${A!x}", "${-x}", "$1", "${A:}"] {
            assert!(told(bad).is_err(), "{bad}");
        }
    }
}
