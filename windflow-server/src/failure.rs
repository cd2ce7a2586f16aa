//! How a command fails: a sentence, a hint, and the exit code that goes with it.

use std::fmt;

use windflow_core::engine::{StartError, SubmitError, WaitError};
use windflow_core::id::InvalidName;
use windflow_core::store::Fault;
use windflow_core::target::{PlanError, TargetError, TargetErrorKind};
use windflow_core::workflow::Finding;
use windflow_core::{InvalidWorkflow, RunId, StoreError};
use windflow_workflow::document::Diagnostics;

use crate::exit::Exit;

/// What the `shell` action says when it may not run.
pub const SHELL_OFF: &str = "shell action is switched off";
/// How it may.
pub const ALLOW_SHELL: &str = "allow shell with --allow-shell, or `allow_shell: true` in windflow.yaml";

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The code the command ends with.
    pub exit: Exit,
    /// What went wrong, a lower-case sentence.
    pub message: String,
    /// What a person can do about it.
    pub hint: Option<String>,
    /// The problems of a file, when that is what went wrong.
    pub diagnostics: Option<Diagnostics>,
}

impl Failure {
    /// What went wrong, and the code that goes with it.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None, diagnostics: None }
    }

    /// The command line or a file is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// It failed.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// With what a person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file is invalid.
    #[must_use]
    pub fn invalid(diagnostics: Diagnostics) -> Self {
        let errors = diagnostics
            .iter()
            .filter(|problem| problem.severity == windflow_workflow::document::Severity::Error)
            .count();
        let file = diagnostics.iter().next().map_or_else(String::new, |problem| problem.file.clone());
        let plural = if errors == 1 { "" } else { "s" };
        Self {
            diagnostics: Some(diagnostics),
            ..Self::usage(format_args!("{file} has {errors} problem{plural}; nothing has begun"))
        }
    }

    /// A run that this version of the command cannot read.
    #[must_use]
    pub fn unreadable(run: &RunId, why: impl fmt::Display) -> Self {
        Self::failed(format_args!("run {run} cannot be read: {why}"))
            .hint("use the version that wrote it; it is left as it is, and others go on")
    }

    /// A run asks for what this command was not given.
    #[must_use]
    pub fn lacking(run: &RunId, lacks: Finding) -> Self {
        let failure = Self::usage(format_args!("run {run} cannot go on here: {}: {}", lacks.node, lacks.message));
        match lacks.hint {
            _ if lacks.message.contains(SHELL_OFF) => failure.hint(ALLOW_SHELL),
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Before anything has begun, not reaching a place, or not being let in, has a code of its own.
    #[must_use]
    pub fn before(error: TargetError) -> Self {
        use TargetErrorKind::{Denied, Refused, Transient, Unreachable};
        let (kind, hint) = (error.kind, error.hint.clone());
        let failure = Self::from(error);
        match kind {
            Unreachable | Transient | Denied => Self { exit: Exit::Unavailable, hint, ..failure },
            // The target cannot: nothing has begun.
            Refused => Self { exit: Exit::Usage, ..failure },
            _ => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(mut error: StoreError) -> Self {
        let exit = match error.fault {
            Fault::Corrupt | Fault::Newer | Fault::Unusable | Fault::Unavailable | Fault::Full => Exit::Unavailable,
            // The only thing the command asks a store for by name is a run.
            Fault::NotFound => return no_run(&error),
            _ => Exit::Failed,
        };
        let hint = error.hint.take();
        Self { hint, ..Self::new(exit, error) }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Different { run } => {
                Self::usage(format_args!("run {run} exists already, with another workflow or input"))
                    .hint(format!("choose another --run-id, or look at it: windflow runs show {run}"))
            }
            StartError::Input(_) => Self::usage(error).hint("give inputs with --input NAME=VALUE or --inputs FILE"),
            StartError::Workflow(_) => Self::usage(error),
            other => Self::failed(other),
        }
    }
}

fn no_run(error: &dyn fmt::Display) -> Failure {
    Failure::usage(error).hint("list the runs of this state: windflow runs list")
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::NotFound { .. } => no_run(&error),
            SubmitError::Unreadable { run, why } => Self::unreadable(&run, why),
            SubmitError::Refused { ref run, ref why } => {
                Self::failed(format_args!("run {run}: {why}")).hint(format!("how it is: windflow runs show {run}"))
            }
            other => Self::failed(other),
        }
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Store(error) => error.into(),
            WaitError::NotFound { .. } => no_run(&error),
            WaitError::Closing { run } => Self::new(Exit::Left, format_args!("run {run} was left before it was over"))
                .hint(format!("windflow resume {run}")),
            WaitError::Unreadable { run, why } => Self::unreadable(&run, why),
            WaitError::Lacking { run, findings } => match findings.into_iter().next() {
                Some(finding) => Self::lacking(&run, finding),
                None => Self::usage(format_args!("run {run} cannot go on here")),
            },
            other => Self::failed(other),
        }
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::usage(error)
    }
}

impl From<InvalidWorkflow> for Failure {
    fn from(error: InvalidWorkflow) -> Self {
        Self::usage(error)
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::invalid(diagnostics)
    }
}

impl From<TargetError> for Failure {
    fn from(mut error: TargetError) -> Self {
        let exit = match error.kind {
            TargetErrorKind::Cancelled => Exit::Cancelled,
            // A service or a revision that was named and is not there.
            TargetErrorKind::NotFound => Exit::Usage,
            _ => Exit::Failed,
        };
        const HALF_DONE: &str =
            "it may be half done: `windflow status` shows what is there, the same command again finishes it";
        let hint = match (error.hint.take(), error.kind) {
            // The way to it was lost on the way.
            (Some(hint), TargetErrorKind::Unreachable) => Some(format!("{HALF_DONE}; {hint}")),
            (Some(hint), _) => Some(hint),
            (None, TargetErrorKind::Conflict) => {
                Some("somebody else has changed it: look at it and plan again".to_owned())
            }
            (None, TargetErrorKind::NeedsConsent) => Some("agree to it with --allow-destroy WHAT".to_owned()),
            (None, TargetErrorKind::Unreachable | TargetErrorKind::Unknown | TargetErrorKind::Cancelled) => {
                Some(HALF_DONE.to_owned())
            }
            (None, _) => None,
        };
        Self { hint, ..Self::new(exit, error) }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Target(error) => Self::before(error),
            PlanError::Refused { target, stack, problems } => {
                let lines: Vec<String> = problems.iter().map(|(path, why)| format!("  {path}: {why}")).collect();
                // Found in the plan: nothing has begun.
                Self::usage(format_args!("target '{target}' cannot run stack '{stack}':\n{}", lines.join("\n")))
                    .hint("change the stack, or choose another target: windflow targets")
            }
            other => Self::failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_on_the_way_may_be_half_done_and_what_never_began_is_not() {
        let target = windflow_core::TargetName::new("shop").unwrap();
        let lost = || {
            TargetError::new(&target, TargetErrorKind::Unreachable, "listing containers: there is no socket")
                .with_hint("is the engine running?")
        };
        let midway = Failure::from(lost());
        assert_eq!(midway.exit, Exit::Failed);
        let hint = midway.hint.unwrap();
        assert!(hint.starts_with("it may be half done") && hint.ends_with("is the engine running?"), "{hint}");
        let never = Failure::before(lost());
        assert_eq!((never.exit, never.hint.as_deref()), (Exit::Unavailable, Some("is the engine running?")));
    }
}
