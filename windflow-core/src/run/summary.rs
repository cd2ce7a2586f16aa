//! The row a store indexes, so that it never has to read events.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Event, RunState};
use crate::hash::ContentHash;
use crate::id::{Namespace, RunId, Seq, WorkflowName};
use crate::time::Timestamp;

/// One run at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The run.
    pub run: RunId,
    /// Its namespace.
    pub namespace: Namespace,
    /// The workflow's name.
    pub workflow: WorkflowName,
    /// The pinned workflow.
    pub hash: ContentHash,
    /// How it is.
    pub state: RunState,
    /// The last position of its journal.
    pub seq: Seq,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its journal last grew.
    pub updated_at: Timestamp,
    /// When it wants to be driven, even if nobody writes to it: a moment in the past when it has work now, none when
    /// it waits for somebody or is over.
    pub wake_at: Option<Timestamp>,
    /// How many nodes are finished.
    pub finished: u32,
    /// How many nodes there are.
    pub total: u32,
    /// What is wrong, if something is: the first failed step and its error.
    pub problem: Option<String>,
    /// The version of the vocabulary its journal is written in.
    #[serde(default = "first")]
    pub version: u16,
    /// The version of the engine that wrote last.
    #[serde(default)]
    pub build: Cow<'static, str>,
    /// The run it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
}

fn first() -> u16 {
    1
}

impl Summary {
    /// The version of this engine, as it signs what it writes.
    pub const BUILD: &'static str = env!("CARGO_PKG_VERSION");

    /// Why this build must leave the run as it is, if so: a newer one has written to it.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        (self.version > Event::VERSION).then(|| {
            let (theirs, ours) = (self.version, Event::VERSION);
            let build = if self.build.is_empty() { "a newer version" } else { &self.build };
            format!(
                "windflow {build} has written it (events of version {theirs}), and this is {} (version {ours})",
                Self::BUILD
            )
        })
    }
}
