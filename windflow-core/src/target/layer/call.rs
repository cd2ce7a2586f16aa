//! What layers have in common: which call it is, how it failed, and all calls of the contract led through one place.

use crate::target::{PlanError, TargetError};

/// Which call of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Probe,
    Observe,
    Watch,
    Plan,
    Apply,
    Promote,
    Adopt,
    Stacks,
    Revisions,
    Discover,
    Logs,
    /// Logs that go on with new lines.
    Follow,
    Exec,
}

impl Call {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Observe => "observe",
            Self::Watch => "watch",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Promote => "promote",
            Self::Adopt => "adopt",
            Self::Stacks => "stacks",
            Self::Revisions => "revisions",
            Self::Discover => "discover",
            Self::Logs => "logs",
            Self::Follow => "follow",
            Self::Exec => "exec",
        }
    }

    /// Whether it may have changed something when nobody has seen its end.
    pub fn changes(self) -> bool {
        matches!(self, Self::Apply | Self::Promote | Self::Adopt | Self::Exec)
    }
}

/// How a call fails: as a call to a target, or as a plan that cannot be.
pub(super) trait Failure: From<TargetError> + Send {
    /// The failed call; none when a target has judged a stack.
    fn of_call(&self) -> Option<&TargetError>;
}

impl Failure for TargetError {
    fn of_call(&self) -> Option<&TargetError> {
        Some(self)
    }
}

impl Failure for PlanError {
    fn of_call(&self) -> Option<&TargetError> {
        match self {
            Self::Target(error) => Some(error),
            Self::Refused { .. } => None,
        }
    }
}

/// The contract of a target for a layer that has `inner`, does something `around` each call, and something `along` each
/// stream.
macro_rules! led_through_around {
    ($layer:ty) => {
        #[async_trait::async_trait]
        impl Target for $layer {
            fn name(&self) -> &TargetName {
                self.inner.name()
            }

            fn capabilities(&self) -> &Capabilities {
                self.inner.capabilities()
            }

            async fn probe(&self, cx: &Context) -> Result<Fingerprint, TargetError> {
                self.around(cx, Call::Probe, None, self.inner.probe(cx)).await
            }

            async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
                self.around(cx, Call::Observe, Some(stack), self.inner.observe(cx, stack)).await
            }

            fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
                self.along(cx, Call::Watch, stack, self.inner.watch(cx, stack))
            }

            async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
                self.around(cx, Call::Plan, Some(desired.stack()), self.inner.plan(cx, desired, observed)).await
            }

            async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
                self.around(cx, Call::Apply, Some(plan.desired.stack()), self.inner.apply(cx, plan)).await
            }

            async fn promote(&self, cx: &Context, stack: &StackName, verdict: Promote) -> Result<Applied, TargetError> {
                self.around(cx, Call::Promote, Some(stack), self.inner.promote(cx, stack, verdict)).await
            }

            async fn adopt(&self, cx: &Context, found: &Discovered, stack: &Desired) -> Result<Revision, TargetError> {
                self.around(cx, Call::Adopt, Some(stack.stack()), self.inner.adopt(cx, found, stack)).await
            }

            async fn stacks(&self, cx: &Context) -> Result<Vec<StackName>, TargetError> {
                self.around(cx, Call::Stacks, None, self.inner.stacks(cx)).await
            }

            async fn revisions(&self, cx: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
                self.around(cx, Call::Revisions, Some(stack), self.inner.revisions(cx, stack)).await
            }

            async fn stack_of(&self, cx: &Context, revision: &Revision) -> Result<crate::target::Stack, TargetError> {
                let stack = Some(&revision.stack.name);
                self.around(cx, Call::Revisions, stack, self.inner.stack_of(cx, revision)).await
            }

            async fn discover(&self, cx: &Context) -> Result<Vec<Discovered>, TargetError> {
                self.around(cx, Call::Discover, None, self.inner.discover(cx)).await
            }

            fn logs(
                &self,
                cx: &Context,
                of: &ServiceRef,
                options: LogOptions,
            ) -> BoxStream<'static, Result<LogLine, TargetError>> {
                let call = if options.follow { Call::Follow } else { Call::Logs };
                self.along(cx, call, &of.stack, self.inner.logs(cx, of, options))
            }

            async fn exec(&self, cx: &Context, of: &ServiceRef, command: Exec) -> Result<Session, TargetError> {
                self.around(cx, Call::Exec, Some(&of.stack), self.inner.exec(cx, of, command)).await
            }
        }
    };
}

pub(super) use led_through_around;
