//! One node in one run.

use serde::Serialize;
use serde_json::Value;

use super::children::Children;
use crate::id::{NodeName, Principal, SignalName};
use crate::outcome::{Resumed, StepError, Undone};
use crate::time::Timestamp;

/// How a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepState {
    /// It waits for its needs.
    Blocked,
    /// Its condition is being evaluated.
    Deciding,
    /// Its input is being evaluated.
    Preparing,
    /// It may start when there is a free place.
    Ready,
    /// An attempt is open.
    Running,
    /// Runs of its own are under way.
    Calling,
    /// A round of its block has ended, and whether that is enough is being evaluated.
    Judging,
    /// An attempt ended, nobody knows how: the action is asked to look.
    Unknown,
    /// It will be tried again.
    Backoff,
    /// It waits for a moment or a signal.
    Parked,
    /// It is complete.
    Succeeded,
    /// It was left out.
    Skipped,
    /// It has failed for good.
    Failed,
    /// Nobody can tell whether it has happened: an operator decides.
    Unresolved,
    /// It had started when the run was stopped.
    Stopped,
    /// The input of its compensating action is being evaluated.
    UndoPreparing,
    /// It may be undone when there is a free place.
    UndoReady,
    /// A compensation attempt is open.
    Undoing,
    /// Its runs are being undone.
    UndoCalling,
    /// Its compensation will be tried again.
    UndoBackoff,
    /// It was undone, or had nothing to undo.
    Undone,
    /// Its compensation has failed: an operator decides.
    UndoFailed,
}

impl StepState {
    /// How many there are.
    pub(super) const COUNT: usize = 22;

    /// Its name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Deciding => "deciding",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Calling => "calling",
            Self::Judging => "judging",
            Self::Unknown => "unknown",
            Self::Backoff => "backoff",
            Self::Parked => "parked",
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Unresolved => "unresolved",
            Self::Stopped => "stopped",
            Self::UndoPreparing => "undo_preparing",
            Self::UndoReady => "undo_ready",
            Self::Undoing => "undoing",
            Self::UndoCalling => "undo_calling",
            Self::UndoBackoff => "undo_backoff",
            Self::Undone => "undone",
            Self::UndoFailed => "undo_failed",
        }
    }
}

/// The state of one step: small, because a run may have a hundred thousand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) state: StepState,
    /// Whether its condition was found true.
    pub(super) decided: bool,
    /// Whether any of its needs has succeeded.
    pub(super) supported: bool,
    /// How many of its needs are not finished.
    pub(super) unmet: u32,
    /// The last forward attempt; 0 before the first.
    pub(super) attempt: u32,
    /// Its output, once it is complete.
    pub(super) output: Option<Value>,
    /// What few steps have.
    pub(super) extra: Option<Box<Extra>>,
}

/// What few steps have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extra {
    /// Its evaluated or corrected input.
    pub(super) input: Option<Value>,
    /// The evaluated input of its compensating action.
    pub(super) undo_input: Option<Value>,
    /// The last checkpoint.
    pub(super) checkpoint: Option<Value>,
    /// Why it is performed again after waiting.
    pub(super) resumed: Option<Resumed>,
    /// The signal it waits for.
    pub(super) signal: Option<SignalName>,
    /// When its timer is due.
    pub(super) due: Option<Timestamp>,
    /// When its first attempt began.
    pub(super) first_started: Timestamp,
    /// When its last attempt began.
    pub(super) last_started: Timestamp,
    /// The last error.
    pub(super) error: Option<StepError>,
    /// Whether the open question is the step's own failure, rather than its worker's death.
    pub(super) counts: bool,
    /// How many attempts have failed since the step was last given a clean slate.
    pub(super) failures: u32,
    /// How often in a row its worker died while it was open.
    pub(super) crashes: u32,
    /// Which idempotency key: grows when an operator corrects the input.
    pub(super) generation: u32,
    /// The last compensation attempt.
    pub(super) undo_attempt: u32,
    /// How many compensation attempts have failed.
    pub(super) undo_failures: u32,
    /// How it was undone.
    pub(super) undone: Option<Undone>,
    /// The runs it has started.
    pub(super) children: Children,
}

impl Step {
    pub(super) fn new(unmet: usize) -> Self {
        Self {
            state: StepState::Blocked,
            decided: false,
            supported: false,
            unmet: u32::try_from(unmet).unwrap_or(u32::MAX),
            attempt: 0,
            output: None,
            extra: None,
        }
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Whether anything of it may be out in the world.
    pub(super) fn has_started(&self) -> bool {
        self.attempt > 0 && self.state != StepState::Skipped
    }

    pub(super) fn failures(&self) -> u32 {
        self.extra.as_ref().map_or(0, |extra| extra.failures)
    }
}

/// A step as outsiders see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepView<'a> {
    /// Which node.
    pub name: &'a NodeName,
    /// How it is.
    pub state: StepState,
    /// The last forward attempt; 0 before the first.
    pub attempt: u32,
    /// Its output, once it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<&'a Value>,
    /// The last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a StepError>,
    /// When its timer is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The signal it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<&'a SignalName>,
    /// The last checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<&'a Value>,
    /// How it was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone: Option<&'a Undone>,
}

/// A signal that nobody has taken yet.
pub(super) type Buffered = (Value, Principal);
