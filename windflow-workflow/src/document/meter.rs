//! How far the parser may run ahead. It holds the tokens of a whole `[…]` or `{…}` before it gives out the first of them,
//! because all of it might still turn out to be a key; so a bound on events alone comes too late.

use std::cell::Cell;
use std::rc::Rc;

use saphyr_parser::{Input, StrInput};

/// How many marks the parser has taken since its last event, and how many it may take.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    taken: Rc<Cell<usize>>,
    most: usize,
}

impl Meter {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Rc::default(), most }
    }

    /// Whether more was taken than is allowed.
    pub(super) fn is_spent(&self) -> bool {
        self.taken.get() > self.most
    }

    /// Starts again: an event has come.
    pub(super) fn reset(&self) {
        self.taken.set(0);
    }

    fn take(&self, count: usize) {
        self.taken.set(self.taken.get().saturating_add(count));
    }
}

/// Characters without which no token but a text begins or ends. Everything between them is held as a text, which takes no
/// more memory than the file does, however long its line.
fn is_mark(found: char) -> bool {
    matches!(found, ',' | ':' | '?' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '%' | '"' | '\'')
}

/// A text that seems to end when the meter is spent. Only what is taken character by character counts: that is how tokens,
/// quoted and plain texts are read, but not blocks (`|`, `>`) and comments.
pub(super) struct Metered<'a> {
    inner: StrInput<'a>,
    meter: Meter,
}

impl<'a> Metered<'a> {
    pub(super) fn new(text: &'a str, meter: Meter) -> Self {
        Self { inner: StrInput::new(text), meter }
    }

    fn unless_spent(&self, found: char) -> char {
        if self.meter.is_spent() { '\0' } else { found }
    }
}

impl Input for Metered<'_> {
    fn lookahead(&mut self, count: usize) {
        self.inner.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.inner.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.inner.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        let found = self.inner.raw_read_ch();
        self.unless_spent(found)
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        if self.meter.is_spent() { None } else { self.inner.raw_read_non_breakz_ch() }
    }

    fn skip(&mut self) {
        if is_mark(self.inner.peek()) {
            self.meter.take(1);
        }
        self.inner.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.meter.take(count);
        self.inner.skip_n(count);
    }

    fn peek(&self) -> char {
        self.unless_spent(self.inner.peek())
    }

    fn peek_nth(&self, n: usize) -> char {
        self.unless_spent(self.inner.peek_nth(n))
    }

    fn peek_opt(&self) -> Option<char> {
        if self.meter.is_spent() { None } else { self.inner.peek_opt() }
    }

    fn skip_while_non_breakz(&mut self) -> usize {
        self.inner.skip_while_non_breakz()
    }

    fn skip_while_blank(&mut self) -> usize {
        self.inner.skip_while_blank()
    }
}
