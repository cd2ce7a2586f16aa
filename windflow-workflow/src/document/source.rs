//! A file's text and the places in it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// Where every file starts.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place so many characters further on the same line.
    #[must_use]
    pub fn right(self, by: usize) -> Self {
        Self { column: self.column.saturating_add(u32::try_from(by).unwrap_or(u32::MAX)), ..self }
    }
}

/// From a place to just before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first character.
    pub start: Position,
    /// Just after the last one.
    pub end: Position,
}

impl Span {
    /// The very start of a file.
    pub const START: Self = Self { start: Position::START, end: Position::START };
}

/// A file's name and text, with its lines found. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
    // Where each line starts, in bytes.
    lines: Arc<[u32]>,
}

impl Source {
    /// Takes a text. `name` is what messages call the file.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        let text: Arc<str> = text.into();
        let mut lines = vec![0];
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            // A carriage return alone breaks a line, too; before a line feed it is part of that break.
            let breaks = *byte == b'\n' || *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n');
            if let (true, Ok(next)) = (breaks, u32::try_from(at + 1)) {
                lines.push(next);
            }
        }
        Self { name: name.into(), text, lines: lines.into() }
    }

    /// What messages call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// One line, without its end.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let start = usize::try_from(*self.lines.get(index)?).ok()?;
        let end = self.lines.get(index + 1).and_then(|end| usize::try_from(*end).ok()).unwrap_or(self.text.len());
        Some(self.text.get(start..end)?.trim_end_matches(['\n', '\r']))
    }

    /// The nearest place that exists.
    #[must_use]
    pub fn clamp(&self, at: Position) -> Position {
        let last = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let line = at.line.clamp(1, last);
        let width = self.line(line).map_or(0, |text| text.chars().count());
        let most = u32::try_from(width).unwrap_or(u32::MAX).saturating_add(1);
        Position { line, column: if line < at.line { most } else { at.column.clamp(1, most) } }
    }

    /// The byte at which a place lies.
    fn byte(&self, at: Position) -> usize {
        let at = self.clamp(at);
        let index = usize::try_from(at.line).unwrap_or(1) - 1;
        let start = self.lines.get(index).and_then(|start| usize::try_from(*start).ok()).unwrap_or(0);
        let before = usize::try_from(at.column).unwrap_or(1) - 1;
        start + self.line(at.line).map_or(0, |line| line.chars().take(before).map(char::len_utf8).sum())
    }

    /// The place of a byte.
    fn place(&self, byte: usize) -> Position {
        let byte = u32::try_from(byte).unwrap_or(u32::MAX);
        let index = self.lines.partition_point(|start| *start <= byte).saturating_sub(1);
        let start = self.lines.get(index).copied().unwrap_or(0);
        let from = usize::try_from(start).unwrap_or(0);
        let to = usize::try_from(byte).unwrap_or(0).min(self.text.len());
        let column = self.text.get(from..to).map_or(0, |text| text.chars().count());
        Position { line: u32::try_from(index).unwrap_or(0) + 1, column: u32::try_from(column).unwrap_or(0) + 1 }
    }

    /// Where the `nth` (from 0) occurrence of a text inside a span starts: how a place inside a scalar is found without
    /// undoing quotes, escapes and folding.
    #[must_use]
    pub fn find_in(&self, span: Span, needle: &str, nth: usize) -> Option<Position> {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        let (at, _) = self.text.get(start..end)?.match_indices(needle).nth(nth)?;
        Some(self.place(start + at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_whatever_ends_the_lines() {
        let source = Source::new("f", "ab\r\ncé x\rlast x");
        assert_eq!(source.line(1), Some("ab"));
        assert_eq!(source.line(2), Some("cé x"));
        assert_eq!(source.line(3), Some("last x"));
        assert_eq!(source.line(4), None);
        let all = Span { start: Position::START, end: Position { line: 9, column: 9 } };
        assert_eq!(source.find_in(all, "x", 0), Some(Position { line: 2, column: 4 }));
        assert_eq!(source.find_in(all, "x", 1), Some(Position { line: 3, column: 6 }));
        assert_eq!(source.clamp(Position { line: 2, column: 99 }), Position { line: 2, column: 5 });
        assert_eq!(source.clamp(Position { line: 99, column: 1 }), Position { line: 3, column: 7 });
    }
}
