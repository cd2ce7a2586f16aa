//! Whoever cannot be reached is left alone for a while.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::call::{Call, Failure, led_through_around};
use crate::id::{StackName, TargetName};
use crate::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan,
    PlanError, Promote, Revision, ServiceRef, Session, Target, TargetError, TargetErrorKind,
};
use crate::time::Timestamp;

/// Opens after some calls in a row that could not reach the target ([`TargetError::is_connection`]), and refuses every
/// call at once while it is open; then lets one through to see.
///
/// Any answer closes it and begins the count anew, also one that says no. A call that came to no answer says nothing:
/// it was dropped, cancelled, its end is [`Unknown`](TargetErrorKind::Unknown), or it was answered
/// [`Unsupported`](TargetErrorKind::Unsupported) without asking anybody. A probe like that makes room for the next one
/// at once, and one that hangs makes room when it has taken as long as the breaker stays open. A call that is refused is
/// [`Unreachable`](TargetErrorKind::Unreachable), with a hint saying when the target is tried again. A stream
/// counts from its first item on; one that nobody looks at is no call.
///
/// It goes by the clock of each call's [`Context`]. Put it over a [`Timeout`](super::Timeout), not under one: what is
/// dropped from above it never hears of.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// use windflow_core::target::{Breaker, Context, MemoryTarget, Target};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = MemoryTarget::new("memory".parse()?, "docs".parse()?);
/// let target = Breaker::over(Arc::new(memory.clone())).threshold(2).open_for(Duration::from_secs(10));
/// memory.faults().set_unreachable(true);
/// let cx = Context::new("look");
/// for _ in 0..2 {
///     assert_eq!(target.probe(&cx).await.unwrap_err().message, "the target does not answer");
/// }
/// let refused = target.probe(&cx).await.unwrap_err();
/// assert!(refused.message.starts_with("not asked"), "{refused}");
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
pub struct Breaker {
    inner: Arc<dyn Target>,
    threshold: u32,
    open_for: Duration,
    switch: Arc<Switch>,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { since: Timestamp },
    HalfOpen { probed: Option<Timestamp> },
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Grows whenever the state does; an answer to a call of a former time is not news.
    time: u64,
    last_failure: String,
}

#[derive(Debug)]
struct Switch(Mutex<Inner>);

impl Switch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn turn(&mut self, state: State) {
        (self.state, self.time) = (state, self.time + 1);
    }
}

/// What a call came to, for a breaker.
enum Verdict {
    Answered,
    Unreached(String),
    Nothing,
}

impl Verdict {
    fn of<T, E: Failure>(done: &Result<T, E>) -> Self {
        let Err(Some(error)) = done.as_ref().map_err(Failure::of_call) else { return Self::Answered };
        match error.kind {
            _ if error.is_connection() => Self::Unreached(error.message.clone()),
            TargetErrorKind::Unknown | TargetErrorKind::Cancelled | TargetErrorKind::Unsupported => Self::Nothing,
            _ => Self::Answered,
        }
    }
}

/// The right to make one call.
struct Pass {
    switch: Arc<Switch>,
    time: u64,
    threshold: u32,
}

impl Pass {
    fn tell(&self, verdict: Verdict, now: Timestamp) {
        let mut inner = self.switch.lock();
        if inner.time != self.time {
            return;
        }
        match (&mut inner.state, verdict) {
            (State::Closed { failures }, Verdict::Answered) => *failures = 0,
            (State::Closed { failures }, Verdict::Unreached(why)) => {
                *failures += 1;
                let opens = *failures >= self.threshold;
                inner.last_failure = why;
                if opens {
                    inner.turn(State::Open { since: now });
                }
            }
            (State::Closed { .. } | State::Open { .. }, _) => {}
            (State::HalfOpen { .. }, Verdict::Answered) => inner.turn(State::Closed { failures: 0 }),
            (State::HalfOpen { .. }, Verdict::Unreached(why)) => {
                inner.last_failure = why;
                inner.turn(State::Open { since: now });
            }
            (State::HalfOpen { .. }, Verdict::Nothing) => inner.turn(State::HalfOpen { probed: None }),
        }
    }
}

