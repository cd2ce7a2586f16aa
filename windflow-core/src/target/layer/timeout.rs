//! No call lasts for ever.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::call::{Call, Failure, led_through_around};
use crate::id::{StackName, TargetName};
use crate::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan,
    PlanError, Promote, Revision, ServiceRef, Session, Target, TargetError, TargetErrorKind,
};

/// Ends calls that take too long: a question with [`Unreachable`](TargetErrorKind::Unreachable), a change with
/// [`Unknown`](TargetErrorKind::Unknown), because it may have happened.
///
/// Questions are `probe`, `observe`, `plan`, `stacks`, `revisions`, `discover`, the first item of a watch, and each line
/// of logs that do not follow. Changes are `apply`, `promote` and `adopt`; their bound is another one, since they wait
/// for health. `exec` must have begun within the bound of a question, and ends as a change when it has not. What comes
/// after the first item of a watch, followed logs and a running command are not bounded: that nothing happens there is
/// no failure. A call that is ended is dropped, which equals a crash: the next apply of the plan finishes it.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// use windflow_core::target::{MemoryTarget, Target, Timeout};
/// # fn main() -> Result<(), windflow_core::InvalidName> {
/// let target = Arc::new(MemoryTarget::new("memory".parse()?, "docs".parse()?));
/// let target = Timeout::over(target).questions(Duration::from_secs(5)).changes(Duration::from_secs(600));
/// assert_eq!(target.name().as_str(), "memory");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Timeout {
    inner: Arc<dyn Target>,
    questions: Duration,
    changes: Duration,
}

impl Timeout {
    /// How long a question may take unless said otherwise.
    pub const QUESTIONS: Duration = Duration::from_secs(30);
    /// How long a change may take unless said otherwise.
    pub const CHANGES: Duration = Duration::from_secs(30 * 60);

    /// Over this target.
    #[must_use]
    pub fn over(inner: Arc<dyn Target>) -> Self {
        Self { inner, questions: Self::QUESTIONS, changes: Self::CHANGES }
    }

    /// How long a question may take.
    #[must_use]
    pub fn questions(mut self, within: Duration) -> Self {
        self.questions = within;
        self
    }

    /// How long a change may take.
    #[must_use]
    pub fn changes(mut self, within: Duration) -> Self {
        self.changes = within;
        self
    }

    fn bound(&self, call: Call) -> Duration {
        match call {
            Call::Apply | Call::Promote | Call::Adopt => self.changes,
            _ => self.questions,
        }
    }

    fn late(&self, call: Call, stack: Option<&StackName>) -> TargetError {
        let (kind, hint) = match call.changes() {
            true => (TargetErrorKind::Unknown, "it may have happened all the same"),
            false => (TargetErrorKind::Unreachable, "raise the timeout of this target if it is only slow"),
        };
        let what = format!("{} was not answered within {:?}", call.as_str(), self.bound(call));
        let error = TargetError::new(self.inner.name(), kind, what).with_hint(hint);
        match stack {
            Some(stack) => error.in_stack(stack),
            None => error,
        }
    }

    async fn around<T: Send, E: Failure>(
        &self,
        cx: &Context,
        call: Call,
        stack: Option<&StackName>,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let end = cx.clock().now().after(self.bound(call));
        tokio::select! {
            biased;
            done = work => done,
            () = cx.clock().sleep_until(end) => Err(self.late(call, stack).into()),
        }
    }

