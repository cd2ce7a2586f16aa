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
    // How much is looked through in all for better ends than the first that may be one: a text may hold many of those.
    let mut further = text.len().saturating_mul(4).saturating_add(64 * 1024);
    while let Some(found) = text[at..].find("${{") {
        let open = at + found;
        if open > at {
            out.push(Piece::Text(&text[at..open]));
        }
        let inside = open + 3;
        let close = end_of_expression(&text[inside..], &mut further).ok_or(open)?;
        out.push(Piece::Expression(text[inside..inside + close].trim()));
        at = inside + close + 2;
    }
    if at < text.len() || out.is_empty() {
        out.push(Piece::Text(&text[at..]));
    }
    Ok(out)
}

fn end_of_expression(text: &str, further: &mut usize) -> Option<usize> {
    let bytes = text.as_bytes();
    // Where it seems to end, although a brace of its own is open: there is no better place if that is never closed.
    let mut perhaps: Option<usize> = None;
    for (at, spot) in code(text).enumerate() {
        if perhaps.is_some() {
            match further.checked_sub(1) {
                Some(left) => *further = left,
                None => break,
            }
        }
        if spot.nesting == 1 && bytes[at..].starts_with(b"}}") {
            if spot.braces == 0 {
                return Some(at);
            }
            perhaps.get_or_insert(at);
        }
    }
    perhaps
}

/// How a byte stands in an expression.
#[derive(Clone, Copy, Default)]
struct Spot {
    /// How deep in code: 1 in the expression itself, 2 between `${` and `}` of a text in it, and so on; 0 in texts and
    /// comments.
    nesting: usize,
    /// How many braces of that code are open before it.
    braces: usize,
    /// Whether it belongs to a comment.
    comment: bool,
}

/// What a place in an expression belongs to.
#[derive(Clone, Copy)]
enum Within {
    /// Code, and in how many braces of its own.
    Code(usize),
    /// A text that ends with this quote. One in backticks holds code between `${` and `}`.
    Text(u8),
    /// A text that means what it says, between `#"` and `"#`, with so many `#`.
    Raw(usize),
    LineComment,
    /// A comment, with so many others around it.
    Comment(usize),
}

/// How each byte of an expression stands in it. The rules are those of Rhai, whose texts and comments most languages
/// share.
fn code(text: &str) -> impl Iterator<Item = Spot> + '_ {
    use Within::{Code, Comment, LineComment, Raw, Text};
    let bytes = text.as_bytes();
    // What the place is within, what that is within, and so on; and how many of them are code.
    let (mut around, mut inside, mut nesting) = (Vec::new(), Code(0), 1);
    // Up to where a mark of several bytes has been read, and whether of a comment.
    let (mut known, mut comment) = (0, false);
    bytes.iter().enumerate().map(move |(at, &here)| {
        if at < known {
            return Spot { comment, ..Spot::default() };
        }
        comment = matches!(inside, LineComment | Comment(_));
        let starts = |mark: &[u8]| bytes[at..].starts_with(mark);
        let raw = (here == b'#' && (at == 0 || bytes[at - 1] != b'#')).then(|| hashes_at(&bytes[at..]));
        let raw = raw.filter(|hashes| bytes.get(at + hashes) == Some(&b'"'));
        // How long the mark here is, and what begins or, if nothing does, ends with it.
        let (length, begins) = match inside {
            Code(_) if starts(b"//") => (2, Some(LineComment)),
            Code(_) if starts(b"/*") => (2, Some(Comment(0))),
            Code(_) if matches!(here, b'"' | b'\'' | b'`') => (1, Some(Text(here))),
            Code(_) if let Some(hashes) = raw => (hashes + 1, Some(Raw(hashes))),
            Code(0) if here == b'}' && nesting > 1 => (1, None),
            Text(b'`') if starts(b"${") => (2, Some(Code(0))),
            Text(quote) if here == quote => (1, None),
            Raw(hashes) if here == b'"' && hashes_at(&bytes[at + 1..]) >= hashes => (hashes + 1, None),
            LineComment if matches!(here, b'\n' | b'\r') => (1, None),
            Comment(0) if starts(b"*/") => (2, None),
            // No mark, or one that changes nothing but a count.
            Code(braces) => {
                let more = usize::from(here == b'{');
                inside = Code((braces + more).saturating_sub(usize::from(here == b'}')));
                return Spot { nesting, braces, comment };
            }
            _ => {
                let (length, then) = match inside {
                    Text(quote) if here == b'\\' && quote != b'`' => (2, inside),
                    Text(b'`') if starts(b"\\${") => (3, inside),
                    Comment(others) if starts(b"/*") => (2, Comment(others + 1)),
                    Comment(others) if starts(b"*/") => (2, Comment(others - 1)),
                    _ => (1, inside),
                };
                (known, inside) = (at + length, then);
                return Spot { comment, ..Spot::default() };
            }
        };
        known = at + length;
        match begins {
            Some(new) => around.push(std::mem::replace(&mut inside, new)),
            None => {
                nesting -= usize::from(matches!(inside, Code(_)));
                inside = around.pop().unwrap_or(Code(0));
            }
        }
        nesting += usize::from(matches!(begins, Some(Code(_))));
        comment |= matches!(begins, Some(LineComment | Comment(_)));
        Spot { comment, ..Spot::default() }
    })
}