impl Drop for Pass {
    /// A call that ended without a verdict. After one this says nothing new.
    fn drop(&mut self) {
        self.tell(Verdict::Nothing, Timestamp(0));
    }
}

impl Breaker {
    /// How many calls in a row open it unless said otherwise.
    pub const THRESHOLD: u32 = 5;
    /// How long it stays open unless said otherwise.
    pub const OPEN_FOR: Duration = Duration::from_secs(30);

    /// Over this target, closed.
    #[must_use]
    pub fn over(inner: Arc<dyn Target>) -> Self {
        let closed = Inner { state: State::Closed { failures: 0 }, time: 0, last_failure: String::new() };
        let switch = Arc::new(Switch(Mutex::new(closed)));
        Self { inner, threshold: Self::THRESHOLD, open_for: Self::OPEN_FOR, switch }
    }

    /// How many calls in a row that could not reach the target open it; at least one.
    #[must_use]
    pub fn threshold(mut self, failures: u32) -> Self {
        self.threshold = failures.max(1);
        self
    }

    /// How long it stays open before one call is let through.
    #[must_use]
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Lets a call through, or says why not.
    fn admit(&self, now: Timestamp, stack: Option<&StackName>) -> Result<Pass, TargetError> {
        let mut inner = self.switch.lock();
        // A clock that was set back must not keep it open: then `since` lies ahead.
        let over = |since: Timestamp| now < since || since.until(now) >= self.open_for;
        let refused = match inner.state {
            State::Closed { .. } => None,
            State::Open { since } | State::HalfOpen { probed: Some(since) } if !over(since) => Some(since),
            State::Open { .. } | State::HalfOpen { .. } => {
                inner.turn(State::HalfOpen { probed: Some(now) });
                None
            }
        };
        let Some(since) = refused else {
            return Ok(Pass { switch: Arc::clone(&self.switch), time: inner.time, threshold: self.threshold });
        };
        let what = format_args!("not asked, because it could not be reached lately: {}", inner.last_failure);
        let again = now.until(since.after(self.open_for));
        let error = TargetError::new(self.inner.name(), TargetErrorKind::Unreachable, what)
            .with_hint(format!("it is tried again in {again:?}"));
        Err(match stack {
            Some(stack) => error.in_stack(stack),
            None => error,
        })
    }

    async fn around<T: Send, E: Failure>(
        &self,
        cx: &Context,
        _: Call,
        stack: Option<&StackName>,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let pass = self.admit(cx.clock().now(), stack)?;
        let done = work.await;
        pass.tell(Verdict::of(&done), cx.clock().now());
        done
    }

    fn along<T: Send + 'static>(
        &self,
        cx: &Context,
        _: Call,
        stack: &StackName,
        items: BoxStream<'static, Result<T, TargetError>>,
    ) -> BoxStream<'static, Result<T, TargetError>> {
        let clock = Arc::clone(cx.clock());
        let (breaker, stack) = (self.handle(), stack.clone());
        // Only a stream that is looked at is a call.
        stream::unfold(Some((items, None)), move |state| {
            let admitted = |pass: Option<Pass>| match pass {
                Some(pass) => Ok(pass),
                None => breaker.admit(clock.now(), Some(&stack)),
            };
            let admitted = state.map(|(items, pass)| (items, admitted(pass)));
            let clock = Arc::clone(&clock);
            async move {
                let (mut items, pass) = match admitted? {
                    (items, Ok(pass)) => (items, pass),
                    (_, Err(refused)) => return Some((Err(refused), None)),
                };
                let item = items.next().await?;
                pass.tell(Verdict::of(&item), clock.now());
                Some((item, Some((items, Some(pass)))))
            }
        })
        .boxed()
    }

    /// The same breaker, for a stream that outlives the borrow.
    fn handle(&self) -> Self {
        let (inner, switch) = (Arc::clone(&self.inner), Arc::clone(&self.switch));
        Self { inner, switch, threshold: self.threshold, open_for: self.open_for }
    }
}

