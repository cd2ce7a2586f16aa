//! Files with variables: `.env`, `env_file`, `label_file`.

use std::collections::BTreeMap;

use super::interpolate::{Lookup, substitute};
use super::pairs::is_variable;

/// What is wrong with such a file: at which line, from 1, and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Reads `KEY=value` line by line: with `export` before it, comments, single quotes (as they are), double quotes (escapes
/// and variables) and none (variables). What stands further up counts as a variable, too; a key alone takes its value from
/// `lookup`. `most` is how many bytes the values may have in all.
pub(super) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    most: usize,
) -> Result<Vec<(String, String)>, Wrong> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let mut out: Vec<(String, String)> = Vec::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut bytes = 0_usize;
    while reader.skip() {
        let line = reader.line;
        let wrong = |message: String| Wrong { line, message };
        let (key, assigned) = reader.key().map_err(wrong)?;
        let value = if assigned {
            let both = |name: &str| lookup(name).or_else(|| known.get(name).cloned());
            Some(reader.value(&both, most).map_err(wrong)?)
        } else {
            lookup(&key)
        };
        if let Some(value) = value {
            bytes = bytes.saturating_add(value.len());
            if bytes > most {
                return Err(Wrong { line, message: format!("its values are longer than {most} bytes in all") });
            }
            known.insert(key.clone(), value.clone());
            out.push((key, value));
        }
    }
    Ok(out)
}

/// Reads `KEY=value` line by line, every value as it is.
pub(super) fn parse_raw(text: &str) -> Result<Vec<(String, String)>, Wrong> {
    let mut out = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((key, _)) if !key.trim().is_empty() && !is_variable(key) => {
                return Err(Wrong { line: number, message: format!("'{}' is not a variable's name", key.trim()) });
            }
            Some((key, value)) if !key.trim().is_empty() => out.push((key.trim().to_owned(), value.to_owned())),
            _ => return Err(Wrong { line: number, message: "is no KEY=value".to_owned() }),
        }
    }
    Ok(out)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn take(&mut self, bytes: usize) {
        let taken = &self.text[self.at..self.at + bytes];
        self.line = self.line.saturating_add(u32::try_from(taken.matches('\n').count()).unwrap_or(u32::MAX));
        self.at += bytes;
    }

    /// Over space and comments. Whether anything follows.
    fn skip(&mut self) -> bool {
        loop {
            let space = self.rest().len() - self.rest().trim_start().len();
            self.take(space);
            if !self.rest().starts_with('#') {
                return !self.rest().is_empty();
            }
            let comment = self.rest().find('\n').unwrap_or(self.rest().len());
            self.take(comment);
        }
    }

    /// The name of a variable, and whether a value follows.
    fn key(&mut self) -> Result<(String, bool), String> {
        let line = self.rest().split('\n').next().unwrap_or_default();
        let bare = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
        let skipped = line.len() - bare.len();
        let end = bare.find(['=', ':']);
        let name = bare[..end.unwrap_or(bare.len())].trim();
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        if name.is_empty() || !name.chars().all(good) {
            let shown: String = line.chars().take(40).collect();
            return Err(format!("'{shown}' does not begin with a variable's name and '='"));
        }
        let name = name.to_owned();
        let taken = end.map_or(line.len(), |end| skipped + end + 1);
        self.take(taken);
        if end.is_some() {
            let space = self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r', '\u{b}', '\u{c}']).len();
            self.take(space);
        }
        Ok((name, end.is_some()))
    }

    fn value(&mut self, lookup: &Lookup<'_>, most: usize) -> Result<String, String> {
        let quote = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            let line = self.rest().split('\n').next().unwrap_or_default();
            let length = line.len();
            let value = line.split(" #").next().unwrap_or_default().trim_end().to_owned();
            self.take(length);
            return expand(&value, lookup, most);
        };
        let mut out = String::new();
        let mut escaped = false;
        let mut end = None;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                c if escaped => {
                    if c != quote {
                        out.push('\\');
                    }
                    out.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                c if c == quote => {
                    end = Some(at + 1);
                    break;
                }
                c => out.push(c),
            }
        }
        let end = end.ok_or_else(|| format!("opens a quote {quote} that is never closed"))?;
        self.take(end);
        if quote == '\'' { Ok(out) } else { expand(&unescaped(&out), lookup, most) }
    }
}

fn expand(value: &str, lookup: &Lookup<'_>, most: usize) -> Result<String, String> {
    // What is not set is empty here, as in a shell.
    let or_empty = |name: &str| Some(lookup(name).unwrap_or_default());
    let set = |name: &str| lookup(name);
    substitute(value, &set, Some(&or_empty), most).map_err(|wrong| wrong.message)
}

/// `\n`, `\t` and their like in double quotes; `\$` is a plain `$`.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('v') => out.push('\u{b}'),
            Some('\\') => out.push('\\'),
            Some('"') => out.push('"'),
            Some('$') => out.push_str("$$"),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Wrong> {
        parse(text, &|name| (name == "HERE").then(|| "here".to_owned()), 10_000)
    }

    #[test]
    fn variables_are_read_as_compose_reads_them() {
        let text = "\
# a comment
A=1
export B = two words # and a comment
C='single $A \\n' # comment
D=\"double $A\\n${A:-x} \\$A\"
E=
F: yaml
G=$A$HERE${NOPE}.
HERE
NOPE
H=a#b
I=\"over
two lines\"
J=http://x/?a=b:c
";
        let told: Vec<String> = read(text).unwrap().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            told,
            [
                "A=1",
                "B=two words",
                "C=single $A \\n",
                "D=double 1\n1 $A",
                "E=",
                "F=yaml",
                "G=1here.",
                "HERE=here",
                "H=a#b",
                "I=over\ntwo lines",
                "J=http://x/?a=b:c",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line) in [("A=1\n=x", 2), ("\n\nA B=1", 3), ("A='x\ny", 1), ("A=1\nB=${", 2), ("a b", 1)] {
            assert_eq!(read(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn doubling_values_end_at_a_bound() {
        let lines: String = (1..60).map(|i| format!("A{i}=$A{0}$A{0}\n", i - 1)).collect();
        let wrong = read(&format!("A0=xxxxxxxxxx\n{lines}")).unwrap_err();
        assert!(wrong.message.contains("longer than"), "{}", wrong.message);
    }

    #[test]
    fn raw_values_stay_as_they_are() {
        let told = parse_raw("# c\nA=$B 'x' # y\n\nC=").unwrap();
        assert_eq!(told, [("A".to_owned(), "$B 'x' # y".to_owned()), ("C".to_owned(), String::new())]);
        assert_eq!(parse_raw("A=1\nB").unwrap_err().line, 2);
        assert_eq!(parse_raw("${{A=1").unwrap_err().message, "'${{A' is not a variable's name");
    }
}