    fn along<T: Send + 'static>(
        &self,
        cx: &Context,
        call: Call,
        stack: &StackName,
        items: BoxStream<'static, Result<T, TargetError>>,
    ) -> BoxStream<'static, Result<T, TargetError>> {
        let bounded = match call {
            Call::Watch => 1,
            Call::Logs => usize::MAX,
            _ => return items,
        };
        let (clock, within, late) = (Arc::clone(cx.clock()), self.bound(call), self.late(call, Some(stack)));
        stream::unfold(Some((items, bounded)), move |state| {
            let (clock, late) = (Arc::clone(&clock), late.clone());
            async move {
                let (mut items, left) = state?;
                if left == 0 {
                    return items.next().await.map(|item| (item, Some((items, 0))));
                }
                let end = clock.now().after(within);
                tokio::select! {
                    biased;
                    item = items.next() => item.map(|item| (item, Some((items, left - 1)))),
                    () = clock.sleep_until(end) => Some((Err(late), None)),
                }
            }
        })
        .boxed()
    }
}

led_through_around!(Timeout);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::MemoryTarget;
    use crate::time::{ManualClock, Timestamp};

    async fn ends(call: Call) -> (Duration, TargetError) {
        let clock = ManualClock::new(Timestamp(0));
        let target = Arc::new(MemoryTarget::new("far".parse().unwrap(), "ours".parse().unwrap()));
        let timeout = Timeout::over(target).questions(Duration::from_secs(5)).changes(Duration::from_secs(60));
        let cx = Context::new("key").with_clock(Arc::new(clock.clone()));
        let stack = StackName::new("shop").unwrap();
        let never = std::future::pending::<Result<(), TargetError>>();
        let ending = tokio::spawn(async move { timeout.around(&cx, call, Some(&stack), never).await });
        while clock.next_alarm().is_none() {
            tokio::task::yield_now().await;
        }
        let alarm = clock.next_alarm().unwrap();
        clock.advance(Timestamp(0).until(alarm));
        (Timestamp(0).until(alarm), ending.await.unwrap().unwrap_err())
    }

    #[tokio::test]
    async fn a_question_that_takes_too_long_did_not_happen_and_a_change_may_have() {
        for call in [Call::Probe, Call::Observe, Call::Plan, Call::Stacks, Call::Revisions, Call::Discover] {
            let (after, error) = ends(call).await;
            assert_eq!((after, error.kind), (Duration::from_secs(5), TargetErrorKind::Unreachable), "{call:?}");
        }
        for call in [Call::Apply, Call::Promote, Call::Adopt] {
            let (after, error) = ends(call).await;
            assert_eq!((after, error.kind), (Duration::from_secs(60), TargetErrorKind::Unknown), "{call:?}");
        }
        let (after, error) = ends(Call::Exec).await;
        assert_eq!((after, error.kind), (Duration::from_secs(5), TargetErrorKind::Unknown));
        let (_, error) = ends(Call::Observe).await;
        assert_eq!(
            error.to_string(),
            "far/shop: observe was not answered within 5s (raise the timeout of this target if it is only slow)"
        );
    }

    #[tokio::test]
    async fn the_first_item_of_a_watch_is_bounded_and_what_follows_is_not() {
        let clock = ManualClock::new(Timestamp(0));
        let target = Arc::new(MemoryTarget::new("far".parse().unwrap(), "ours".parse().unwrap()));
        let timeout = Timeout::over(target);
        let cx = Context::new("key").with_clock(Arc::new(clock.clone()));
        let stack = StackName::new("shop").unwrap();
        let mut silent = timeout.along::<()>(&cx, Call::Watch, &stack, stream::pending().boxed());
        let first = tokio::spawn(async move { (silent.next().await, silent.next().await.is_none()) });
        while clock.next_alarm().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(Timeout::QUESTIONS);
        let (first, ended) = first.await.unwrap();
        assert!(matches!(first, Some(Err(error)) if error.is_connection()) && ended);
        let one = stream::iter([Ok(1)]).chain(stream::pending()).boxed();
        let mut slow = timeout.along(&cx, Call::Watch, &stack, one);
        assert!(matches!(slow.next().await, Some(Ok(1))));
        let second = tokio::spawn(async move { slow.next().await });
        tokio::task::yield_now().await;
        assert_eq!((clock.next_alarm(), second.is_finished()), (None, false));
        second.abort();
    }
}
