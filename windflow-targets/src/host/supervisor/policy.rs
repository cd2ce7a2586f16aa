//! What follows from the end of a process. Pure.

use std::fmt;
use std::time::Duration;

use windflow_core::target::{Health, Restart, RestartPolicy};

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Code(i32),
    Signal(i32),
    /// It ended while nobody could see how.
    Unseen,
    /// It could not be started.
    NotStarted(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "it ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "it was ended by signal {signal}"),
            Self::Unseen => f.write_str("it ended while no supervisor was there"),
            Self::NotStarted(why) => write!(f, "it could not be started: {why}"),
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Leave it; its health is this from now on.
    Done(Health),
    /// Start it again after this; until then its health is this.
    Again(Duration, Health),
}

/// So many ends in a row, without having been up for a while between them, are a crash loop.
pub(super) const CRASH_LOOP: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What follows from this end, the `in_a_row`-th (counted from 1), after these last lines.
pub(super) fn next(ending: &Ending, policy: &RestartPolicy, in_a_row: u32, last_lines: &[String]) -> Next {
    let good = *ending == Ending::Code(0);
    let said = match last_lines {
        [] => String::new(),
        lines => format!("; last lines: {}", lines.join(" | ")),
    };
    let again = match policy.policy {
        Restart::No => false,
        Restart::OnFailure => !good,
        Restart::Always | Restart::UnlessStopped => true,
    };
    let spent = policy.max_attempts.is_some_and(|most| in_a_row > most);
    if !again || (spent && !good) {
        return Next::Done(match (good, spent && again) {
            (true, _) => Health::Completed,
            (false, true) if in_a_row > 1 => {
                Health::Failed { why: format!("{ending}, {in_a_row} times in a row{said}") }
            }
            (false, _) => Health::Failed { why: format!("{ending}{said}") },
        });
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << (in_a_row - 1).min(16)).min(LONGEST_PAUSE);
    let health = match in_a_row >= CRASH_LOOP {
        true => Health::Failed { why: format!("crash loop: {ending}, {in_a_row} times in a row{said}") },
        false => Health::Starting,
    };
    Next::Again(pause, health)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(policy: Restart, max_attempts: Option<u32>) -> RestartPolicy {
        RestartPolicy { max_attempts, ..RestartPolicy::on(policy) }
    }

    #[test]
    fn each_policy_says_what_follows_from_an_end() {
        let (good, bad) = (Ending::Code(0), Ending::Code(3));
        let failed = |why: &str| Next::Done(Health::Failed { why: why.to_owned() });
        assert_eq!(next(&good, &policy(Restart::No, None), 1, &[]), Next::Done(Health::Completed));
        assert_eq!(next(&bad, &policy(Restart::No, None), 1, &[]), failed("it ended with exit code 3"));
        assert_eq!(next(&good, &policy(Restart::OnFailure, None), 1, &[]), Next::Done(Health::Completed));
        let again = |ms| Next::Again(Duration::from_millis(ms), Health::Starting);
        assert_eq!(next(&bad, &policy(Restart::OnFailure, None), 1, &[]), again(100));
        assert_eq!(next(&bad, &policy(Restart::Always, None), 2, &[]), again(200));
        assert_eq!(next(&good, &policy(Restart::UnlessStopped, None), 1, &[]), again(100));
        assert_eq!(next(&bad, &policy(Restart::OnFailure, Some(0)), 1, &[]), failed("it ended with exit code 3"));
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            next(&bad, &policy(Restart::OnFailure, Some(1)), 2, &lines),
            failed("it ended with exit code 3, 2 times in a row; last lines: a | b")
        );
    }

    #[test]
    fn a_crash_loop_is_told_and_goes_on_ever_more_slowly() {
        let Next::Again(pause, Health::Failed { why }) =
            next(&Ending::Signal(9), &policy(Restart::Always, None), 3, &[])
        else {
            panic!("a crash loop is a failure that goes on")
        };
        assert_eq!(pause, Duration::from_millis(400));
        assert_eq!(why, "crash loop: it was ended by signal 9, 3 times in a row");
        let Next::Again(pause, _) = next(&Ending::Code(1), &policy(Restart::Always, None), 90, &[]) else {
            panic!("always means always")
        };
        assert_eq!(pause, Duration::from_secs(30));
    }
}
