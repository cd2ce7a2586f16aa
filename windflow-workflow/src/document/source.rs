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
    /// Of the files that were read together, which one, from 0.
    #[serde(default)]
    pub file: u32,
}

impl Span {
    /// The very start of a file.
    pub const START: Self = Self { start: Position::START, end: Position::START, file: 0 };

    /// One place.
    #[must_use]
    pub const fn at(place: Position) -> Self {
        Self { start: place, end: place, file: 0 }
    }

    /// The same, in another of the files.
    #[must_use]
    pub const fn of_file(self, file: u32) -> Self {
        Self { file, ..self }
    }
}

/// A file's name and text, with its lines found. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
    // Where each line starts, in bytes.
    lines: Arc<[u32]>,
    // Places on the way along long lines, so that none of them is walked from its start again and again.
    marks: Arc<[Mark]>,
}

/// How many characters of a long line lie between two marks.
const STEP: u32 = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    at: Position,
    byte: u32,
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
        let marks = marks(&text, &lines);
        Self { name: name.into(), text, lines: lines.into(), marks: marks.into() }
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
        let (column, byte) = self.on_the_way(Position { line, column: u32::MAX });
        let end = self.start(line) + self.line(line).map_or(0, str::len);
        let left = self.text.get(byte..end).map_or(0, |rest| rest.chars().count());
        let most = column.saturating_add(u32::try_from(left).unwrap_or(u32::MAX));
        Position { line, column: if line < at.line { most } else { at.column.clamp(1, most) } }
    }

    /// The byte at which a line starts.
    fn start(&self, line: u32) -> usize {
        let start = usize::try_from(line).ok().and_then(|line| self.lines.get(line.checked_sub(1)?));
        start.and_then(|start| usize::try_from(*start).ok()).unwrap_or(0)
    }

    /// The last known place of the line at or before another: its column and its byte.
    fn on_the_way(&self, at: Position) -> (u32, usize) {
        let before = self.marks.partition_point(|mark| mark.at <= at).checked_sub(1).map(|index| self.marks[index]);
        match before.filter(|mark| mark.at.line == at.line) {
            Some(mark) => (mark.at.column, usize::try_from(mark.byte).unwrap_or(0)),
            None => (1, self.start(at.line)),
        }
    }

    /// The byte at which a place lies.
    fn byte(&self, at: Position) -> usize {
        let at = self.clamp(at);
        let (column, byte) = self.on_the_way(at);
        let before = usize::try_from(at.column - column).unwrap_or(0);
        byte + self.text.get(byte..).map_or(0, |rest| rest.chars().take(before).map(char::len_utf8).sum())
    }

    /// The place of a byte.
    fn place(&self, byte: usize) -> Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let line = number(self.lines.partition_point(|start| *start <= number(byte)));
        let before = self.marks.partition_point(|mark| mark.byte <= number(byte)).checked_sub(1);
        let mark = before.map(|index| self.marks[index]).filter(|mark| mark.at.line == line);
        let known = mark.map(|mark| (mark.at.column, usize::try_from(mark.byte).unwrap_or(0)));
        let (column, from) = known.unwrap_or((1, self.start(line)));
        let walked = self.text.get(from..byte.min(self.text.len())).map_or(0, |text| text.chars().count());
        Position { line, column: column.saturating_add(number(walked)) }
    }

    /// What follows a place on its line.
    pub(crate) fn rest(&self, at: Position) -> &str {
        let (from, at) = (self.byte(at), self.clamp(at));
        let end = self.start(at.line) + self.line(at.line).map_or(0, str::len);
        self.text.get(from..end).unwrap_or_default()
    }

    /// Where a text inside a span starts, each time.
    pub(crate) fn find_all<'s>(&'s self, span: Span, needle: &'s str) -> impl Iterator<Item = Position> + 's {
        let (start, end) = (self.byte(span.start), self.byte(span.end));
        let inside = self.text.get(start..end).unwrap_or_default();
        inside.match_indices(needle).map(move |(at, _)| self.place(start + at))
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

/// The file a span is in, of those that were read together.
pub(crate) fn source_of(sources: &[Source], span: Span) -> Option<&Source> {
    sources.get(usize::try_from(span.file).ok()?)
}

/// A mark for every so many characters of a line.
fn marks(text: &str, lines: &[u32]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let byte = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    for (index, start) in lines.iter().enumerate() {
        let end = lines.get(index + 1).map_or(text.len(), |end| byte(*end));
        let Some(line) = text.get(byte(*start)..end).filter(|line| line.len() > byte(STEP)) else { continue };
        let number = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        for ((at, _), column) in line.char_indices().zip(1_u32..).skip(byte(STEP)).step_by(byte(STEP)) {
            let byte = start.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
            marks.push(Mark { at: Position { line: number, column }, byte });
        }
    }
    marks
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
        let all = Span { start: Position::START, end: Position { line: 9, column: 9 }, file: 0 };
        assert_eq!(source.find_in(all, "x", 0), Some(Position { line: 2, column: 4 }));
        assert_eq!(source.find_in(all, "x", 1), Some(Position { line: 3, column: 6 }));
        assert_eq!(source.clamp(Position { line: 2, column: 99 }), Position { line: 2, column: 5 });
        assert_eq!(source.clamp(Position { line: 99, column: 1 }), Position { line: 3, column: 7 });
    }

    /// Whatever is asked of a long line is what walking it would have told.
    #[test]
    fn places_on_long_lines_are_found_from_the_marks() {
        let long: String = (0..5_000).map(|i| if i % 7 == 0 { 'é' } else { 'x' }).collect();
        let source = Source::new("f", format!("short\n{long}\r\n{long}"));
        for line in [2, 3] {
            for column in [1, 2, 1_024, 1_025, 1_026, 2_048, 2_049, 4_999, 5_000, 5_001] {
                let at = Position { line, column };
                assert_eq!(source.clamp(at), at);
                assert_eq!(source.place(source.byte(at)), at, "{at:?}");
                let rest: String = long.chars().skip(usize::try_from(column).unwrap() - 1).collect();
                assert_eq!(source.rest(at), rest, "{at:?}");
            }
            assert_eq!(source.clamp(Position { line, column: 9_999 }).column, 5_001);
        }
        let all =
            Span { start: Position { line: 2, column: 3_000 }, end: Position { line: 3, column: 2_000 }, file: 0 };
        let found: Vec<Position> = source.find_all(all, "éx").collect();
        let expected = |line, from: u32, to: u32| {
            (from..to).filter(|column| (column - 1) % 7 == 0).map(move |column| Position { line, column })
        };
        assert_eq!(found, expected(2, 3_000, 5_000).chain(expected(3, 1, 1_999)).collect::<Vec<_>>());
        assert_eq!(source.find_in(all, "éx", 3), Some(found[3]));
    }
}
