//! `blue_green`: a revision that is staged, how it comes to be, and what becomes of it.
//!
//! ```text
//!   green ready ─► on record as staged ─► green has the names, too ─► blue has none ─► baking ─► promoted: blue goes
//!                                                                                        └─────► aborted: the names back, green goes
//! ```
//!
//! A Swarm gives a task other names only by replacing it. So both sets are begun once more when the names go over, the new
//! tasks of each before the old ones end. Every arrow can be cut and gone along again: what is on record, and what names the
//! services have, says where it stands.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::models::Task;
use tokio::time::Instant;
use windflow_core::target::{
    Applied, Context, Desired, Health, Observed, Plan, Promote, Revision, Stack, TargetError, TargetErrorKind, diff,
};
use windflow_core::{ServiceName, StackName};

use super::SwarmTarget;
use super::converge::{Track, stopped};
use super::health::{Trouble, judge};
use super::look::{Look, label, name_of};
use super::records::Records;
use super::sides::{Side, Sides, is_named, mark_for, without_names};
use super::take_down::grace;
use crate::engine::doing::{Doing, overtaken};
use crate::engine::staged::{Meant, Staged, nothing_staged_yet};
use crate::engine::values::Values;
use crate::engine::{listing, mark};

/// While something bakes one looks again this often: nothing tells of tasks on other nodes.
const LOOK: Duration = Duration::from_secs(1);

/// How long a Swarm may take to end a task, beside its grace period.
const SLOW: Duration = Duration::from_secs(10);

impl SwarmTarget {
    /// Has the new sets of these services stand beside the old ones, with the names; then waits for as long as they are to
    /// be watched.
    #[expect(clippy::too_many_arguments, reason = "all of them are what an apply holds in hand")]
    pub(super) async fn stage(
        &self,
        cx: &Context,
        stack: &Stack,
        names: BTreeSet<ServiceName>,
        current: &Revision,
        mine: &Doing,
        values: &Values,
        look: &Look,
    ) -> Result<Applied, TargetError> {
        let sides = Sides { two: names.clone(), mark: mark_for(stack, current), side: Side::Raised };
        let mut raising = look.seen_from(sides.clone());
        let verdict = self.run(cx, stack, values, &mut raising).await?;
        let records = self.still_ours(&stack.name, mine).await?;
        if let Some(why) = verdict {
            let why = cx.masker().mask(&why);
            return self.go_back(cx, current, why, mine).await;
        }
        let revision = Revision::new(records.highest + 1, stack.clone(), cx.key(), cx.clock().now());
        let staged = Staged::new(revision, current.number, names, sides.mark);
        self.write_staged(&staged).await?;
        Box::pin(self.lead_over_and_bake(cx, &staged, mine, values)).await
    }

    /// Goes on with what is on record as staged.
    async fn lead_over_and_bake(
        &self,
        cx: &Context,
        staged: &Staged,
        mine: &Doing,
        values: &Values,
    ) -> Result<Applied, TargetError> {
        let stack = &staged.revision.stack.name;
        if let Some(why) = Box::pin(self.lead_over(cx, staged, values)).await? {
            let look = self.look(stack).await?;
            return self.abort(cx, staged, &look, cx.masker().mask(&why), mine).await;
        }
        Box::pin(self.bake(cx, stack, mine)).await
    }

    /// Leads the names of what is staged to it, then takes them from what is kept. The reason when one of them does not stand
    /// that.
    async fn lead_over(&self, cx: &Context, staged: &Staged, values: &Values) -> Result<Option<String>, TargetError> {
        let mut look = self.look(&staged.revision.stack.name).await?;
        if let Some(why) = self.run(cx, &staged.revision.stack, values, &mut look).await? {
            return Ok(Some(why));
        }
        let Some(kept) = look.records.current().filter(|current| current.number == staged.kept).cloned() else {
            return Err(self.overtaken(&staged.revision.stack.name));
        };
        let until = Instant::now() + self.config.health_timeout;
        let mut track = Track::new(self.pulse().await?, until, &look);
        let mut sets = Stack::new(kept.stack.name.clone(), Default::default());
        for (name, set) in look.left_over() {
            self.remove_service(cx, &name, set).await?;
        }
        let kept_sets = look.seen_from_kept();
        for set in &kept_sets.services {
            let (Some(name), Some(spec)) = (name_of(set), &set.spec) else { continue };
            let Some(service) = kept.stack.services.get(&name) else { continue };
            if is_named(spec) && staged.services.contains(&name) {
                cx.progress(format_args!("{name} leads to what is new"));
                self.update_service(cx, &kept.stack, &name, service, without_names(spec), set).await?;
                track.touched.insert(name.clone(), Instant::now());
            }
            if staged.services.contains(&name) {
                sets.services.insert(name, service.clone());
            }
        }
        let mut beside = look.seen_from_kept();
        if let Some(why) = self.wait_for(cx, &sets, None, &mut beside, &mut track).await? {
            return Ok(Some(format!("what is kept did not stay as it was without its names: {why}")));
        }
        self.names_are_gone(cx, &kept.stack.name, &look).await.map(|()| None)
    }

