//! Every call is a span.

use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::call::{Call, Failure, led_through_around};
use crate::id::{StackName, TargetName};
use crate::secret::Masker;
use crate::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan,
    PlanError, Promote, Revision, ServiceRef, Session, Target, TargetError,
};

/// Makes a [`tracing`] span called `target` of every call, with `name`, `kind`, `call`, `stack`, `run`, `node` and
/// `outcome`.
///
/// The outcome is `ok`, the code of the failure (`target.unreachable`), or `dropped`. A failure is told in an event at
/// debug level, masked. Stacks, plans and values are never told. A stream has one span for as long as it lives.
///
/// ```
/// # use std::sync::Arc;
/// use windflow_core::target::{MemoryTarget, Target, Traced};
/// # fn main() -> Result<(), windflow_core::InvalidName> {
/// let target = Arc::new(MemoryTarget::new("memory".parse()?, "docs".parse()?));
/// let target = Traced::over(target);
/// assert_eq!(target.name().as_str(), "memory");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Traced {
    inner: Arc<dyn Target>,
}

/// Tells the outcome once, also when nobody waits for it any more.
struct Ending {
    span: Span,
    masker: Masker,
    outcome: &'static str,
}

impl Ending {
    fn saw<T, E: Failure + std::fmt::Display>(&mut self, done: &Result<T, E>) {
        self.outcome = match done {
            Ok(_) => "ok",
            Err(error) => {
                self.span.in_scope(|| tracing::debug!(error = %self.masker.mask(&error.to_string()), "failed"));
                error.of_call().map_or("target.refused", |error| error.kind.code())
            }
        };
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.span.record("outcome", self.outcome);
    }
}

impl Traced {
    /// Over this target.
    #[must_use]
    pub fn over(inner: Arc<dyn Target>) -> Self {
        Self { inner }
    }

    fn begin(&self, cx: &Context, call: Call, stack: Option<&StackName>) -> Ending {
        let (run, node) = cx.run().unzip();
        let span = tracing::info_span!(
            "target",
            name = %self.inner.name(),
            kind = self.inner.capabilities().kind,
            call = call.as_str(),
            stack = stack.map(StackName::as_str),
            run = run.map(tracing::field::display),
            node = node.map(tracing::field::display),
            outcome = Empty,
        );
        Ending { span, masker: cx.masker().clone(), outcome: "dropped" }
    }

    async fn around<T: Send, E: Failure + std::fmt::Display>(
        &self,
        cx: &Context,
        call: Call,
        stack: Option<&StackName>,
        work: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let mut ending = self.begin(cx, call, stack);
        let done = work.instrument(ending.span.clone()).await;
        ending.saw(&done);
        done
    }

    fn along<T: Send + 'static>(
        &self,
        cx: &Context,
        call: Call,
        stack: &StackName,
        items: BoxStream<'static, Result<T, TargetError>>,
    ) -> BoxStream<'static, Result<T, TargetError>> {
        let ending = self.begin(cx, call, Some(stack));
        stream::unfold((items, ending), |(mut items, mut ending)| async move {
            let next = items.next().instrument(ending.span.clone()).await;
            match &next {
                Some(Err(_)) => next.iter().for_each(|item| ending.saw(item)),
                Some(Ok(_)) => {}
                None if ending.outcome == "dropped" => ending.outcome = "ok",
                None => {}
            }
            next.map(|item| (item, (items, ending)))
        })
        .boxed()
    }
}

led_through_around!(Traced);

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::secret::Secret;
    use crate::target::{MemoryTarget, TargetErrorKind};

    /// Writes down every field of every span and event.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Visit for &Notes {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.lock().unwrap().push(format!("{field}={value:?}"));
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.lock().unwrap().push(format!("{field}={value}"));
        }
    }

    impl Subscriber for Notes {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            span.record(&mut &*self);
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, values: &Record<'_>) {
            values.record(&mut &*self);
        }
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut &*self);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Runs to its end what never waits, or drops it; answers what was told.
    fn told(work: impl FnOnce(&Traced, Context) -> bool) -> Vec<String> {
        let notes = Notes::default();
        let secret = Secret::new("hunter2-hunter2".to_owned());
        let masker = Masker::new();
        masker.learn(&secret);
        let cx = Context::new("key").with_secrets(crate::secret::SecretSources::new(), masker);
        let target = MemoryTarget::new("near".parse().unwrap(), "ours".parse().unwrap());
        let ended = tracing::subscriber::with_default(notes.clone(), || work(&Traced::over(Arc::new(target)), cx));
        let told = notes.0.lock().unwrap().clone();
        assert_eq!(ended, !told.iter().any(|line| line == "outcome=dropped"), "{told:?}");
        told
    }

    #[test]
    fn a_span_tells_target_stack_call_and_outcome_and_no_secret() {
        let stack = StackName::new("shop").unwrap();
        let lines = told(|traced, cx| traced.observe(&cx, &stack).now_or_never().is_some());
        assert_eq!(lines, ["name=near", "kind=memory", "call=observe", "stack=shop", "outcome=ok"]);
        let lines = told(|traced, cx| {
            let failed = async {
                Err::<(), _>(TargetError::new(traced.name(), TargetErrorKind::Unreachable, "no hunter2-hunter2 there"))
            };
            traced.around(&cx, Call::Apply, None, failed).now_or_never().is_some()
        });
        assert_eq!(lines.last().map(String::as_str), Some("outcome=target.unreachable"));
        assert!(lines.iter().any(|line| line.contains("error=near: no ***")), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("hunter2")), "{lines:?}");
    }

    #[test]
    fn what_is_dropped_says_so_and_a_stream_has_one_span() {
        told(|traced, cx| {
            let never = std::future::pending::<Result<(), TargetError>>();
            traced.around(&cx, Call::Probe, None, never).now_or_never().is_some()
        });
        let stack = StackName::new("shop").unwrap();
        let lines = told(|traced, cx| {
            let items = stream::iter([Ok::<_, TargetError>(1), Ok(2)]).boxed();
            traced.along(&cx, Call::Logs, &stack, items).collect::<Vec<_>>().now_or_never().is_some()
        });
        assert_eq!(lines, ["name=near", "kind=memory", "call=logs", "stack=shop", "outcome=ok"]);
    }
}
