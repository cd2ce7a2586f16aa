//! Bugs planted on purpose, to prove that the simulator catches them. Without the feature, none exists.

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An effect begins before its start is durable.
    SkipDurableStart,
    /// Steps are undone in the order they were done.
    ForwardOrderCompensation,
    /// A step that started and failed is not undone.
    ForgetStartedAndFailed,
    /// A claim makes a completed step run again.
    RunCompletedAgain,
    /// A retry is written down, and its timer is not.
    LoseRetryTimer,
    /// A store takes the append of a worker that was fenced out.
    AcceptStaleEpoch,
    /// The idempotency key changes with every attempt.
    KeyContainsAttempt,
    /// An append whose outcome is unknown is taken for a success.
    UnknownCommitIsSuccess,
    /// A cancel is acknowledged and forgotten.
    ForgetCancel,
    /// A claim leaves the attempts of the dead worker open, so that they are performed without a new start record.
    LeaveAttemptsOpen,
    /// Retries have no bound.
    RetryWithoutBound,
    /// A step starts before all it needs is finished.
    StartTooEarly,
    /// A question that is not wanted any more stops the attempts that run beside it.
    StopBesideQuestions,
    /// Whoever lets go of a run starts what becomes ready meanwhile.
    StartWhileLeaving,
    /// A run that was started by another does not say that it is over.
    KeepEndFromParent,
    /// A step is taken as undone whose runs are not.
    LeaveChildrenUndone,
    /// A cancel does not reach the runs that a run has started.
    CancelWithoutChildren,
    /// A run that was started by another is written down, and not created.
    RecordChildOnly,
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    impl Bug {
        /// All of them.
        pub const ALL: [Self; 18] = [
            Self::SkipDurableStart,
            Self::ForwardOrderCompensation,
            Self::ForgetStartedAndFailed,
            Self::RunCompletedAgain,
            Self::LoseRetryTimer,
            Self::AcceptStaleEpoch,
            Self::KeyContainsAttempt,
            Self::UnknownCommitIsSuccess,
            Self::ForgetCancel,
            Self::LeaveAttemptsOpen,
            Self::RetryWithoutBound,
            Self::StartTooEarly,
            Self::StopBesideQuestions,
            Self::StartWhileLeaving,
            Self::KeepEndFromParent,
            Self::LeaveChildrenUndone,
            Self::CancelWithoutChildren,
            Self::RecordChildOnly,
        ];

        /// Plants this bug, or none, in what this thread does from now on.
        pub fn plant(bug: Option<Self>) {
            PLANTED.set(bug);
        }
    }

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub(crate) use switch::is_planted;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is_planted(_: Bug) -> bool {
    false
}