    /// Watches what is staged until its time has come; returns at once where it waits for somebody's word.
    async fn bake(&self, cx: &Context, stack: &StackName, mine: &Doing) -> Result<Applied, TargetError> {
        let mut before: Option<Staged> = None;
        let mut overtaken_at: Option<Instant> = None;
        loop {
            let look = self.look(stack).await?;
            let Some(staged) = look.records.staged().cloned() else {
                let decided = before.and_then(|before| before.decided(look.records.current()));
                return decided.ok_or_else(|| self.overtaken(stack));
            };
            let doing = look.records.doing.as_ref().map(|(_, doing)| doing);
            if doing != Some(mine) {
                // Somebody promotes or aborts it at this moment: what comes of that is what comes of this. What comes of
                // another apply is nobody's guess.
                if doing.is_some_and(|doing| !doing.decides)
                    || overtaken_at.get_or_insert_with(Instant::now).elapsed() > self.config.health_timeout
                {
                    return Err(self.overtaken(stack));
                }
                before = Some(staged);
                tokio::time::sleep(LOOK).await;
                continue;
            }
            if let Some(why) = sick(&look) {
                return self.abort(cx, &staged, &look, cx.masker().mask(&why), mine).await;
            }
            let Some(until) = staged.until else {
                self.done(stack, mine).await?;
                return Ok(Applied::Staged { revision: staged.revision.number, kept: staged.kept });
            };
            let now = cx.clock().now();
            if now >= until {
                return Box::pin(self.finish(cx, &staged, &look, mine)).await;
            }
            if before.is_none() {
                let number = staged.revision.number;
                cx.progress(format_args!("revision {number} is baking until {until}"));
            }
            let watched = before.insert(staged);
            tokio::select! {
                biased;
                () = cx.cancel().cancelled() => return Err(watched.stopped(&self.config.name)),
                () = tokio::time::sleep(now.until(until).min(LOOK)) => {}
            }
        }
    }

    /// Takes the old sets away, and makes what was staged current.
    async fn finish(&self, cx: &Context, staged: &Staged, look: &Look, mine: &Doing) -> Result<Applied, TargetError> {
        let stack = &staged.revision.stack;
        cx.progress(format_args!("promoting revision {}", staged.revision.number));
        // What an apply had not finished when it was cut is finished first: nothing goes before all that is new is ready.
        let values = self.values(cx, stack).await?;
        let mut now = look.clone();
        let why = self.run(cx, stack, &values, &mut now).await?;
        if let Some(why) = why {
            let now = self.look(&stack.name).await?;
            return self.abort(cx, staged, &now, cx.masker().mask(&why), mine).await;
        }
        // Under the key it was applied with: whoever applied it knows it by that. It is decided before anything goes: somebody
        // may abort at this moment.
        let mut revision = staged.revision.clone();
        revision.at = cx.clock().now();
        let records = self.still_ours(&stack.name, mine).await?;
        self.record_staged(&revision, &records).await?;
        self.end_promotion(cx, stack, &records).await?;
        Ok(Applied::Revision(Some(revision.number)))
    }

    /// What was staged is current: the old sets go, and nothing more is on record of that.
    pub(super) async fn end_promotion(
        &self,
        cx: &Context,
        stack: &Stack,
        records: &Records,
    ) -> Result<(), TargetError> {
        self.tidy(cx, stack, false).await?;
        let stack = &stack.name;
        self.forget_staged(records).await?;
        match &records.doing {
            Some((_, doing)) => self.done(stack, doing).await,
            None => Ok(()),
        }
    }