led_through_around!(Breaker);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::target::MemoryTarget;
    use crate::time::ManualClock;

    struct Bench {
        breaker: Arc<Breaker>,
        clock: ManualClock,
        /// How many calls came through.
        through: Arc<AtomicU32>,
    }

    impl Bench {
        fn new() -> Self {
            let target = MemoryTarget::new("far".parse().unwrap(), "ours".parse().unwrap());
            let breaker = Arc::new(Breaker::over(Arc::new(target)));
            Self { breaker, clock: ManualClock::new(Timestamp(1_000_000)), through: Arc::default() }
        }

        fn cx(&self) -> Context {
            Context::new("key").with_clock(Arc::new(self.clock.clone()))
        }

        async fn call(&self, kind: Option<TargetErrorKind>) -> Result<(), TargetError> {
            let work = async {
                self.through.fetch_add(1, Ordering::SeqCst);
                match kind {
                    Some(kind) => Err(TargetError::new(self.breaker.name(), kind, "as told")),
                    None => Ok(()),
                }
            };
            self.breaker.around(&self.cx(), Call::Probe, None, work).await
        }

        async fn is_through(&self, kind: Option<TargetErrorKind>) -> bool {
            let before = self.through.load(Ordering::SeqCst);
            let _ = self.call(kind).await;
            self.through.load(Ordering::SeqCst) > before
        }

        async fn open(&self) {
            for _ in 0..5 {
                assert!(self.is_through(Some(TargetErrorKind::Unreachable)).await);
            }
            assert!(!self.is_through(None).await, "five in a row open it");
        }
    }

    #[tokio::test]
    async fn five_in_a_row_open_it_and_after_thirty_seconds_one_answer_closes_it() {
        let bench = Bench::new();
        bench.open().await;
        let refused = bench.call(None).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "far: not asked, because it could not be reached lately: as told (it is tried again in 30s)"
        );
        assert!(refused.is_connection());
        bench.clock.advance(Duration::from_millis(29_999));
        assert!(!bench.is_through(None).await, "not a moment early");
        bench.clock.advance(Duration::from_millis(1));
        assert!(bench.is_through(None).await);
        for _ in 0..4 {
            assert!(bench.is_through(Some(TargetErrorKind::Unreachable)).await, "closed, and counting anew");
        }
        assert!(bench.is_through(None).await);
    }

    #[tokio::test]
    async fn a_probe_that_fails_opens_it_again_for_as_long() {
        let bench = Bench::new();
        bench.open().await;
        bench.clock.advance(Duration::from_secs(31));
        assert!(bench.is_through(Some(TargetErrorKind::Unreachable)).await);
        bench.clock.advance(Duration::from_secs(29));
        assert!(!bench.is_through(None).await);
        bench.clock.advance(Duration::from_secs(1));
        assert!(bench.is_through(None).await && bench.is_through(None).await);
    }

    #[tokio::test]
    async fn an_answer_that_says_no_is_an_answer_and_no_answer_is_none() {
        let answers = [TargetErrorKind::Refused, TargetErrorKind::Denied, TargetErrorKind::Unhealthy];
        for kind in answers {
            let bench = Bench::new();
            for _ in 0..3 {
                for _ in 0..4 {
                    assert!(bench.is_through(Some(TargetErrorKind::Unreachable)).await);
                }
                assert!(bench.is_through(Some(kind)).await, "{kind:?} begins the count anew");
            }
            bench.open().await;
            bench.clock.advance(Duration::from_secs(30));
            assert!(bench.is_through(Some(kind)).await && bench.is_through(None).await, "{kind:?} closes it");
        }
        for kind in [TargetErrorKind::Unknown, TargetErrorKind::Cancelled, TargetErrorKind::Unsupported] {
            let bench = Bench::new();
            for _ in 0..4 {
                assert!(bench.is_through(Some(TargetErrorKind::Unreachable)).await);
            }
            assert!(bench.is_through(Some(kind)).await);
            assert!(bench.is_through(Some(TargetErrorKind::Unreachable)).await);
            assert!(!bench.is_through(None).await, "{kind:?} does not begin the count anew");
            bench.clock.advance(Duration::from_secs(30));
            assert!(bench.is_through(Some(kind)).await && bench.is_through(None).await, "{kind:?} makes room");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_a_thousand_callers_exactly_one_is_the_probe() {
        let bench = Arc::new(Bench::new());
        for answer in [Some(TargetErrorKind::Unreachable), None] {
            if answer.is_some() {
                bench.open().await;
            }
            bench.clock.advance(Duration::from_secs(30));
            let (gate, inside) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
            let callers = (0..1_000).map(|_| {
                let (bench, gate, inside) = (Arc::clone(&bench), Arc::clone(&gate), Arc::clone(&inside));
                tokio::spawn(async move {
                    let work = async {
                        inside.fetch_add(1, Ordering::SeqCst);
                        let _open = gate.acquire().await;
                        match answer {
                            Some(kind) => Err(TargetError::new(bench.breaker.name(), kind, "as told")),
                            None => Ok(()),
                        }
                    };
                    let done: Result<(), TargetError> =
                        bench.breaker.around(&bench.cx(), Call::Observe, None, work).await;
                    done.is_err_and(|error| error.message.starts_with("not asked"))
                })
            });
            // The probe is held until all the others have been refused.
            let mut waiting: Vec<_> = callers.collect();
            while waiting.iter().filter(|caller| !caller.is_finished()).count() > 1 {
                tokio::task::yield_now().await;
            }
            gate.add_permits(1);
            let mut refused = 0;
            for caller in waiting.drain(..) {
                refused += u32::from(caller.await.unwrap());
            }
            assert_eq!((refused, inside.load(Ordering::SeqCst)), (999, 1), "{answer:?}");
        }
        assert!(bench.is_through(None).await, "the second probe has closed it");
    }

    #[tokio::test]
    async fn a_probe_that_is_dropped_or_hangs_makes_room_for_another() {
        let bench = Bench::new();
        bench.open().await;
        bench.clock.advance(Duration::from_secs(30));
        let cx = bench.cx();
        let hanging = || std::future::pending::<Result<(), TargetError>>();
        let mut dropped = Box::pin(bench.breaker.around(&cx, Call::Apply, None, hanging()));
        assert!(futures_util::poll!(dropped.as_mut()).is_pending());
        assert!(!bench.is_through(None).await, "one probe at a time");
        drop(dropped);
        let mut hangs = Box::pin(bench.breaker.around(&cx, Call::Apply, None, hanging()));
        assert!(futures_util::poll!(hangs.as_mut()).is_pending());
        assert!(!bench.is_through(None).await);
        bench.clock.advance(Duration::from_secs(30));
        assert!(bench.is_through(None).await, "a probe that hangs is not waited for");
        drop(hangs);
        assert!(bench.is_through(None).await, "the end of the one that hung is no news");
    }

    #[tokio::test]
    async fn streams_are_calls_from_their_first_item_on() {
        let bench = Bench::new();
        let stack = StackName::new("shop").unwrap();
        let gone = || TargetError::new(bench.breaker.name(), TargetErrorKind::Unreachable, "gone");
        let watch = |items: Vec<Result<u32, TargetError>>| {
            bench.breaker.along(&bench.cx(), Call::Watch, &stack, stream::iter(items).boxed())
        };
        drop(watch(vec![Err(gone())]));
        for _ in 0..5 {
            assert!(watch(vec![Err(gone())]).next().await.unwrap().is_err());
        }
        let refused: Vec<_> = watch(vec![Ok(1), Ok(2)]).collect().await;
        assert!(matches!(&refused[..], [Err(error)] if error.message.starts_with("not asked")), "{refused:?}");
        bench.clock.advance(Duration::from_secs(30));
        assert!(matches!(watch(vec![Ok(1)]).next().await, Some(Ok(1))));
        assert!(bench.is_through(None).await);
    }
}
