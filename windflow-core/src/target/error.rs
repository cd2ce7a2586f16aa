//! How a target fails: a struct that says where, a kind that says what a caller can do.

use std::fmt;

use crate::id::{ServiceName, StackName, TargetName};
use crate::outcome::{ErrorClass, StepError};

/// What a caller can do about a target's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetErrorKind {
    /// The target cannot do this, and its capabilities say so.
    Unsupported,
    /// The stack asks for something it must not, or that is wrong.
    Refused,
    /// Someone else changed what the plan was made on, or owns it: plan again.
    Conflict,
    /// An irreversible change needs a consent that was not given.
    NeedsConsent,
    /// What was asked for is not there.
    NotFound,
    /// It was applied and did not become healthy.
    Unhealthy,
    /// No permission.
    Denied,
    /// No connection: it did not happen, and trying again may help.
    Unreachable,
    /// The other side failed before doing anything: trying again may help.
    Transient,
    /// It may have happened: observe.
    Unknown,
    /// The call was cancelled; the next apply of the same plan finishes it.
    Cancelled,
}

impl TargetErrorKind {
    /// The code a step's error carries: `target.unreachable`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unsupported => "target.unsupported",
            Self::Refused => "target.refused",
            Self::Conflict => "target.conflict",
            Self::NeedsConsent => "target.needs_consent",
            Self::NotFound => "target.not_found",
            Self::Unhealthy => "target.unhealthy",
            Self::Denied => "target.denied",
            Self::Unreachable => "target.unreachable",
            Self::Transient => "target.transient",
            Self::Unknown => "target.unknown",
            Self::Cancelled => "target.cancelled",
        }
    }
}

/// A failed call to a target.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TargetError {
    /// Which target.
    pub target: TargetName,
    /// Which stack, if it was about one.
    pub stack: Option<StackName>,
    /// Which service, if it was about one.
    pub service: Option<ServiceName>,
    /// What a caller can do.
    pub kind: TargetErrorKind,
    /// What happened, a lower-case fragment.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl TargetError {
    /// What happened at which target.
    #[must_use]
    pub fn new(target: &TargetName, kind: TargetErrorKind, message: impl fmt::Display) -> Self {
        Self { target: target.clone(), stack: None, service: None, kind, message: message.to_string(), hint: None }
    }

    /// An apply has failed, and what was current before does not come back either: nobody may take it for rolled back.
    #[must_use]
    pub fn not_back(target: &TargetName, why: &str, number: u64, worse: &str) -> Self {
        let what = format_args!("{why}; and revision {number} did not come back: {worse}");
        Self::new(target, TargetErrorKind::Unhealthy, what)
            .with_hint("see what runs with `status`; put right what is in the way and apply again")
    }

    /// The call is not offered.
    #[must_use]
    pub fn unsupported(target: &TargetName, what: &str) -> Self {
        Self::new(target, TargetErrorKind::Unsupported, format_args!("this target does not offer {what}"))
    }

    /// About this stack.
    #[must_use]
    pub fn in_stack(mut self, stack: &StackName) -> Self {
        self.stack = Some(stack.clone());
        self
    }

    /// About this service.
    #[must_use]
    pub fn in_service(mut self, service: &ServiceName) -> Self {
        self.service = Some(service.clone());
        self
    }

    /// What a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the target could not be reached: what a breaker counts and a fallback acts on.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        self.kind == TargetErrorKind::Unreachable
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)?;
        if let Some(stack) = &self.stack {
            write!(f, "/{stack}")?;
        }
        if let Some(service) = &self.service {
            write!(f, "/{service}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TargetError {}

impl From<TargetError> for StepError {
    fn from(error: TargetError) -> Self {
        let code = error.kind.code();
        let class = match error.kind {
            TargetErrorKind::Unreachable | TargetErrorKind::Transient | TargetErrorKind::Conflict => {
                ErrorClass::Retryable
            }
            TargetErrorKind::Cancelled | TargetErrorKind::Unknown => ErrorClass::Unknown,
            TargetErrorKind::Unsupported
            | TargetErrorKind::Refused
            | TargetErrorKind::NeedsConsent
            | TargetErrorKind::NotFound
            | TargetErrorKind::Unhealthy
            | TargetErrorKind::Denied => ErrorClass::Terminal,
        };
        let hint = error.hint.clone();
        let mut step = StepError::new(class, code, TargetError { hint: None, ..error });
        step.hint = hint;
        step
    }
}

/// Why no plan could be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The target cannot honour the stack; each problem is a path into the stack and a sentence.
    #[error("{target} cannot run {stack}: {}", problems.iter().map(|(path, why)| format!("{path}: {why}")).collect::<Vec<_>>().join("; "))]
    Refused {
        /// Which target.
        target: TargetName,
        /// Which stack.
        stack: StackName,
        /// Path and sentence, all of them.
        problems: Vec<(String, String)>,
    },
    /// Anything else.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl From<PlanError> for StepError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Target(error) => error.into(),
            refused @ PlanError::Refused { .. } => StepError::terminal("target.refused", refused),
        }
    }
}