    /// That what was begun is still what is done, and that nobody has promoted this since.
    async fn still_staged(&self, staged: &Staged, mine: &Doing) -> Result<(), TargetError> {
        let name = &staged.revision.stack.name;
        let records = self.still_ours(name, mine).await?;
        match records.staged() {
            Some(found) if found.mark == staged.mark => Ok(()),
            _ => Err(self.overtaken(name)),
        }
    }

    /// Which sets count must be known before anything is touched.
    pub(super) fn check_staged(&self, stack: &StackName, records: &Records) -> Result<(), TargetError> {
        let Some(told) = &records.lost_staged else { return Ok(()) };
        let what = format!("what is staged cannot be told: {told}");
        let hint = "use the version that has written it; or take the stack down, and apply it anew";
        Err(self.error(stack, TargetErrorKind::Conflict, what).with_hint(hint))
    }

    /// Gives the names back to the old sets, and takes the new ones away.
    async fn abort(
        &self,
        cx: &Context,
        staged: &Staged,
        look: &Look,
        why: String,
        mine: &Doing,
    ) -> Result<Applied, TargetError> {
        let (name, number) = (&staged.revision.stack.name, staged.kept);
        let Some(kept) = look.records.current().filter(|current| current.number == number) else {
            return Err(self.overtaken(name));
        };
        self.still_staged(staged, mine).await?;
        cx.progress(format_args!("going back to revision {number}: {why}"));
        let values = self.values(cx, &kept.stack).await?;
        let mut back = look.seen_from_kept();
        let worse = self.run(cx, &kept.stack, &values, &mut back).await?;
        self.still_staged(staged, mine).await?;
        if let Some(worse) = worse {
            let worse = cx.masker().mask(&worse);
            return Err(TargetError::not_back(&self.config.name, &why, number, &worse)
                .in_stack(name)
                .with_hint("put it right and abort again"));
        }
        self.tidy(cx, &kept.stack, true).await?;
        self.names_are_gone(cx, name, &back).await?;
        let records = self.still_ours(name, mine).await?;
        self.forget_staged(&records).await?;
        self.done(name, mine).await?;
        Ok(Applied::RolledBack { to: Some(number), why })
    }

    /// An apply while something is staged: the same again, back to what is kept, or nothing.
    pub(super) async fn apply_while_baking(
        &self,
        cx: &Context,
        plan: &Plan,
        stack: &Stack,
        observed: &Observed,
        look: &Look,
        mine: &Doing,
    ) -> Result<Applied, TargetError> {
        let Some(staged) = look.records.staged() else { return Err(self.overtaken(&stack.name)) };
        let meant = staged.meant(stack, look.records.current());
        let values = self.values(cx, stack).await?;
        let changes = self.changes(cx, &plan.desired, observed, look, Some(&values));
        let doing = look.records.doing.as_ref().map(|(_, doing)| doing);
        if matches!(meant, Meant::Staged) && changes.is_empty() {
            // All is said and done, and an apply that was cut has only not written that down.
            if let Some(doing) = doing.filter(|doing| *doing == mine || doing.key == staged.revision.key) {
                self.done(&stack.name, doing).await?;
            }
            return Ok(staged.again(plan, cx.key()));
        }
        if doing.is_none_or(|doing| doing.intent != mine.intent) {
            diff::check_moved(plan, observed, &self.config.name)?;
        }
        match meant {
            Meant::Staged => {
                self.note(&stack.name, mine, &look.records).await?;
                match sick(look) {
                    Some(why) => self.abort(cx, staged, look, cx.masker().mask(&why), mine).await,
                    None => Box::pin(self.lead_over_and_bake(cx, staged, mine, &values)).await,
                }
            }
            Meant::Kept(kept) => {
                self.note(&stack.name, mine, &look.records).await?;
                self.abort(cx, staged, look, "it was asked for".to_owned(), mine).await?;
                Ok(Applied::Revision(Some(kept.number)))
            }
            Meant::Other => Err(staged.in_the_way(&self.config.name)),
        }
    }

