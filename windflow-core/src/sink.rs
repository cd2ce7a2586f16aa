//! Who is told of what has happened.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::{NodeName, RunId};
use crate::run::{Event, Recorded};
use crate::workflow::Workflow;

/// Events that have become durable together.
#[derive(Debug, Clone)]
pub struct Emitted<'a> {
    /// Of which run.
    pub run: &'a RunId,
    /// Its workflow: where node indices get their names.
    pub workflow: &'a Arc<Workflow>,
    /// The events, in order.
    pub events: &'a [Recorded],
}

/// Told of every event, once per engine that made it durable, in order, after it is durable.
///
/// Delivery is a courtesy: an engine that dies between the append and the call does not call again. Whoever must see
/// every event reads the journal.
pub trait EventSink: fmt::Debug + Send + Sync + 'static {
    /// What has become durable. Must return at once: it is called on the path of the run.
    fn emit(&self, emitted: &Emitted<'_>);

    /// What a step tells while it works; not durable.
    fn progress(&self, run: &RunId, node: &NodeName, text: &str);
}

/// Keeps everything: the in-memory implementation.
#[derive(Debug, Default, Clone)]
pub struct MemorySink(Arc<Mutex<Vec<(RunId, Recorded)>>>);

impl MemorySink {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The events of one run so far.
    #[must_use]
    pub fn events(&self, run: &RunId) -> Vec<Event> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(of, _)| of == run).map(|(_, recorded)| recorded.event.clone()).collect()
    }
}

impl EventSink for MemorySink {
    fn emit(&self, emitted: &Emitted<'_>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(emitted.events.iter().map(|recorded| (emitted.run.clone(), recorded.clone())));
    }

    fn progress(&self, _run: &RunId, _node: &NodeName, _text: &str) {}
}

/// Writes every event to [`tracing`], at debug level, without payloads.
#[derive(Debug, Default, Clone, Copy)]
pub struct TracingSink;

impl EventSink for TracingSink {
    fn emit(&self, emitted: &Emitted<'_>) {
        for recorded in emitted.events {
            let node = recorded.event.node().map(|node| emitted.workflow.node(node).name.as_str());
            tracing::debug!(run = %emitted.run, seq = recorded.seq.0, node, event = recorded.event.kind(), "recorded");
        }
    }

    fn progress(&self, run: &RunId, node: &NodeName, text: &str) {
        tracing::debug!(%run, %node, text, "progress");
    }
}
