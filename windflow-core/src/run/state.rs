//! How a run is, as people and stores see it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Seq;

/// How a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Created; nothing has begun.
    Pending,
    /// Something is being done, by it or by a run that it has started.
    Running,
    /// Only time or somebody outside can move it on.
    Waiting,
    /// Nothing new starts until an operator resumes it.
    Paused,
    /// What was done is being undone.
    Compensating,
    /// Only an operator can move it on.
    Stuck,
    /// Over: every node is finished.
    Succeeded,
    /// Over: a step failed, and nothing was undone, or an operator gave up.
    Failed,
    /// Over: a step failed, and everything was undone.
    Compensated,
    /// Over: it was cancelled, and everything was undone.
    Cancelled,
    /// Over: it was ended at once, with nothing undone.
    Terminated,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Paused,
        Self::Compensating,
        Self::Stuck,
        Self::Succeeded,
        Self::Failed,
        Self::Compensated,
        Self::Cancelled,
        Self::Terminated,
    ];

    /// Whether the run is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Compensated | Self::Cancelled | Self::Terminated)
    }

    /// Its name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Compensating => "compensating",
            Self::Stuck => "stuck",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for RunState {
    type Err = crate::id::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "must be pending, running, waiting, paused, compensating, stuck, succeeded, failed, compensated, cancelled or terminated";
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| crate::id::invalid("run state", text, rule))
    }
}

/// A journal that does not fold: it was damaged, or written by something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not fold at record {seq}: {why}")]
pub struct CorruptJournal {
    /// Where.
    pub seq: Seq,
    /// Why.
    pub why: String,
}
