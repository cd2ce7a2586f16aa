//! The events of many runs, one line each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use windflow_core::run::Event;
use windflow_core::sink::Emitted;
use windflow_core::{EventSink, NodeName, RunId};

use super::output::Output;
use super::text::clean;
use super::{events::Teller, json};

/// Prints what happens to the runs of a worker.
#[derive(Debug)]
pub struct Lines {
    output: Output,
    /// What puts the events of each run into words.
    known: Mutex<HashMap<RunId, Teller>>,
}

impl Lines {
    /// Prints there.
    pub fn new(output: Output) -> Self {
        Self { output, known: Mutex::default() }
    }
}

impl EventSink for Lines {
    fn emit(&self, emitted: &Emitted<'_>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let teller = known.entry(emitted.run.clone()).or_default();
        let mut over = false;
        for recorded in emitted.events {
            over |= matches!(recorded.event, Event::Finished { .. });
            self.output.line(&json::event(emitted.run, emitted.workflow, recorded));
            let line = teller.tell(emitted.workflow, recorded);
            if line.news || over {
                let node = line.node.map(|node| format!("  {node}")).unwrap_or_default();
                let text = self.output.paint_progress(line.tone, &line.text);
                self.output.progress(&format!("{}{node}  {text}", emitted.run));
            }
        }
        if over {
            known.remove(emitted.run);
        }
    }

    fn progress(&self, run: &RunId, node: &NodeName, text: &str) {
        self.output.progress(&format!("{run}  {node}  … {}", clean(text)));
    }
}