    /// Promotes or aborts what is staged; where nothing is, only what a cut has left is put away.
    pub(super) async fn decide(
        &self,
        cx: &Context,
        stack: &StackName,
        verdict: Promote,
    ) -> Result<Applied, TargetError> {
        let look = self.look(stack).await?;
        let records = &look.records;
        self.check_staged(stack, records)?;
        let latest = records.latest().map(|latest| latest.number);
        let mine = Doing::deciding(cx, &self.config.owner, &self.config.name, stack, verdict, latest);
        let Some(staged) = records.staged() else {
            if let (true, Some(current)) = (records.is_promoted(), records.current()) {
                self.end_promotion(cx, &current.stack, records).await?;
                return Ok(match verdict {
                    Promote::Promote => Applied::Revision(Some(current.number)),
                    Promote::Abort => Applied::Nothing,
                });
            }
            match &records.doing {
                Some((_, doing)) if doing.is_over(records.current()) => self.done(stack, doing).await?,
                Some(_) => return Err(nothing_staged_yet(&self.config.name, stack)),
                None => {}
            }
            return Ok(Applied::Nothing);
        };
        self.note(stack, &mine, records).await?;
        if verdict == Promote::Abort {
            self.abort(cx, staged, &look, "it was asked for".to_owned(), &mine).await?;
            return Ok(Applied::Revision(Some(staged.kept)));
        }
        match sick(&look) {
            Some(why) => self.abort(cx, staged, &look, cx.masker().mask(&why), &mine).await,
            None => Box::pin(self.finish(cx, staged, &look, &mine)).await,
        }
    }

    /// Waits until the names of the services that have two sets lead to those that count here, and to nothing else. A task
    /// that does not end in time is let be.
    async fn names_are_gone(&self, cx: &Context, stack: &StackName, look: &Look) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let stays: BTreeSet<&str> = look.services.iter().filter_map(|set| set.id.as_deref()).collect();
        let goes: BTreeSet<&str> = look.beside.iter().filter_map(|set| set.id.as_deref()).collect();
        let ours = mark::labels(&self.config.owner, stack);
        let until = Instant::now() + look.beside.iter().map(grace).max().unwrap_or_default() + SLOW;
        let answers = |task: &Task| {
            let container = task.spec.as_ref().and_then(|spec| spec.container_spec.as_ref());
            let labels = container.and_then(|container| container.labels.as_ref());
            let is_ours = ours.iter().all(|(key, value)| label(labels, key) == Some(value));
            let name = label(labels, mark::SERVICE);
            let has_two = name.is_some_and(|name| look.sides.two.iter().any(|two| two.as_str() == name));
            let id = task.service_id.as_deref().unwrap_or_default();
            // The tasks of what was taken over have no marks, and those of what is removed have nothing else.
            (goes.contains(id) || is_ours && has_two && !stays.contains(id)) && look.answers(task)
        };
        let mut pulse = self.pulse().await?;
        // Of services that are removed nothing but the list of all tasks tells.
        while Instant::now() < until
            && self.engine.ask("listing tasks", listing::tasks(docker, &HashMap::new())).await?.iter().any(answers)
        {
            tokio::select! {
                biased;
                () = stopped(cx) => {
                    let what = "stopped while the traffic goes over";
                    let error = self.error(stack, TargetErrorKind::Cancelled, what);
                    return Err(error.with_hint("the same again goes on"));
                }
                () = pulse.beat(LOOK) => {}
            }
        }
        Ok(())
    }

    /// Something else has become of what was on its way here.
    fn overtaken(&self, stack: &StackName) -> TargetError {
        overtaken(&self.config.name, stack)
    }
}

/// Why what is staged must not become current. What finds no place just now may find one.
pub(super) fn sick(look: &Look) -> Option<String> {
    let staged = look.records.staged()?;
    staged.services.iter().find_map(|name| {
        let Some(service) = look.service(name) else { return Some(format!("{name}: its new set is gone")) };
        let found = judge(service, look);
        match found.health {
            _ if matches!(found.trouble, Some(Trouble::Stuck(_))) => None,
            Health::Failed { why } | Health::Unhealthy { why } => Some(format!("{name}: {why}")),
            Health::Stopped => Some(format!("{name}: it is not running")),
            _ => None,
        }
    })
}

/// Whether an apply has to go by what is staged.
pub(super) fn is_baking<'a>(desired: &'a Desired, look: &Look) -> Option<&'a Stack> {
    match desired {
        Desired::Present(stack) if look.records.staged().is_some() => Some(stack),
        _ => None,
    }
}
