//! All news a run can receive.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CorruptJournal, Resolution, Subject, Told};
use crate::id::{Epoch, NodeIndex, NodeName, Principal, RunId, SignalName};
use crate::outcome::{Guarantee, Outcome, Seen, StepError, Undone};

/// News. What is out of date is harmless: it changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// This holder took the run. Nothing follows by itself before the next news.
    Claimed {
        /// Its epoch.
        epoch: Epoch,
    },
    /// Its holder lets go of it in good order.
    Released,
    /// Look at the time; harmless when nothing is due.
    Woke,
    /// An expression was evaluated.
    Evaluated {
        /// Which.
        subject: Subject,
        /// Its value, or why there is none.
        result: Result<Value, StepError>,
    },
    /// An action left a checkpoint.
    Checkpointed {
        /// Which node.
        node: NodeIndex,
        /// Which attempt, forwards or backwards.
        attempt: u32,
        /// What it left.
        value: Value,
    },
    /// An attempt ended.
    Ended {
        /// Which node.
        node: NodeIndex,
        /// Which attempt.
        attempt: u32,
        /// How.
        result: Result<Outcome, StepError>,
    },
    /// An action looked whether an attempt has happened.
    Observed {
        /// Which node.
        node: NodeIndex,
        /// Which attempt.
        attempt: u32,
        /// What it saw.
        result: Result<Seen, StepError>,
        /// What the action guarantees: it decides what follows when there is no telling.
        guarantee: Guarantee,
    },
    /// A compensation attempt ended.
    Compensated {
        /// Which node.
        node: NodeIndex,
        /// Which compensation attempt.
        attempt: u32,
        /// How.
        result: Result<Undone, StepError>,
    },
    /// Somebody asks something.
    Asked {
        /// What.
        request: Request,
        /// Who.
        principal: Principal,
    },
}

/// What may be asked of a run from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
#[non_exhaustive]
pub enum Request {
    /// Give it a signal.
    Signal {
        /// Which.
        name: SignalName,
        /// What it carries.
        #[serde(default)]
        payload: Value,
    },
    /// Stop it and undo what it did.
    Cancel {
        /// Why.
        reason: String,
    },
    /// Stop it at once, with nothing undone.
    Terminate {
        /// Why.
        reason: String,
    },
    /// Start nothing new.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on.
    Resume,
    /// Try again what failed: failed steps of a failed run, failed compensations of a stuck one.
    Retry {
        /// Corrected inputs by node; a new key generation begins for each.
        #[serde(default)]
        inputs: std::collections::BTreeMap<NodeName, Value>,
    },
    /// Undo a run that failed with `on_failure: stop`.
    Compensate,
    /// Decide what nobody can tell, or take a step as undone.
    Resolve {
        /// Which step.
        node: NodeName,
        /// What is decided.
        resolution: Resolution,
        /// Why; goes into the journal.
        reason: String,
    },
    /// End a stuck run as failed, with its leftovers listed.
    GiveUp {
        /// Why.
        reason: String,
    },
    /// Hear from a run that it has started. Only such a run says that; from anybody else it is refused.
    Told {
        /// The node that has started it.
        node: NodeIndex,
        /// Which of the node's runs.
        place: u32,
        /// That run.
        run: RunId,
        /// What it says.
        told: Box<Told>,
    },
}

impl Request {
    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Signal { .. } => "signal",
            Self::Cancel { .. } => "cancel",
            Self::Terminate { .. } => "terminate",
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Compensate => "compensate",
            Self::Resolve { .. } => "resolve",
            Self::GiveUp { .. } => "give up",
            Self::Told { .. } => "hear from a child",
        }
    }
}

/// Why a run did not take an input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is in no state for that.
    #[error("cannot {request}: {why}")]
    NotNow {
        /// What was asked.
        request: &'static str,
        /// Why not.
        why: String,
    },
    /// A bound was reached.
    #[error("cannot {request}: {bound}")]
    Bound {
        /// What was asked.
        request: &'static str,
        /// Which bound.
        bound: String,
    },
    /// The engine decided something its own fold refuses: a bug. The run stays as the journal has it.
    #[error(transparent)]
    Corrupt(#[from] CorruptJournal),
}