fn hashes_at(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == b'#').count()
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

/// The members of a variable that an expression names, `inputs.x`, `inputs?.x`, `inputs["x"]` or, where the evaluator takes
/// that for a text, `inputs['x']`, each with the place of its name. What stands in texts and comments is not looked at.
#[must_use]
pub fn members<'t>(expression: &'t str, variable: &str) -> Vec<(&'t str, usize)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut out, mut at) = (Vec::new(), 0);
    let mut spots: Option<Vec<Spot>> = None;
    while let Some(found) = expression[at..].find(variable) {
        let start = at + found;
        at = start + variable.len();
        if expression[..start].ends_with(word) || expression[at..].starts_with(word) {
            continue; // `my_nodes.x` and `nodes2.x` are something else
        }
        let words = Words { text: expression, spots: spots.get_or_insert_with(|| code(expression).collect()) };
        if words.spots[start].nesting > 0 && !words.is_member(start) {
            out.extend(words.member(at));
        }
    }
    out
}

/// An expression, with what each byte of it is.
struct Words<'t, 's> {
    text: &'t str,
    spots: &'s [Spot],
}

impl<'t> Words<'t, '_> {
    /// Whether what stands at a place means nothing.
    fn is_gap(&self, at: usize) -> bool {
        self.spots[at].comment || self.text.as_bytes()[at].is_ascii_whitespace()
    }

    /// The first place from here on that means something.
    fn skip(&self, at: usize) -> usize {
        (at..self.text.len()).find(|at| !self.is_gap(*at)).unwrap_or(self.text.len())
    }

    /// Whether the word here is a member of something: `inputs.nodes` is, `0..nodes` is not.
    fn is_member(&self, start: usize) -> bool {
        let before = (0..start).rev().find(|at| !self.is_gap(*at));
        let dot = |at: usize| self.text.as_bytes()[at] == b'.';
        before.is_some_and(|at| dot(at) && !(at > 0 && dot(at - 1)))
    }

    /// The member that is named behind a variable, and where.
    fn member(&self, at: usize) -> Option<(&'t str, usize)> {
        let at = self.skip(at);
        let at = if self.text[at..].starts_with('?') { at + 1 } else { at };
        let inside = self.skip(at + 1);
        let name = self.text.get(inside..)?;
        if self.text[at..].starts_with('.') {
            // A name may hold '-', which an expression would read as minus: such a member is read as nodes["a-b"].
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            // `inputs.keys()` is a function, not an input.
            let call = self.text[self.skip(inside + end)..].starts_with('(');
            return (end > 0 && !call).then(|| (&name[..end], inside));
        }
        let quote = name.chars().next().filter(|c| self.text[at..].starts_with('[') && "\"'`".contains(*c))?;
        Some((&name[1..=name[1..].find(quote)?], inside + 1))
    }
}

