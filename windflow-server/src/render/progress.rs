//! A run while it goes on: a line for each thing that happens, and on a terminal what goes on now below them.

use std::collections::BTreeMap;

use windflow_core::run::{Event, Run, StepState};
use windflow_core::{NodeIndex, NodeName, Recorded, Timestamp};

use super::events::Teller;
use super::output::{Output, Tone};
use super::text::{clean, count, duration};
use super::{json, text};

/// How many running steps are shown below the lines.
const SHOWN: usize = 8;
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Shows a run while it goes on.
#[derive(Debug)]
pub struct Progress {
    output: Output,
    teller: Teller,
    /// The running steps: since when, and what they said last.
    open: BTreeMap<NodeIndex, (Timestamp, String)>,
    width: usize,
    turn: usize,
    /// What Ctrl-C would do, for the line at the bottom.
    pub hint: &'static str,
}

impl Progress {
    /// Begins to show a run.
    pub fn new(output: Output, run: &Run) -> Self {
        let names = run.workflow().indices().map(|at| run.workflow().node(at).name.as_str().len());
        Self {
            output,
            teller: Teller::default(),
            open: BTreeMap::new(),
            width: names.max().unwrap_or(0).min(32),
            turn: 0,
            hint: "",
        }
    }

    /// Says which run it is.
    pub fn begin(&self, run: &Run, verb: &str) {
        let (name, nodes) = (run.workflow().name(), count(run.workflow().len(), "node"));
        self.output.progress(&format!("{verb} run {} of {name} ({nodes})", run.id()));
    }

    /// Takes in an event that is news here, or one that was there before.
    pub fn event(&mut self, run: &Run, recorded: &Recorded, fresh: bool) {
        let line = self.teller.tell(run.workflow(), recorded);
        if let Some(node) = recorded.event.node() {
            match (&recorded.event, run.step(node).state) {
                (Event::Started { .. } | Event::UndoStarted { .. }, _) => {
                    self.open.insert(node, (recorded.at, String::new()));
                }
                (_, StepState::Running | StepState::Undoing | StepState::Calling | StepState::UndoCalling) => {}
                _ => drop(self.open.remove(&node)),
            }
        }
        if matches!(recorded.event, Event::Claimed { .. } | Event::Released | Event::Finished { .. }) {
            self.open.clear();
        }
        if !fresh {
            return;
        }
        self.output.line(&json::event(run.id(), run.workflow(), recorded));
        // On a terminal a running step is seen below; that it started needs no line of its own.
        let seen = self.output.redraws()
            && matches!(&recorded.event, Event::Started { attempt: 1, .. } | Event::UndoStarted { attempt: 1, .. });
        if line.news && !seen {
            let node = line.node.unwrap_or_default();
            let text = self.output.paint_progress(line.tone, &line.text);
            self.output.progress(&format!("  {node:width$}  {text}", width = self.width));
        }
    }

    /// What a step says while it works.
    pub fn say(&mut self, run: &Run, node: &NodeName, said: &str) {
        let said = clean(said);
        if self.output.redraws() {
            let at = run.workflow().find(node.as_str());
            if let Some((_, last)) = at.and_then(|at| self.open.get_mut(&at)) {
                *last = said;
            }
        } else {
            self.output.progress(&format!("  {node:width$}  … {said}", width = self.width));
        }
    }

    /// Draws what goes on now.
    pub fn draw(&mut self, run: &Run, now: Timestamp) {
        if !self.output.redraws() {
            return;
        }
        self.turn = (self.turn + 1) % SPINNER.len();
        let mut lines = Vec::new();
        for (node, (since, said)) in self.open.iter().take(SHOWN) {
            let name = &run.workflow().node(*node).name;
            let verb = if matches!(run.step(*node).state, StepState::Undoing | StepState::UndoCalling) {
                "undoing "
            } else {
                ""
            };
            let took = duration(since.until(now));
            let line = format!("{} {name:width$}  {verb}{took}  {said}", SPINNER[self.turn], width = self.width);
            lines.push((Tone::Plain, line));
        }
        if self.open.len() > SHOWN {
            lines.push((Tone::Plain, format!("  and {} more", self.open.len() - SHOWN)));
        }
        let summary = run.summary();
        let took = text::duration(summary.created_at.until(now));
        let foot = format!("{}/{} done · {} · {took} · {}", summary.finished, summary.total, summary.state, self.hint);
        lines.push((Tone::Dim, foot));
        self.output.redraw(&lines);
    }

    /// Takes away what was drawn.
    pub fn end(&self) {
        self.output.redraw(&[]);
    }

    /// A line of our own among the others.
    pub fn note(&self, line: &str) {
        self.output.progress(line);
    }
}
