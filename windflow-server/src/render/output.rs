//! Standard output and standard error, and the region at the bottom of a terminal that is redrawn.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::text::{clean, clean_lines, cut};
use crate::failure::Failure;
use crate::process::Process;

/// Where everything is printed. Clones share one terminal.
#[derive(Clone, Debug)]
pub struct Output(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    json: bool,
    shows: bool,
    redraws: bool,
    colours: bool,
    /// How many lines are drawn below everything else.
    drawn: Mutex<usize>,
    /// Whoever read standard output has gone.
    broken: AtomicBool,
    /// Why something that was to be read could not be written.
    lost: Mutex<Option<String>>,
}

/// How a word is coloured, where colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// Somebody should look.
    Care,
    /// Beside the point.
    Dim,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Care => "33",
            Self::Dim => "2",
        }
    }
}

impl Output {
    /// The output of a process.
    #[must_use]
    pub fn new(process: &Process, json: bool) -> Self {
        Self(Arc::new(Inner {
            json,
            shows: process.shows,
            redraws: process.redraws && !json,
            colours: process.colours(),
            drawn: Mutex::new(0),
            broken: AtomicBool::new(false),
            lost: Mutex::new(None),
        }))
    }

    /// Why something that was to be read could not be written, if so.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.0.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes why something that was to be read could not be written.
    pub fn lose(&self, error: &io::Error) {
        // Who stopped reading has read enough; a disk that is full has not.
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.0.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }
    }

    /// Whether programs read it.
    #[must_use]
    pub fn json(&self) -> bool {
        self.0.json
    }

    /// Whether lines can be redrawn.
    #[must_use]
    pub fn redraws(&self) -> bool {
        self.0.redraws
    }

    /// Whether whoever read standard output has gone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// A word for standard output in its colour.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.0.shows && self.0.colours, tone, text)
    }

    /// A word for standard error in its colour.
    #[must_use]
    pub fn paint_progress(&self, tone: Tone, text: &str) -> String {
        paint(self.0.redraws && self.0.colours, tone, text)
    }

    /// Text for people, and a newline.
    pub fn text(&self, text: impl AsRef<str>) {
        if !self.0.json {
            self.out(format!("{}\n", text.as_ref()).as_bytes());
        }
    }

    /// Text that is the answer itself, whether people or programs read it: a schema, a script, a picture.
    pub fn verbatim(&self, text: &str) {
        self.out(text.as_bytes());
    }

    /// One JSON document.
    pub fn document(&self, value: &Value) {
        if self.0.json {
            self.out(format!("{value:#}\n").as_bytes());
        }
    }

    /// One JSON line of a stream.
    pub fn line(&self, value: &Value) {
        if self.0.json {
            self.out(format!("{value}\n").as_bytes());
        }
    }

    /// A line for people on standard error: what is going on.
    pub fn progress(&self, line: &str) {
        if !self.0.json {
            self.err(format!("{line}\n").as_bytes());
        }
    }

    /// A question, without a newline after it.
    pub fn ask(&self, question: &str) {
        self.err(question.as_bytes());
    }

    /// Bytes a remote command wrote, as they are.
    pub fn pass(&self, bytes: &[u8], to_stderr: bool) {
        if to_stderr { self.err(bytes) } else { self.out(bytes) }
    }

    /// Why the command did not do what was asked.
    pub fn failure(&self, failure: &Failure) {
        let Failure { exit, message, hint, diagnostics } = failure;
        if self.0.json {
            let error = json!({
                "version": 1,
                "error": { "exit": exit.code(), "message": message, "hint": hint, "diagnostics": diagnostics },
            });
            return self.err(format!("{error}\n").as_bytes());
        }
        let bad = paint(self.0.redraws && self.0.colours, Tone::Bad, "error:");
        let mut text = String::new();
        if let Some(diagnostics) = diagnostics {
            text.push_str(&clean_lines(&diagnostics.render()));
            text.push('\n');
        }
        text.push_str(&format!("{bad} {}\n", clean_lines(message)));
        if let Some(hint) = hint {
            text.push_str(&format!("hint: {}\n", clean(hint)));
        }
        self.err(text.as_bytes());
    }

    /// Replaces the lines at the bottom of the terminal.
    pub fn redraw(&self, lines: &[(Tone, String)]) {
        if !self.0.redraws {
            return;
        }
        let width = terminal_width();
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = erase(*drawn);
        for (tone, line) in lines {
            text.push_str(&self.paint_progress(*tone, &cut(line, width.saturating_sub(1))));
            text.push('\n');
        }
        *drawn = lines.len();
        // A terminal that has gone is noticed when something is said that matters.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    fn out(&self, bytes: &[u8]) {
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        self.clear(&mut drawn);
        let mut to = io::stdout().lock();
        if let Err(error) = to.write_all(bytes).and_then(|()| to.flush()) {
            self.0.broken.store(true, Ordering::Relaxed);
            self.lose(&error);
        }
    }

    fn err(&self, bytes: &[u8]) {
        let mut drawn = self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        self.clear(&mut drawn);
        // There is nobody left to tell when standard error has gone.
        let _ = io::stderr().lock().write_all(bytes);
    }

    fn clear(&self, drawn: &mut usize) {
        if *drawn > 0 {
            let _ = io::stderr().lock().write_all(erase(*drawn).as_bytes());
            *drawn = 0;
        }
    }
}

fn paint(coloured: bool, tone: Tone, text: &str) -> String {
    match tone {
        Tone::Plain => text.to_owned(),
        _ if !coloured => text.to_owned(),
        tone => format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()),
    }
}

/// Up to the first of the drawn lines, and everything below it erased.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\r\u{1b}[{lines}A\u{1b}[0J") }
}

fn terminal_width() -> usize {
    // A terminal that does not know its size says 0.
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).max(20),
        _ => 80,
    }
}

/// Lets log lines through between the lines that are redrawn.
#[derive(Clone, Debug)]
pub struct LogWriter(pub Output);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.err(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