/// The nodes an expression reads: every `nodes.NAME` and `nodes["NAME"]` in it; see [`members`].
#[must_use]
pub fn references(expression: &str) -> BTreeSet<&str> {
    members(expression, "nodes").into_iter().map(|(name, _)| name).collect()
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
        assert_eq!(pieces("${{ #{a: #{b: 1}} == x }}!").unwrap(), [E("#{a: #{b: 1}} == x"), T("!")]);
        assert_eq!(pieces("${{ `\\${` }}!").unwrap(), [E("`\\${`"), T("!")]);
        assert_eq!(pieces("${{ #{a: 1 }}!").unwrap(), [E("#{a: 1"), T("!")], "it is never closed");
        assert_eq!(pieces("${{ a /* don't: }} */ + 1 }}!").unwrap(), [E("a /* don't: }} */ + 1"), T("!")]);
        assert_eq!(pieces("${{ a // it's\n }}!").unwrap(), [E("a // it's"), T("!")]);
        assert_eq!(pieces("${{ /* a /* b */ }} */ 2 / 1 }}").unwrap(), [E("/* a /* b */ }} */ 2 / 1")]);
        assert_eq!(pieces(r#"${{ `\` + `${"}}" + #{a: #{}}}` }}"#).unwrap(), [E(r#"`\` + `${"}}" + #{a: #{}}}`"#)]);
        assert_eq!(pieces(r####"${{ #"\"# + ##""# }}"## }}"####).unwrap(), [E(r####"#"\"# + ##""# }}"##"####)]);
        assert_eq!(pieces("${{ \"\\\"}}\" }}").unwrap(), [E("\"\\\"}}\"")]);
    }

    #[test]
    fn an_expression_ends_where_its_braces_do_however_far_that_is() {
        let long = format!("#{{a: #{{b: #{{}}}}, c: [{}]}}", "1, ".repeat(20_000));
        assert_eq!(pieces(&format!("${{{{ {long} }}}}!")).unwrap(), [Piece::Expression(&long), Piece::Text("!")]);
    }

    #[test]
    fn references_are_the_nodes_an_expression_reads() {
        let found = |text| references(text).into_iter().collect::<Vec<_>>();
        assert_eq!(found("nodes.build.output.url + nodes[\"a-b\"].output"), ["a-b", "build"]);
        assert_eq!(found("nodes['x'].output == nodes . y"), ["x", "y"]);
        assert_eq!(found("inputs.nodes.z + my_nodes.q + nodes2.q + nodes[key] + nodes.keys()"), [""; 0]);
        assert_eq!(found("1 // nodes.a\n + /* nodes.b */ nodes.c.output + \"nodes.d\" + 'nodes.e'"), ["c"]);
        assert_eq!(
            found("for i in 0..nodes.a.output { } nodes /* it is */ .b + nodes[ /* c */ \"c\" ]"),
            ["a", "b", "c"]
        );
        assert_eq!(found("inputs . nodes . x + inputs /* . */ . /* its */ nodes.y + `a \\${nodes.z} b`"), [""; 0]);
        assert_eq!(found("1 // nodes.a\r + nodes.b"), ["b"]);
        assert_eq!(found("nodes"), [""; 0]);
        assert_eq!(found("é nodes é"), [""; 0]);
        assert_eq!(found("nodes."), [""; 0]);
        assert_eq!(found("nodes[\"é"), [""; 0]);
        assert_eq!(found("`nodes.a: ${nodes.b.output + `${nodes.c}`} nodes.d`"), ["b", "c"]);
    }

    /// The work is bounded, so that this ends; the first end that may be one is taken when it has taken too much.
    #[test]
    fn many_expressions_that_never_close_are_cut_in_time_that_grows_with_their_number() {
        for hostile in ["${{ #{ }} ", "${{ { }} /* ", "${{ { }} \" "] {
            let text = hostile.repeat(3_000) + &"x".repeat(100_000);
            let read = pieces(&text).map_or(0, |pieces| pieces.len());
            assert!(read == 0 || read >= 2, "{hostile}: {read}");
        }
        assert!(pieces(&"${{ `${".repeat(20_000)).is_err());
        assert!(pieces(&"/*".repeat(100_000).replacen("/*", "${{ /*", 1)).is_err());
    }

    #[test]
    fn members_are_told_with_their_places() {
        let found = |text| members(text, "inputs");
        assert_eq!(found("inputs.a + inputs[\"b-c\"] + inputs?.d"), [("a", 7), ("b-c", 19), ("d", 35)]);
        assert_eq!(found("nodes.inputs.x + my_inputs.y + \"inputs.z\" + inputs.keys() + inputs[k]"), []);
    }
}
