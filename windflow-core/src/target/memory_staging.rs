//! Staged rollouts of the target in memory.
//!
//! What is kept beside what is staged is its revision: nothing runs here that could not be made again from it.

use std::time::Duration;

use super::memory::MemoryTarget;
use super::memory_world::Staged;
use super::{
    Applied, Change, ChangeKind, Context, Desired, Health, Observed, Plan, Promote, Revision, Stack, Strategy, Target,
    TargetError, TargetErrorKind, diff,
};
use crate::id::StackName;
use crate::time::Timestamp;

/// Whether applying this stack over what is current stages it, and how long it bakes if it says so.
fn stages(stack: &Stack, current: Option<&Revision>) -> Option<Option<Duration>> {
    let current = &current?.stack.services;
    let changed = stack.services.iter().filter(|(name, service)| current.get(*name).is_some_and(|old| old != *service));
    let rollouts = changed.filter_map(|(_, service)| service.rollout.as_ref());
    let mut staged = rollouts.filter(|rollout| rollout.strategy == Some(Strategy::BlueGreen)).peekable();
    staged.peek()?;
    // Where one waits for somebody's word, all do.
    Some(staged.map(|rollout| rollout.bake).collect::<Option<Vec<Duration>>>().and_then(|all| all.into_iter().max()))
}

fn sick(observed: &Observed) -> Option<String> {
    observed.services.iter().find_map(|(name, service)| match &service.health {
        Health::Failed { why } | Health::Unhealthy { why } => Some(format!("{name}: {why}")),
        _ => None,
    })
}

impl MemoryTarget {
    /// What a plan says while something is staged.
    pub(super) fn plan_beside(&self, plan: &mut Plan, observed: &Observed) -> Result<(), TargetError> {
        let (Desired::Present(stack), Some(staged)) = (&plan.desired, &observed.staged) else { return Ok(()) };
        let kept = observed.current.as_ref();
        let number = kept.map_or(0, |kept| kept.number);
        if *stack == staged.stack {
            plan.changes.retain(|change| change.path != "revision");
            plan.degradations.push(format!(
                "rollout: baking, green revision {}, blue revision {number} kept until promoted",
                staged.number
            ));
        } else if kept.is_some_and(|kept| kept.stack == *stack) {
            let note = format!("revision {} is aborted: revision {number} is kept beside it", staged.number);
            plan.changes.insert(0, Change::new(ChangeKind::Update, "rollout").note(note));
        } else {
            return Err(self.in_the_way(&stack.name, staged));
        }
        Ok(())
    }

    fn in_the_way(&self, name: &StackName, staged: &Revision) -> TargetError {
        let what = format_args!("revision {} is baking", staged.number);
        self.error(name, TargetErrorKind::Conflict, what).with_hint("promote or abort it first")
    }

    /// An apply while something is staged; none when that makes no difference.
    pub(super) async fn apply_beside(
        &self,
        cx: &Context,
        plan: &Plan,
        observed: &Observed,
    ) -> Option<Result<Applied, TargetError>> {
        let (Desired::Present(stack), Some(staged)) = (&plan.desired, &observed.staged) else { return None };
        let same = diff::changes(&plan.desired, observed, self.capabilities(), |_| ChangeKind::Update);
        if *stack == staged.stack && same.iter().all(|change| change.path == "revision") {
            if let Some(until) = observed.baking.and_then(|baking| baking.until) {
                return Some(self.bake(cx, &stack.name, until).await);
            }
            let kept = observed.current.as_ref().map_or(0, |current| current.number);
            let mine = staged.key == cx.key() && !plan.is_empty();
            return Some(Ok(match mine {
                true => Applied::Staged { revision: staged.number, kept },
                false => Applied::Nothing,
            }));
        }
        let kept = observed.current.as_ref().filter(|current| current.stack == *stack);
        Some(match kept {
            Some(_) => self.decide(cx, &stack.name, Promote::Abort).await,
            None => Err(self.in_the_way(&stack.name, staged)),
        })
    }

    /// Stages what has become healthy, if it asks for that; none when it is to be current at once.
    pub(super) async fn stage(
        &self,
        cx: &Context,
        stack: &Stack,
        current: Option<&Revision>,
    ) -> Result<Option<Applied>, TargetError> {
        let (Some(bake), Some(current)) = (stages(stack, current), current) else { return Ok(None) };
        let since = cx.clock().now();
        let revision = Revision::new(current.number + 1, stack.clone(), cx.key(), since);
        let (number, until) = (revision.number, bake.map(|bake| since.after(bake)));
        let staged = Staged { revision, since, until };
        self.mutate(&stack.name, |deployed| (deployed.staged, deployed.doing) = (Some(staged), None)).await?;
        Ok(Some(match until {
            Some(until) => self.bake(cx, &stack.name, until).await?,
            None => Applied::Staged { revision: number, kept: current.number },
        }))
    }

    /// Watches what is staged until its time has come.
    async fn bake(&self, cx: &Context, name: &StackName, until: Timestamp) -> Result<Applied, TargetError> {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let observed = self.observe(cx, name).await?;
            if observed.staged.is_none() {
                return Ok(Applied::Revision(observed.current.map(|current| current.number)));
            }
            // Whoever promotes what is sick aborts it.
            if sick(&observed).is_some() || cx.clock().now() >= until {
                return self.decide(cx, name, Promote::Promote).await;
            }
            tokio::select! {
                biased;
                () = cx.cancel().cancelled() => {
                    return Err(self.error(name, TargetErrorKind::Cancelled, "stopped while it is baking"));
                }
                () = cx.clock().sleep_until(until) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Promotes or aborts what is staged.
    pub(super) async fn decide(
        &self,
        cx: &Context,
        name: &StackName,
        verdict: Promote,
    ) -> Result<Applied, TargetError> {
        let observed = self.observe(cx, name).await?;
        let Some(staged) = &observed.staged else { return Ok(Applied::Nothing) };
        let why = sick(&observed);
        if verdict == Promote::Promote && why.is_none() {
            let now = cx.clock().now();
            let number = self
                .mutate(name, |deployed| {
                    deployed.staged = None;
                    deployed.record(&staged.stack, &staged.key, now, false)
                })
                .await?;
            return Ok(Applied::Revision(Some(number)));
        }
        let kept = observed.current.as_ref();
        self.converge(cx, name, kept.map(|kept| &kept.stack)).await?;
        self.mutate(name, |deployed| (deployed.staged, deployed.doing) = (None, None)).await?;
        let to = kept.map(|kept| kept.number);
        Ok(match why.filter(|_| verdict == Promote::Promote) {
            Some(why) => Applied::RolledBack { to, why },
            None => Applied::Revision(to),
        })
    }
}
