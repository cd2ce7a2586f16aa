//! Where stacks were, for the time when nobody can be asked.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::id::{StackName, TargetName};
use crate::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan,
    PlanError, Promote, Revision, ServiceRef, Session, Stack, Target, TargetError, TargetErrorKind,
};

/// Remembers on which targets stacks may be.
///
/// A target says itself what runs there, and no memory is needed to work with it. This is for the one question that
/// cannot be put to it: whether a target that cannot be reached may hold a stack.
pub trait Placements: fmt::Debug + Send + Sync + 'static {
    /// Whether the target may hold something of the stack: it was seen there, or a change was begun, and nobody has seen
    /// it absent since. False when nothing was ever heard of it.
    fn may_hold(&self, target: &TargetName, stack: &StackName) -> bool;

    /// Remembers it, durably.
    ///
    /// # Errors
    /// When that is not possible.
    fn note(&self, target: &TargetName, stack: &StackName, may_hold: bool) -> io::Result<()>;
}

/// Remembers in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryPlacements(Arc<Mutex<BTreeSet<(TargetName, StackName)>>>);

impl MemoryPlacements {
    /// Nothing was ever heard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Placements for MemoryPlacements {
    fn may_hold(&self, target: &TargetName, stack: &StackName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(target.clone(), stack.clone()))
    }

    fn note(&self, target: &TargetName, stack: &StackName, may_hold: bool) -> io::Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (target.clone(), stack.clone());
        let _ = if may_hold { held.insert(place) } else { held.remove(&place) };
        Ok(())
    }
}

/// Notes in a [`Placements`] what a target says of its stacks, and before each apply and adoption that something may be
/// there from now on. An apply that cannot be noted is not begun.
///
/// ```
/// # use std::sync::Arc;
/// use windflow_core::target::{MemoryPlacements, MemoryTarget, Placements, Remembered, Target};
/// # fn main() -> Result<(), windflow_core::InvalidName> {
/// let placements = MemoryPlacements::new();
/// let target = Arc::new(MemoryTarget::new("memory".parse()?, "docs".parse()?));
/// let target = Remembered::over(target, Arc::new(placements.clone()));
/// assert!(!placements.may_hold(target.name(), &"shop".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Remembered {
    inner: Arc<dyn Target>,
    placements: Arc<dyn Placements>,
}

impl Remembered {
    /// Over this target, in this memory.
    #[must_use]
    pub fn over(inner: Arc<dyn Target>, placements: Arc<dyn Placements>) -> Self {
        Self { inner, placements }
    }

    fn begin(&self, stack: &StackName) -> Result<(), TargetError> {
        self.placements.note(self.name(), stack, true).map_err(|error| {
            let what =
                format_args!("nothing was changed, because it cannot be remembered that something may be: {error}");
            TargetError::new(self.name(), TargetErrorKind::Transient, what)
                .in_stack(stack)
                .with_hint("see to it that this can be written (room, permission), then do the same again")
        })
    }
}

/// Remembers what was seen.
fn saw(placements: &dyn Placements, target: &TargetName, stack: &StackName, observed: &Observed) {
    let holds = !observed.is_absent();
    if let Err(error) = placements.note(target, stack, holds) {
        tracing::warn!(name = %target, %stack, holds, %error, "cannot be remembered");
    }
}

#[async_trait]
impl Target for Remembered {
    fn name(&self) -> &TargetName {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn probe(&self, cx: &Context) -> Result<Fingerprint, TargetError> {
        self.inner.probe(cx).await
    }

    async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        let observed = self.inner.observe(cx, stack).await?;
        saw(&*self.placements, self.name(), stack, &observed);
        Ok(observed)
    }

    fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        self.inner.watch(cx, stack)
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        self.inner.plan(cx, desired, observed).await
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let stack = plan.desired.stack();
        if matches!(plan.desired, Desired::Present(_)) {
            self.begin(stack)?;
        }
        let applied = self.inner.apply(cx, plan).await?;
        if applied == Applied::Revision(None)
            && let Err(error) = self.placements.note(self.name(), stack, false)
        {
            // Remembered as there although it is gone: that is the safe side, and the next look puts it right.
            tracing::warn!(name = %self.name(), %stack, %error, "cannot be remembered");
        }
        Ok(applied)
    }

    async fn promote(&self, cx: &Context, stack: &StackName, verdict: Promote) -> Result<Applied, TargetError> {
        self.inner.promote(cx, stack, verdict).await
    }

    async fn adopt(&self, cx: &Context, found: &Discovered, stack: &Desired) -> Result<Revision, TargetError> {
        self.begin(stack.stack())?;
        self.inner.adopt(cx, found, stack).await
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

    async fn exec(&self, cx: &Context, of: &ServiceRef, command: Exec) -> Result<Session, TargetError> {
        self.inner.exec(cx, of, command).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{MemoryTarget, Process, Service, TargetExt as _};

    #[tokio::test]
    async fn what_was_seen_or_begun_is_remembered_until_it_is_seen_absent() {
        let memory = MemoryTarget::new("near".parse().unwrap(), "ours".parse().unwrap());
        let placements = MemoryPlacements::new();
        let target = Remembered::over(Arc::new(memory.clone()), Arc::new(placements.clone()));
        let process = Process { command: vec!["web".to_owned()], search: Vec::new(), working_dir: None };
        let web = Service { process: Some(process), ..Service::default() };
        let name: StackName = "shop".parse().unwrap();
        let stack = Stack::new(name.clone(), [("web".parse().unwrap(), web)].into());
        let holds = || placements.may_hold(target.name(), &name);
        let cx = Context::new("key");
        let plan = target.plan_for(&cx, &Desired::Present(stack.clone())).await.unwrap();
        assert!(!holds(), "planning changes nothing");
        memory.faults().set_unreachable(true);
        assert!(target.apply(&cx, &plan).await.is_err() && holds(), "it may have happened");
        memory.faults().set_unreachable(false);
        assert!(target.observe(&cx, &name).await.unwrap().is_absent() && !holds(), "it has not");
        target.apply(&cx, &plan).await.unwrap();
        assert!(holds());
        target.destroy(&cx, &name).await.unwrap();
        assert!(!holds());
        // Somebody else with the same owner.
        memory.deploy(&cx, stack).await.unwrap();
        target.observe(&cx, &name).await.unwrap();
        assert!(holds());
    }
}
