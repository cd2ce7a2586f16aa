//! The row a store indexes, so that it never has to read events.

use serde::{Deserialize, Serialize};

use super::RunState;
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
}
