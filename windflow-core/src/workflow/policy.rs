//! How a step is retried, joined and given up: pure arithmetic.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::NodeIndex;
use crate::outcome::ErrorClass;
use crate::time::millis;

/// When a step is tried again: exponential delays with full jitter.
///
/// The delay before attempt *n + 1* is drawn evenly between nothing and `min(cap, initial × factor^(n-1))`
/// ("full jitter", M. Brooker, *Exponential Backoff And Jitter*, 2015). The draw depends only on the run's recorded seed, the node
/// and the attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included; 1 to 1,000.
    pub max_attempts: u32,
    /// The upper end of the first delay.
    #[serde(with = "millis")]
    pub initial: Duration,
    /// What the upper end is multiplied by each time; 1 to 100.
    pub factor: f64,
    /// The upper end never exceeds this.
    #[serde(with = "millis")]
    pub cap: Duration,
    /// Which classes of error are tried again. [`ErrorClass::Terminal`] never is.
    pub on: BTreeSet<ErrorClass>,
}

impl Default for Retry {
    /// Five attempts, 1 s, doubling, at most 5 minutes; retryable errors, and unknown ones once observed.
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(300),
            on: [ErrorClass::Retryable, ErrorClass::Unknown].into(),
        }
    }
}

impl Retry {
    /// The default delays with this many attempts.
    #[must_use]
    pub fn attempts(max_attempts: u32) -> Self {
        Self { max_attempts, ..Self::default() }
    }

    /// One attempt only.
    #[must_use]
    pub fn never() -> Self {
        Self::attempts(1)
    }

    /// With this first delay.
    #[must_use]
    pub fn initial(mut self, initial: Duration) -> Self {
        self.initial = initial;
        self
    }

    /// With this longest delay.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// The longest delay after this many failures.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        if seconds.is_finite() && seconds < self.cap.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.cap
        }
    }

    /// The delay after this many failures of a node, drawn from the run's seed.
    #[must_use]
    pub fn delay(&self, seed: u64, node: NodeIndex, failures: u32) -> Duration {
        let ceiling = u64::try_from(self.ceiling(failures).as_millis()).unwrap_or(u64::MAX);
        let draw = mix(seed ^ mix(u64::from(node.0) << 32 | u64::from(failures)));
        Duration::from_millis(if ceiling == u64::MAX { draw } else { draw % (ceiling + 1) })
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads a number over all 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// When a node with several needs may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// When all are finished; skipped ones are ignored, unless all are.
    #[default]
    All,
    /// When the first has succeeded; the others are left running.
    Any,
}

/// What a step's final failure does to its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Stop the siblings, then undo everything that was started, in reverse dependency order.
    #[default]
    Compensate,
    /// Let the siblings finish, start nothing new, undo nothing.
    Stop,
}

/// What happens when nobody can tell whether an at-least-once step has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// An operator decides.
    #[default]
    Stuck,
    /// Try again: it may happen twice.
    Retry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let retry = Retry::default();
        let seconds: Vec<u64> = (1..=11).map(|n| retry.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(retry.ceiling(u32::MAX), Duration::from_secs(300));
    }

    #[test]
    fn the_delay_is_spread_evenly_and_the_same_every_time() {
        let retry = Retry::default().initial(Duration::from_secs(10));
        let draws: Vec<Duration> = (0..1_000).map(|seed| retry.delay(seed, NodeIndex(3), 1)).collect();
        assert!(draws.iter().all(|d| *d <= Duration::from_secs(10)));
        let mean = draws.iter().sum::<Duration>() / 1_000;
        assert!((4_500..5_500).contains(&mean.as_millis()), "{mean:?}");
        assert_eq!(retry.delay(7, NodeIndex(3), 1), retry.delay(7, NodeIndex(3), 1));
        assert_ne!(retry.delay(7, NodeIndex(3), 1), retry.delay(7, NodeIndex(4), 1));
    }
}
