//! What follows from the contract, written once for all targets.

use async_trait::async_trait;
use futures_util::StreamExt as _;

use super::diff::same_but_for_restarts;
use super::{
    Applied, ChangeKind, Context, Desired, Health, Observed, Plan, PlanError, Replicas, Revision, Stack, Target,
    TargetError, TargetErrorKind,
};
use crate::id::{ServiceName, StackName};

/// Convenience over every [`Target`].
#[async_trait]
pub trait TargetExt: Target {
    /// Observes and plans.
    async fn plan_for(&self, cx: &Context, desired: &Desired) -> Result<Plan, PlanError> {
        let observed = self.observe(cx, desired.stack()).await?;
        self.plan(cx, desired, &observed).await
    }

    /// Plans and applies.
    async fn deploy(&self, cx: &Context, stack: Stack) -> Result<Applied, PlanError> {
        let plan = self.plan_for(cx, &Desired::Present(stack)).await?;
        Ok(self.apply(cx, &plan).await?)
    }

    /// Takes the stack down.
    async fn destroy(&self, cx: &Context, stack: &StackName) -> Result<Applied, PlanError> {
        let plan = self.plan_for(cx, &Desired::Absent(stack.clone())).await?;
        Ok(self.apply(cx, &plan).await?)
    }

    /// The plan that makes a kept revision current again: that number, or the last before the current that is another
    /// stack. A restart does not make one.
    async fn plan_rollback(&self, cx: &Context, stack: &StackName, to: Option<u64>) -> Result<Plan, PlanError> {
        let observed = self.observe(cx, stack).await?;
        let kept = self.revisions(cx, stack).await?;
        let current = observed.current.as_ref();
        // What is staged is aborted: the revision before it is the one that is kept beside it.
        let to = to.or_else(|| observed.staged.as_ref().and(current).map(|current| current.number));
        let wanted = kept.iter().rev().find(|revision| match (to, current) {
            (Some(number), _) => revision.number == number,
            (None, Some(current)) => {
                let same = same_but_for_restarts(&revision.stack, &current.stack);
                revision.number < current.number && !(same && revision.ran_the_same_images(current))
            }
            (None, None) => true,
        });
        let Some(revision) = wanted else {
            let numbers: Vec<String> = kept.iter().map(|revision| revision.number.to_string()).collect();
            let is_earlier = |revision: &Revision| current.is_some_and(|current| revision.number < current.number);
            let what = match to {
                Some(number) => format!("no revision {number} is kept"),
                None if kept.iter().any(is_earlier) => {
                    "every earlier revision that is kept is the same stack".to_owned()
                }
                None => "no earlier revision is kept".to_owned(),
            };
            return Err(TargetError::new(self.name(), TargetErrorKind::NotFound, what)
                .in_stack(stack)
                .with_hint(match numbers.is_empty() {
                    true => "nothing has been applied yet".to_owned(),
                    false => format!("kept revisions: {}", numbers.join(", ")),
                })
                .into());
        };
        let wanted = self.stack_of(cx, revision).await?;
        self.plan(cx, &Desired::Present(wanted), &observed).await
    }

    /// What has changed since the last revision was applied: that revision, planned anew.
    async fn drift(&self, cx: &Context, stack: &StackName) -> Result<Plan, PlanError> {
        let observed = self.observe(cx, stack).await?;
        let desired = match observed.latest() {
            Some(revision) => Desired::Present(revision.stack.clone()),
            None => Desired::Absent(stack.clone()),
        };
        self.plan(cx, &desired, &observed).await
    }

    /// The plan of the current revision with another number of instances.
    async fn plan_scale(
        &self,
        cx: &Context,
        stack: &StackName,
        service: &ServiceName,
        replicas: u32,
    ) -> Result<Plan, PlanError> {
        let observed = self.observe(cx, stack).await?;
        let absent = |what: String| TargetError::new(self.name(), TargetErrorKind::NotFound, what).in_stack(stack);
        let Some(current) = &observed.current else {
            return Err(absent("the stack is not deployed here".to_owned()).into());
        };
        let mut wanted = current.stack.clone();
        let Some(found) = wanted.services.get_mut(service) else {
            return Err(absent(format!("there is no service '{service}'")).into());
        };
        found.replicas = Replicas(replicas);
        self.plan(cx, &Desired::Present(wanted), &observed).await
    }

    /// The plan that starts every service of the current revision anew, or one with all that restart with it: a label that
    /// drift ignores changes.
    async fn plan_restart(
        &self,
        cx: &Context,
        stack: &StackName,
        service: Option<&ServiceName>,
        nonce: &str,
    ) -> Result<Plan, PlanError> {
        let observed = self.observe(cx, stack).await?;
        let absent = |what: String| TargetError::new(self.name(), TargetErrorKind::NotFound, what).in_stack(stack);
        let Some(current) = &observed.current else {
            return Err(absent("the stack is not deployed here".to_owned()).into());
        };
        let mut wanted = current.stack.clone();
        if let Some(name) = service
            && !wanted.services.contains_key(name)
        {
            return Err(absent(format!("there is no service '{name}'")).into());
        }
        let along = service.map(|service| wanted.restarting_with(service));
        for (name, found) in &mut wanted.services {
            if along.as_ref().is_none_or(|along| along.contains(name)) {
                found.labels.insert(RESTART_LABEL.to_owned(), nonce.to_owned());
            }
        }
        self.plan(cx, &Desired::Present(wanted), &observed).await
    }

    /// Waits until every service is ready, or one is known never to be.
    ///
    /// # Errors
    /// [`TargetErrorKind::Unhealthy`] with the target's own reason, [`TargetErrorKind::Cancelled`] when asked to stop.
    async fn wait_healthy(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        let mut watch = self.watch(cx, stack);
        let mut last = Observed::absent();
        loop {
            let next = tokio::select! {
                biased;
                () = cx.cancel().cancelled() => None,
                next = watch.next() => next,
            };
            let Some(observed) = next else {
                return Err(TargetError::new(self.name(), TargetErrorKind::Cancelled, "stopped waiting for health")
                    .in_stack(stack)
                    .with_hint(waiting_for(&last)));
            };
            last = observed?;
            for (name, service) in &last.services {
                if let Health::Failed { why } = &service.health {
                    return Err(TargetError::new(self.name(), TargetErrorKind::Unhealthy, why)
                        .in_stack(stack)
                        .in_service(name));
                }
            }
            if !last.services.is_empty() && last.services.values().all(|service| service.health.is_ready()) {
                return Ok(last);
            }
        }
    }
}

/// The label that asks for a restart by changing; drift ignores it.
pub const RESTART_LABEL: &str = "windflow.restart";

fn waiting_for(observed: &Observed) -> String {
    let names: Vec<String> = observed
        .services
        .iter()
        .filter(|(_, service)| !service.health.is_ready())
        .map(|(name, service)| match &service.health {
            Health::Unhealthy { why } => format!("{name}: {why}"),
            _ => name.to_string(),
        })
        .collect();
    format!("still waiting for {}", if names.is_empty() { "the first service".to_owned() } else { names.join(", ") })
}

impl<T: Target + ?Sized> TargetExt for T {}

/// The sign people read before a change: `+ ~ ! -`.
impl ChangeKind {
    /// `+` create, `~` update, `!` replace, `-` delete.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Update => '~',
            Self::Replace => '!',
            Self::Delete => '-',
        }
    }
}
