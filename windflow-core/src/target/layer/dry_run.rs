//! Everything but the change itself.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::id::{StackName, TargetName};
use crate::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Feature, Fingerprint, LogLine, LogOptions, Observed,
    Plan, PlanError, Promote, Revision, ServiceRef, Session, Stack, Target, TargetError, TargetErrorKind, diff,
};

/// Observes and plans like the target beneath, and never changes anything.
///
/// An apply tells as progress, line by line, what it would do. It answers [`Applied::Nothing`] where that is the truth;
/// a plan that the world has outrun is a conflict, as it would be; and everything else is
/// [`Refused`](TargetErrorKind::Refused): whoever asked must not believe that the stack runs now. `adopt`, `promote` and
/// `exec` are not offered.
///
/// ```
/// # use std::sync::Arc;
/// use windflow_core::target::{Context, DryRun, MemoryTarget, Stack, Target, TargetExt};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = MemoryTarget::new("memory".parse()?, "docs".parse()?);
/// let target = DryRun::over(Arc::new(memory.clone()));
/// let nothing_there = target.destroy(&Context::new("gone"), &"shop".parse()?).await?;
/// assert_eq!(nothing_there, windflow_core::target::Applied::Nothing);
/// assert_eq!(memory.mutations(), 0);
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
pub struct DryRun {
    inner: Arc<dyn Target>,
    capabilities: Capabilities,
}

impl DryRun {
    /// Over this target.
    #[must_use]
    pub fn over(inner: Arc<dyn Target>) -> Self {
        let mut capabilities = inner.capabilities().clone();
        for changing in [Feature::Adopt, Feature::Promote, Feature::Exec] {
            capabilities.features.remove(&changing);
        }
        Self { inner, capabilities }
    }

    fn unsupported(&self, what: &str, stack: &StackName) -> TargetError {
        TargetError::unsupported(self.name(), what).in_stack(stack).with_hint("it is a dry run")
    }
}

#[async_trait]
impl Target for DryRun {
    fn name(&self) -> &TargetName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self, cx: &Context) -> Result<Fingerprint, TargetError> {
        self.inner.probe(cx).await
    }

    async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        self.inner.observe(cx, stack).await
    }

    fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        self.inner.watch(cx, stack)
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        self.inner.plan(cx, desired, observed).await
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let stack = plan.desired.stack();
        diff::check_bound(plan, &plan.owner, self.name())?;
        let observed = self.inner.observe(cx, stack).await?;
        if let Some(done) = diff::already(plan, &observed, cx.key(), &self.capabilities) {
            return Ok(done);
        }
        diff::check_moved(plan, &observed, self.name())?;
        for change in &plan.changes {
            cx.progress(format_args!("would change {} {}", change.kind.sign(), change.path));
        }
        let number = plan.changes.len();
        let what = format_args!("nothing was changed: it is a dry run of {number} change{}", plural(number));
        Err(TargetError::new(self.name(), TargetErrorKind::Refused, what)
            .in_stack(stack)
            .with_hint("apply the plan on the target itself"))
    }

    async fn promote(&self, _: &Context, stack: &StackName, _: Promote) -> Result<Applied, TargetError> {
        Err(self.unsupported("staged rollouts", stack))
    }

    async fn adopt(&self, _: &Context, _: &Discovered, stack: &Desired) -> Result<Revision, TargetError> {
        Err(self.unsupported("adoption", stack.stack()))
    }

    async fn stacks(&self, cx: &Context) -> Result<Vec<StackName>, TargetError> {
        self.inner.stacks(cx).await
    }

    async fn revisions(&self, cx: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
        self.inner.revisions(cx, stack).await
    }

    async fn stack_of(&self, cx: &Context, revision: &Revision) -> Result<Stack, TargetError> {
        self.inner.stack_of(cx, revision).await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Discovered>, TargetError> {
        self.inner.discover(cx).await
    }

    fn logs(
        &self,
        cx: &Context,
        of: &ServiceRef,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, TargetError>> {
        self.inner.logs(cx, of, options)
    }

    async fn exec(&self, _: &Context, of: &ServiceRef, _: Exec) -> Result<Session, TargetError> {
        Err(self.unsupported("running commands", &of.stack))
    }
}

fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}
