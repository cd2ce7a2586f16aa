//! What an action can say about its work.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::SignalName;
use crate::time::Timestamp;

/// How an action behaves when it is performed twice with one idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// The other side stores the key and refuses a second application.
    Keyed,
    /// The other side compares our epoch or a version and refuses stale writers.
    Fenced,
    /// Applying twice gives the same state; an overlap is harmless.
    Convergent,
    /// It may visibly happen twice: mail, an arbitrary shell command, an HTTP POST without a key.
    AtLeastOnce,
}

/// Whether an action can take its own work back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversal {
    /// [`Action::compensate`](crate::Action::compensate) takes it back.
    Own,
    /// It changes nothing outside: a wait, a calculation, a reading.
    NotNeeded,
    /// It cannot be taken back unless the node names another action in `compensate`.
    None,
}

/// How an attempt ended well.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is done, and this is its output.
    Done(Value),
    /// It has nothing to do until something happens; no task waits meanwhile. The action is performed again, with
    /// what it waited for in [`StepContext::resumed_by`](crate::StepContext::resumed_by).
    Parked(Until),
}

/// What a parked step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// A moment.
    Time(Timestamp),
    /// A signal of this name, until an optional moment.
    Signal {
        /// Which signal.
        name: SignalName,
        /// When to stop waiting; the step is then performed with [`Resumed::TimedOut`].
        deadline: Option<Timestamp>,
    },
}

/// Why a parked step is performed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resumed {
    /// The moment it waited for has come.
    Time,
    /// The signal came.
    Signal {
        /// What it carried.
        payload: Value,
        /// Who sent it.
        principal: crate::id::Principal,
    },
    /// The signal did not come in time.
    TimedOut,
}

/// What [`Action::observe`](crate::Action::observe) found out about an attempt whose end nobody saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// It happened, with this output.
    Happened(Value),
    /// It did not happen.
    DidNot,
    /// There is no telling.
    CannotTell,
}

/// How a compensation ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undone {
    /// The work was taken back.
    Reversed,
    /// There was nothing to take back.
    NothingToUndo,
    /// It cannot be taken back; the run lists it as left over, without being stuck.
    NotUndoable {
        /// Why not.
        why: String,
    },
}

/// What kind of failure a step met, which decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// It did not happen, and trying again may help.
    Retryable,
    /// It did not happen as asked, and trying again cannot help.
    Terminal,
    /// It may have happened: observe before trying again.
    Unknown,
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retryable => "retryable",
            Self::Terminal => "terminal",
            Self::Unknown => "unknown",
        })
    }
}

/// The failure of one attempt: plain data, because it is journaled and may be read by another process.
///
/// ```
/// use windflow_core::{ErrorClass, StepError};
/// let error = StepError::retryable("http.status", "the server answered 503").with_hint("is it starting?");
/// assert_eq!(error.class, ErrorClass::Retryable);
/// assert_eq!(error.to_string(), "the server answered 503 (is it starting?)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub struct StepError {
    /// What may be done about it.
    pub class: ErrorClass,
    /// A stable dotted code: `deploy.health`, `http.status`, `panic`.
    pub code: String,
    /// What happened, a lower-case fragment.
    pub message: String,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl StepError {
    /// An error of this class.
    #[must_use]
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { class, code: code.into(), message: message.to_string(), hint: None }
    }

    /// It did not happen, and trying again may help.
    #[must_use]
    pub fn retryable(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::Retryable, code, message)
    }

    /// It did not happen as asked, and trying again cannot help.
    #[must_use]
    pub fn terminal(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::Terminal, code, message)
    }

    /// It may have happened.
    #[must_use]
    pub fn unknown(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(ErrorClass::Unknown, code, message)
    }

    /// The same error from any error: the message is the chain of causes, joined with ": ".
    #[must_use]
    pub fn from_error(class: ErrorClass, code: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::new(class, code, message)
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
