//! What goes wrong in a world, how often, and what did.

use std::ops::AddAssign;

/// How often each thing goes wrong, in percent. Each is switched off entirely in a random half of the worlds, so that
/// rare combinations are not drowned by common ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The worker dies before an append reaches the store.
    pub crash_before: u8,
    /// The worker dies after an append has reached the store, before it knows.
    pub crash_after: u8,
    /// The append happens, and the answer says that nobody knows.
    pub unknown_applied: u8,
    /// The append does not happen, and the answer says that nobody knows.
    pub unknown_lost: u8,
    /// The store does not answer for a moment.
    pub unavailable: u8,
    /// An append takes its time.
    pub slow: u8,
    /// The worker freezes: another takes its runs over, and it goes on later.
    pub frozen: u8,
    /// Somebody cancels, pauses, signals.
    pub meddling: u8,
    /// An action misbehaves.
    pub action: u8,
    /// A worker shuts down in good order.
    pub shutdown: u8,
    /// An evaluation takes its time.
    pub pondering: u8,
}

impl Faults {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let mut rate = |most: u8| if rng.bool() { rng.u8(1..=most) } else { 0 };
        Self {
            crash_before: rate(12),
            crash_after: rate(12),
            unknown_applied: rate(12),
            unknown_lost: rate(12),
            unavailable: rate(15),
            slow: rate(40),
            frozen: rate(8),
            meddling: rate(60),
            action: rate(60),
            shutdown: rate(30),
            pondering: rate(40),
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened in one world, or in many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl Counters {
            /// Each counter with its name.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Worlds.
    worlds,
    /// Runs.
    runs,
    /// Of these, runs that a run has started.
    children,
    /// Events in their journals.
    events,
    /// Effects on the world, forwards.
    effects,
    /// Effects taken back.
    undos,
    /// Workers that died before an append.
    crashes_before,
    /// Workers that died after an append.
    crashes_after,
    /// Appends that happened without anybody knowing.
    unknown_applied,
    /// Appends that did not happen without anybody knowing.
    unknown_lost,
    /// Appends the store did not answer.
    unavailable,
    /// Workers that froze and came back.
    frozen,
    /// Appends that were refused because somebody else had taken the run.
    fenced,
    /// Effects of a replaced worker that the world refused, as a fenced target does.
    stale,
    /// Runs taken from a worker that had died or frozen.
    takeovers,
    /// Workers that shut down in good order.
    shutdowns,
    /// Cancels asked for.
    cancels,
    /// Pauses asked for.
    pauses,
    /// Evaluations that took their time.
    pondered,
    /// Actions that panicked.
    panics,
    /// Actions that failed for good.
    terminal,
    /// Actions that failed for now.
    retryable,
    /// Actions whose end nobody saw.
    unknown,
    /// Actions that were performed although they had happened.
    duplicates,
    /// Observations.
    observed,
    /// Observations that took their time.
    slow_looks,
    /// Timers that fired in another worker's life than they were set in, or later.
    timers,
    /// Steps that waited.
    parked,
    /// Runs quarantined.
    quarantined,
    /// Runs that got stuck.
    stuck,
    /// Runs that succeeded.
    succeeded,
    /// Runs that were compensated.
    compensated,
    /// Runs that were cancelled.
    cancelled,
    /// Runs that failed without being undone.
    failed,
}
