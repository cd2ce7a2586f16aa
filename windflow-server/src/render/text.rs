//! Small pieces of text: what came from outside made harmless, durations, columns.

use std::time::Duration;

use windflow_core::Timestamp;

/// A text from outside on one line, with everything a terminal could obey written out.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            '\n' => out.push_str("\\n"),
            c if obeyed(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// A text from outside of several lines, with everything else a terminal could obey written out.
pub fn clean_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(clean).collect();
    lines.join("\n")
}

/// Control characters, and those that turn the direction of what follows.
fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A duration as people say it.
pub fn duration(of: Duration) -> String {
    let ms = of.as_millis();
    let s = ms / 1_000;
    match s {
        0..10 => format!("{}.{}s", s, ms % 1_000 / 100),
        10..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// A duration as people write it, and nothing of it rounded: `1h30m`, `2s500ms`.
pub fn exact_duration(of: Duration) -> String {
    let (ms, minutes) = (of.as_millis() % 60_000, of.as_millis() / 60_000);
    let mut out = String::new();
    for (number, unit) in [(minutes / 60, 'h'), (minutes % 60, 'm')] {
        if number > 0 {
            out += &format!("{number}{unit}");
        }
    }
    for (number, unit) in [(ms / 1_000, "s"), (ms % 1_000, "ms")] {
        if number > 0 {
            out += &format!("{number}{unit}");
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// A moment as people read it: RFC 3339 in UTC, to the second.
pub fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// How many of what: `1 run`, `3 runs`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Rows in columns, two spaces apart; the last column is not padded.
pub fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut out = Vec::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if at + 1 < row.len() {
                let pad = width(at).unwrap_or(0).saturating_sub(cell.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push(line.trim_end().to_owned());
    }
    out.join("\n")
}

/// A text cut to a width, with a mark where it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Every line of a text behind some space.
pub fn indent(text: &str, by: usize) -> String {
    let space = " ".repeat(by);
    let lines: Vec<String> = text.lines().map(|line| format!("{space}{line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(clean("a\u{1b}[31mred\r\nb\u{202e}c\u{9b}"), r"a\u{1b}[31mred\u{d}\nb\u{202e}c\u{9b}");
        assert_eq!(clean_lines("a\u{7}\nb"), "a\\u{7}\nb");
    }

    #[test]
    fn exact_durations_lose_nothing() {
        let of = |ms| exact_duration(Duration::from_millis(ms));
        assert_eq!(
            [of(0), of(5_000), of(2_500), of(90 * 60_000), of(86_400_000 + 1)],
            ["0s", "5s", "2s500ms", "1h30m", "24h1ms"]
        );
    }

    #[test]
    fn durations_have_two_figures_that_matter() {
        let texts =
            [0, 950, 9_990, 59_999, 61_000, 3_725_000, 90_000_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(texts, ["0.0s", "0.9s", "9.9s", "59s", "1m01s", "1h02m", "1d01h"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "long", "x"], ["bcd", "s", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "a    long  x\nbcd  s");
    }
}
