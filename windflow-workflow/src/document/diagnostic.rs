//! What is wrong with a file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::source::{Position, Source, Span, source_of};

/// Whether a problem keeps the document from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, and the author should know.
    Warning,
}

/// One thing that is wrong with a file. Reads as `file:line:column: path: message (hint)`.
///
/// ```
/// use windflow_workflow::document::{Limits, WorkflowDocument};
/// let text = "name: demo\nnodes:\n  build:\n    uses: shell\n    neds: test\n";
/// let problems = WorkflowDocument::parse("demo.yaml", text, &Limits::operator()).unwrap_err();
/// assert_eq!(
///     problems.to_string(),
///     "demo.yaml:5:5: nodes.build.neds: is not a key of a node (did you mean 'needs'?)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The file, as it was named by whoever asked for it.
    pub file: String,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 when it is about the file as a whole.
    pub column: u32,
    /// The place in the document: `nodes.build.needs[0]`; empty for the document itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What a person can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether it keeps the document from being used.
    pub severity: Severity,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn new(file: impl Into<String>, at: Position, path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            file: file.into(),
            line: at.line,
            column: at.column,
            path: path.into(),
            message: message.to_string(),
            hint: None,
            severity: Severity::Error,
        }
    }

    /// An error about a file as a whole: it is not there, or nothing is in it.
    #[must_use]
    pub fn of_file(file: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(file, Position { line: 0, column: 0 }, "", message)
    }

    /// With what a person can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { line: self.line, column: self.column }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}:{}: ", self.file, self.column)?,
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a file and the files it names, by file and position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    // The texts the list talks about, so that it can be shown with them.
    sources: Vec<Source>,
}

impl Diagnostics {
    /// These problems of these files, put in order.
    #[must_use]
    pub fn new(mut list: Vec<Diagnostic>, sources: Vec<Source>) -> Self {
        let rank = |file: &str| sources.iter().position(|source| source.name() == file).unwrap_or(usize::MAX);
        list.sort_by(|a, b| {
            (rank(&a.file), a.line, a.column, &a.path, &a.message).cmp(&(
                rank(&b.file),
                b.line,
                b.column,
                &b.path,
                &b.message,
            ))
        });
        list.dedup();
        Self { list, sources }
    }

    /// The problems, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// The problems, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The problems, owned.
    #[must_use]
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether any keeps the document from being used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// These and others.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.list.extend(other.list);
        for source in other.sources {
            if !self.sources.contains(&source) {
                self.sources.push(source);
            }
        }
        Self::new(self.list, self.sources)
    }

    /// The problems as plain text for a person, each with its line and a caret under its place.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for problem in &self.list {
            out.push_str(&problem.to_string());
            out.push('\n');
            let source = self.sources.iter().find(|source| source.name() == problem.file);
            if let Some(line) = source.and_then(|source| source.line(problem.line)) {
                out.push_str(&snippet(line, problem));
            }
        }
        out
    }
}

/// A line with a caret under a column. A long line is cut to a window around it.
fn snippet(line: &str, problem: &Diagnostic) -> String {
    const WIDTH: usize = 100;
    let column = usize::try_from(problem.column).unwrap_or(1).saturating_sub(1);
    let skip = if column >= WIDTH { column - WIDTH / 2 } else { 0 };
    // What would move the caret or the terminal stands in as a space.
    let shown: String = line.chars().skip(skip).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let number = problem.line.to_string();
    let margin = " ".repeat(number.len());
    let caret = " ".repeat(column - skip);
    format!("{margin} |\n{number} | {}\n{margin} | {caret}^\n", shown.trim_end())
}

impl fmt::Display for Diagnostics {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Serialize for Diagnostics {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(to)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Collects what is wrong with files that are read together, up to a number.
#[derive(Debug)]
pub(crate) struct Problems {
    /// What nothing else is known of is told of the first.
    pub(crate) sources: Vec<Source>,
    list: Vec<Diagnostic>,
    most: usize,
}

impl Problems {
    pub(crate) fn new(source: Source, most: usize) -> Self {
        Self { sources: vec![source], list: Vec::new(), most }
    }

    /// As [`Problems::new`], of several files, which are not known yet.
    pub(crate) fn of(sources: Vec<Source>, most: usize) -> Self {
        Self { sources, list: Vec::new(), most }
    }

    /// Takes in one more file and answers its number.
    pub(crate) fn add(&mut self, source: Source) -> u32 {
        self.sources.push(source);
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    /// The first file.
    pub(crate) fn source(&self) -> Source {
        self.sources.first().cloned().unwrap_or_else(|| Source::new("", ""))
    }

    /// The file a span is in.
    pub(crate) fn source_of(&self, span: Span) -> Source {
        source_of(&self.sources, span).cloned().unwrap_or_else(|| self.source())
    }

    /// Notes one. Past the most that are wanted, only the fact that there are more is kept.
    pub(crate) fn push(&mut self, problem: Diagnostic) {
        if self.list.len() < self.most {
            self.list.push(problem);
        } else if self.list.len() == self.most {
            let more = format!("there are more than {} problems; the rest is not listed", self.most);
            self.list.push(Diagnostic::new(problem.file.clone(), problem.position(), "", more));
        }
    }

    /// Whether no more are wanted, so that looking for them closely is not worth while.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() > self.most
    }

    /// Notes an error at a span.
    pub(crate) fn error(&mut self, at: Span, path: &str, message: impl fmt::Display) {
        let file = self.source_of(at).name().to_owned();
        self.push(Diagnostic::new(file, at.start, path, message));
    }

    /// Notes an error with a hint.
    pub(crate) fn hinted(&mut self, at: Span, path: &str, message: impl fmt::Display, hint: Option<String>) {
        let file = self.source_of(at).name().to_owned();
        self.push(Diagnostic { hint, ..Diagnostic::new(file, at.start, path, message) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether something is known to be wrong with a place, or with what it is a part of: whatever else is found there may
    /// only follow from it. What a node is undone by is one place.
    pub(crate) fn is_about(&self, path: &str) -> bool {
        let within = |path: &str, place: &str| {
            !place.is_empty()
                && path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let undone = path.ends_with(".compensate");
        self.list.iter().any(|problem| within(path, &problem.path) || undone && within(&problem.path, path))
    }

    /// Whether something is known to be wrong with a place or with anything in it.
    pub(crate) fn touches(&self, path: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.list.iter().any(|problem| problem.path.strip_prefix(path).is_some_and(inside))
    }

    pub(crate) fn into_diagnostics(self) -> Diagnostics {
        Diagnostics::new(self.list, self.sources)
    }
}
