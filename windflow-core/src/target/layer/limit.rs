//! Not too many calls at once.

use std::future::Future;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::call::{Call, Failure, led_through_around};
use crate::id::{StackName, TargetName};
use crate::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan,
    PlanError, Promote, Revision, ServiceRef, Session, Target, TargetError, TargetErrorKind,
};

/// Lets so many calls through at once; others wait in the order in which they came.
///
/// Whoever waits can be cancelled, and gives up at the deadline of its [`Context`]; then nothing has happened
/// ([`Transient`](TargetErrorKind::Transient)). An apply keeps its place until it ends. Watches and logs may last as long
/// as the program does: they are let through and not counted. A command counts until it has begun.
///
/// ```
/// # use std::sync::Arc;
/// use windflow_core::target::{Limit, MemoryTarget, Target};
/// # fn main() -> Result<(), windflow_core::InvalidName> {
/// let target = Arc::new(MemoryTarget::new("memory".parse()?, "docs".parse()?));
/// let target = Limit::over(target).at_once(2);
/// assert_eq!(target.name().as_str(), "memory");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Limit {
    inner: Arc<dyn Target>,
    places: Semaphore,
}

impl Limit {
    /// How many calls are let through unless said otherwise.
    pub const AT_ONCE: usize = 4;

    /// Over this target.
    #[must_use]
    pub fn over(inner: Arc<dyn Target>) -> Self {
        Self { inner, places: Semaphore::new(Self::AT_ONCE) }
    }

    /// How many calls are let through at once; at least one.
    #[must_use]
    pub fn at_once(mut self, calls: usize) -> Self {
        self.places = Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS));
        self
    }

    async fn place(
        &self,
        cx: &Context,
        call: Call,
        stack: Option<&StackName>,
    ) -> Result<SemaphorePermit<'_>, TargetError> {
        let too_late = async {
            match cx.deadline() {
                Some(at) => cx.clock().sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (kind, why) = tokio::select! {
            biased;
            Ok(place) = self.places.acquire() => return Ok(place),
            () = cx.cancel().cancelled() => (TargetErrorKind::Cancelled, "was cancelled while it waited"),
            () = too_late => (TargetErrorKind::Transient, "waited until its deadline"),
        };
        let what = format_args!("{} {why} for other calls to this target to end", call.as_str());
        let error = TargetError::new(self.inner.name(), kind, what).with_hint("nothing was changed");
        Err(match stack {
            Some(stack) => error.in_stack(stack),
            None => error,
        })
    }

    async fn around<T: Send, E: Failure>(
        &self,
        cx: &Context,
        call: Call,
        stack: Option<&StackName>,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let _place = self.place(cx, call, stack).await?;
        work.await
    }

    #[expect(clippy::unused_self, reason = "the form all layers have")]
    fn along<T>(
        &self,
        _: &Context,
        _: Call,
        _: &StackName,
        items: BoxStream<'static, Result<T, TargetError>>,
    ) -> BoxStream<'static, Result<T, TargetError>> {
        items
    }
}

led_through_around!(Limit);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::target::MemoryTarget;
    use crate::time::{ManualClock, Timestamp};

    fn limit(calls: usize) -> Limit {
        let target = MemoryTarget::new("busy".parse().unwrap(), "ours".parse().unwrap());
        Limit::over(Arc::new(target)).at_once(calls)
    }

    fn hanging() -> impl Future<Output = Result<(), TargetError>> + Send {
        std::future::pending()
    }

    #[tokio::test]
    async fn calls_wait_in_the_order_in_which_they_came() {
        let (limit, cx) = (Arc::new(limit(2)), Context::new("key"));
        let order = Arc::new(Mutex::new(Vec::new()));
        let (most, gate) = (Arc::new(Mutex::new((0, 0))), Arc::new(Semaphore::new(0)));
        let mut callers = Vec::new();
        for n in 0..20 {
            let (limit, cx, order, most, gate) =
                (Arc::clone(&limit), cx.clone(), Arc::clone(&order), Arc::clone(&most), Arc::clone(&gate));
            callers.push(tokio::spawn(async move {
                let work = async {
                    order.lock().unwrap().push(n);
                    {
                        let mut most = most.lock().unwrap();
                        most.0 += 1;
                        most.1 = most.1.max(most.0);
                    }
                    gate.acquire().await.unwrap().forget();
                    most.lock().unwrap().0 -= 1;
                    Ok::<(), TargetError>(())
                };
                limit.around(&cx, Call::Observe, None, work).await
            }));
            tokio::task::yield_now().await;
        }
        gate.add_permits(20);
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<i32>>());
        assert_eq!(most.lock().unwrap().1, 2);
    }

    #[tokio::test]
    async fn whoever_waits_can_be_cancelled_and_gives_up_at_the_deadline() {
        let (limit, clock) = (limit(1), ManualClock::new(Timestamp(0)));
        let cancel = CancellationToken::new();
        let cx = Context::new("key").with_clock(Arc::new(clock.clone()));
        let mut first = Box::pin(limit.around(&cx, Call::Apply, None, hanging()));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        let waits = cx.clone().with_cancel(cancel.clone()).with_deadline(Some(Timestamp(5_000)));
        let mut second = Box::pin(limit.around(&waits, Call::Apply, None, hanging()));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        clock.advance(Duration::from_secs(5));
        let late = second.await.unwrap_err();
        assert_eq!(
            late.to_string(),
            "busy: apply waited until its deadline for other calls to this target to end (nothing was changed)"
        );
        assert_eq!(late.kind, TargetErrorKind::Transient);
        let waits = cx.clone().with_cancel(cancel.clone());
        let mut third = Box::pin(limit.around(&waits, Call::Apply, None, hanging()));
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        cancel.cancel();
        assert_eq!(third.await.unwrap_err().kind, TargetErrorKind::Cancelled);
        drop(first);
        let free = limit.around(&cx, Call::Observe, None, async { Ok::<_, TargetError>(1) });
        assert_eq!(free.now_or_never().unwrap().unwrap(), 1, "whoever is dropped gives the place back");
    }
}
