//! The exit codes of the command: documented, and stable.

use std::process::ExitCode;

use windflow_core::RunState;

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it succeeded, or there was nothing to change.
    Success,
    /// 1: it failed.
    Failed,
    /// 2: `plan` found changes.
    Changes,
    /// 3: the run failed, and everything was undone.
    Compensated,
    /// 4: it was cancelled.
    Cancelled,
    /// 5: the run is stuck: an operator must decide.
    Stuck,
    /// 64: the command line or a file is wrong, or the target cannot run what it asks for. Nothing has begun.
    Usage,
    /// 69: a target or the store cannot be reached. Nothing has begun.
    Unavailable,
    /// 75: the run is left waiting, paused or resumable.
    Left,
    /// `exec` passes on the code of what it ran.
    Remote(u8),
}

/// The codes as `--help` lists them.
pub const TABLE: &str = "\
Exit codes:
  0   succeeded, or nothing to change
  1   failed
  2   `plan` found changes
  3   failed, and everything was undone (compensated)
  4   cancelled
  5   stuck: an operator must decide
  64  the command line or a file is wrong, or the target cannot run it; nothing has begun
  69  a target or the state cannot be reached; nothing has begun
  75  left waiting, paused or resumable
  `exec` passes on the exit code of the command it ran.";

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Compensated => 3,
            Self::Cancelled => 4,
            Self::Stuck => 5,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Left => 75,
            Self::Remote(code) => code,
        }
    }

    /// The code for a run that is left in this state.
    #[must_use]
    pub fn of_run(state: RunState) -> Self {
        match state {
            RunState::Succeeded => Self::Success,
            RunState::Failed => Self::Failed,
            RunState::Compensated => Self::Compensated,
            RunState::Cancelled | RunState::Terminated => Self::Cancelled,
            RunState::Stuck => Self::Stuck,
            RunState::Pending | RunState::Running | RunState::Waiting | RunState::Paused | RunState::Compensating => {
                Self::Left
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_code_but_the_one_that_is_passed_on() {
        use Exit::{Cancelled, Changes, Compensated, Failed, Left, Stuck, Success, Unavailable, Usage};
        for exit in [Success, Failed, Changes, Compensated, Cancelled, Stuck, Usage, Unavailable, Left] {
            let start = format!("\n  {:<4}", exit.code());
            assert!(TABLE.contains(&start), "{exit:?}");
        }
    }

    #[test]
    fn every_state_of_a_run_has_its_code() {
        let codes: Vec<u8> = RunState::ALL.into_iter().map(|state| Exit::of_run(state).code()).collect();
        assert_eq!(codes, [75, 75, 75, 75, 75, 5, 0, 1, 3, 4, 4]);
    }
}
