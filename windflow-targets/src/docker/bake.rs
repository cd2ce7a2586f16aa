//! A revision that is staged: how it comes to be, how it is watched, and what becomes of it.
//!
//! ```text
//!   new set ready ─► on record as staged ─► names switched ─► baking ─► promoted: the revision is current, the old set goes
//!                                                               └─────► aborted: the names go back, the new set goes
//! ```
//!
//! Every arrow can be cut and gone along again: what is on record and what containers are and answer to says where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use windflow_core::target::{
    Applied, Change, Context, Desired, Health, Observed, Plan, Promote, Revision, Stack, TargetError, diff,
};
use windflow_core::{ServiceName, StackName};

use super::apply::Aim;
use super::blue_green::is_staged_by;
use super::converge::down_order;
use super::events::{AT_THE_LATEST, News};
use super::look::{Found, Seen};
use super::meaning::Meaning;
use super::prepare::Prepared;
use super::records;
use super::removal::Nameless;
use super::rollout::{count, go_down};
use super::staged;
use super::target::DockerTarget;
use crate::engine::doing::Doing;
use crate::engine::staged::{Meant, Staged, is_blue_green, nothing_staged_yet};

/// The services of which a stack keeps the old set.
pub(super) fn staged_services<'a>(stack: &'a Stack, seen: &'a Seen) -> impl Iterator<Item = &'a ServiceName> {
    stack.services.keys().filter(|name| is_staged_by(stack, seen, name))
}

impl DockerTarget {
    /// Whether applying this stack keeps what it replaces, until it is promoted.
    pub(super) fn stages(&self, stack: &Stack, seen: &Seen) -> bool {
        seen.current().is_some() && staged_services(stack, seen).next().is_some()
    }

    /// Has the new set stand beside the old one, with the names; then waits for as long as it is to be watched.
    pub(super) async fn stage(
        &self,
        cx: &Context,
        stack: &Stack,
        mine: &Doing,
        seen: &Seen,
        changes: &[Change],
        ready: Prepared,
    ) -> Result<Applied, TargetError> {
        let aim = Aim { stack, mine, beside: true };
        let why = Box::pin(self.make_it_so(cx, aim, ready, seen, changes)).await?;
        let why = why.map(|why| cx.masker().mask(&why));
        let now = self.look(&stack.name).await?;
        match (why, &now.staged) {
            (None, Some(_)) => Box::pin(self.bake(cx, &stack.name, mine)).await,
            (Some(why), Some(staged)) => Box::pin(self.abort(cx, staged, &now, why, mine)).await,
            (Some(why), None) => {
                cx.progress(format_args!("going back: {why}"));
                Box::pin(self.go_back(cx, stack, seen, why, mine)).await
            }
            (None, None) => Err(self.overtaken(&stack.name)),
        }
    }

    /// Writes down that this stack is staged, and with which images, unless it is already.
    pub(super) async fn write_down(
        &self,
        cx: &Context,
        stack: &Stack,
        seen: &Seen,
        meaning: &Meaning,
        mine: &Doing,
    ) -> Result<(), TargetError> {
        let is_another = seen.staged.as_ref().is_some_and(|staged| staged.revision.stack != *stack);
        if is_another || !self.is_still_ours(seen, mine) {
            return Err(self.overtaken(&stack.name));
        }
        let Some(current) = seen.current().filter(|_| seen.staged.is_none()) else { return Ok(()) };
        let mut revision = Revision::new(seen.highest + 1, stack.clone(), cx.key(), cx.clock().now());
        revision.images = meaning.ran(stack, seen);
        let services: BTreeSet<ServiceName> = staged_services(stack, seen).cloned().collect();
        if services.is_empty() || diff::is_revision(stack, current) {
            // Somebody has promoted it since.
            return Err(self.overtaken(&stack.name));
        }
        let staged = Staged::new(revision, current.number, services, String::new());
        match staged::write(&self.engine, &self.config.owner, &stack.name, &staged).await? {
            true => Ok(()),
            false => Err(self.overtaken(&stack.name)),
        }
    }

    /// Watches what is staged until its time has come; returns at once where it waits for somebody's word.
    async fn bake(&self, cx: &Context, stack: &StackName, mine: &Doing) -> Result<Applied, TargetError> {
        let news = News::of(&self.engine, &self.config.owner, stack);
        let mut ear = news.listen();
        let mut before: Option<Staged> = None;
        let mut overtaken_at: Option<Instant> = None;
        loop {
            let seen = self.look(stack).await?;
            let Some(staged) = seen.staged.clone() else {
                let decided = before.and_then(|before| before.decided(seen.current()));
                return decided.ok_or_else(|| self.overtaken(stack));
            };
            if seen.doing.as_ref() != Some(mine) {
                // Somebody promotes or aborts it at this moment: what comes of that is what comes of this. What comes of
                // another apply is nobody's guess.
                if seen.doing.as_ref().is_some_and(|doing| !doing.decides)
                    || overtaken_at.get_or_insert_with(Instant::now).elapsed() > self.config.health_timeout
                {
                    return Err(self.overtaken(stack));
                }
                before = Some(staged);
                ear.any(Duration::from_millis(500)).await;
                continue;
            }
            if let Some(why) = self.sick(cx, &staged, &seen) {
                return Box::pin(self.abort(cx, &staged, &seen, why, mine)).await;
            }
            let Some(until) = staged.until else {
                self.done(stack, mine).await?;
                return Ok(Applied::Staged { revision: staged.revision.number, kept: staged.kept });
            };
            let now = cx.clock().now();
            if now >= until {
                return Box::pin(self.finish(cx, &staged, &seen, mine)).await;
            }
            if before.is_none() {
                let number = staged.revision.number;
                cx.progress(format_args!("revision {number} is baking until {until}"));
            }
            let watched = before.insert(staged);
            let patience = now.until(until).min(AT_THE_LATEST);
            tokio::select! {
                biased;
                () = cx.cancel().cancelled() => {
                    return Err(watched.stopped(&self.config.name));
                }
                () = ear.any(patience) => {}
            }
        }
    }

    /// Why what is staged must not become current.
    pub(super) fn sick(&self, cx: &Context, staged: &Staged, seen: &Seen) -> Option<String> {
        let observed = self.observed(cx, seen);
        let mut watched =
            staged.revision.stack.services.iter().filter(|(_, service)| is_blue_green(service) && count(service) > 0);
        watched.find_map(|(name, service)| {
            let there = observed.services.get(name);
            let number = there.map_or(0, |there| there.instances.len());
            if u32::try_from(number).ok() < Some(count(service)) {
                return Some(format!("{name}: a container of it is gone"));
            }
            match &there?.health {
                Health::Failed { why } | Health::Unhealthy { why } => Some(format!("{name}: {why}")),
                Health::Stopped => Some(format!("{name}: it is not running")),
                _ => None,
            }
        })
    }

    /// What would change, with what is kept beside, to make all that is there this stack; and what is needed for it.
    async fn prepare_whole(
        &self,
        cx: &Context,
        stack: &Stack,
        seen: &Seen,
    ) -> Result<(Vec<Change>, Prepared), TargetError> {
        let desired = Desired::Present(stack.clone());
        let meaning = self.meaning(cx, &desired, seen).await?;
        let changes = self.changes(cx, &desired, &self.observed_whole(cx, seen), seen, &meaning);
        Ok((changes, Box::pin(self.prepare(cx, stack, meaning, seen)).await?))
    }

    /// Makes what is staged current, then takes the old set away. It is decided before anything goes: somebody may abort at
    /// this moment.
    async fn finish(&self, cx: &Context, staged: &Staged, seen: &Seen, mine: &Doing) -> Result<Applied, TargetError> {
        let name = &staged.revision.stack.name;
        cx.progress(format_args!("promoting revision {}", staged.revision.number));
        self.still_staged(name, mine).await?;
        // Under the key it was applied with: whoever applied it knows it by that.
        let mut revision = staged.revision.clone();
        revision.at = cx.clock().now();
        if !records::record_as(&self.engine, &self.config.owner, seen, &revision).await? {
            return Err(self.overtaken(name));
        }
        let now = self.look(name).await?;
        if let Some(promoted) = &now.promoted {
            self.end_promotion(cx, promoted, &now).await?;
        }
        self.done(name, mine).await?;
        Ok(Applied::Revision(Some(revision.number)))
    }

    /// What was staged is current: the old set goes, and nothing more is on record of that. Whoever comes by does that, and
    /// waits for nothing: what is current may be ill by now.
    pub(super) async fn end_promotion(&self, cx: &Context, promoted: &Staged, seen: &Seen) -> Result<(), TargetError> {
        let (engine, owner, stack) = (&self.engine, &self.config.owner, &promoted.revision.stack);
        let meaning = Meaning::default();
        let work = self.work(cx, stack, &meaning, BTreeMap::new(), false);
        for wave in down_order(seen.containers.iter().filter(|found| seen.is_kept(found)).collect()) {
            let (again, over): (Vec<&Found>, Vec<&Found>) =
                wave.into_iter().partition(|found| stack.services.contains_key(&found.service));
            go_down(&work, &again, Nameless::Stay).await?;
            go_down(&work, &over, Nameless::GoIfAgreed).await?;
        }
        let now = self.look(&stack.name).await?;
        if now.promoted.as_ref() != Some(promoted) {
            // Somebody else has ended it, and may have begun something since.
            return Ok(());
        }
        let desired = Desired::Present(stack.clone());
        let there = self.observed_whole(cx, &now);
        let changes = diff::part_changes(&desired, &there, &self.capabilities, cx.consents());
        self.tidy(&work, &now, &changes).await?;
        staged::forget(engine, owner, &stack.name, Some(promoted)).await?;
        match &seen.doing {
            Some(doing) => self.done(&stack.name, doing).await,
            None => Ok(()),
        }
    }

    /// That what was begun is still what is done, and that nobody has promoted this since.
    async fn still_staged(&self, stack: &StackName, mine: &Doing) -> Result<(), TargetError> {
        let now = self.look(stack).await?;
        match now.staged.is_some() && self.is_still_ours(&now, mine) {
            true => Ok(()),
            false => Err(self.overtaken(stack)),
        }
    }

    /// Gives the names back to the old set, and takes the new one away.
    async fn abort(
        &self,
        cx: &Context,
        staged: &Staged,
        seen: &Seen,
        why: String,
        mine: &Doing,
    ) -> Result<Applied, TargetError> {
        let (name, number) = (&staged.revision.stack.name, staged.kept);
        let Some(kept) = seen.current().filter(|current| current.number == number) else {
            return Err(self.overtaken(name));
        };
        cx.progress(format_args!("going back to revision {number}: {why}"));
        let (changes, ready) = self.prepare_whole(cx, &kept.stack, seen).await?;
        self.still_staged(name, mine).await?;
        let aim = Aim { stack: &kept.stack, mine, beside: false };
        if let Some(worse) = Box::pin(self.make_it_so(cx, aim, ready, seen, &changes)).await? {
            let worse = cx.masker().mask(&worse);
            return Err(TargetError::not_back(&self.config.name, &why, number, &worse)
                .in_stack(name)
                .with_hint("put it right and abort again"));
        }
        staged::forget(&self.engine, &self.config.owner, name, Some(staged)).await?;
        self.done(name, mine).await?;
        Ok(Applied::RolledBack { to: Some(number), why })
    }

    /// An apply while something is staged: the same again, back to what is kept, or nothing.
    pub(super) async fn apply_while_baking(
        &self,
        cx: &Context,
        plan: &Plan,
        staged: &Staged,
        seen: &Seen,
        mine: &Doing,
    ) -> Result<Applied, TargetError> {
        let meant = match &plan.desired {
            Desired::Present(stack) => staged.meant(stack, seen.current()),
            // It is taken down as anything else is.
            Desired::Absent(_) => Meant::Other,
        };
        let observed = self.observed(cx, seen);
        let meaning = self.meaning(cx, &plan.desired, seen).await?;
        let changes = self.changes(cx, &plan.desired, &observed, seen, &meaning);
        let stack = &staged.revision.stack;
        if matches!(meant, Meant::Staged) && changes.is_empty() {
            // All is said and done, and an apply that was cut has only not written that down.
            if let Some(doing) = seen.doing.as_ref().filter(|doing| *doing == mine || doing.key == staged.revision.key)
            {
                self.done(&stack.name, doing).await?;
            }
            return Ok(staged.again(plan, cx.key()));
        }
        if seen.doing.as_ref().is_none_or(|doing| doing.intent != mine.intent) {
            diff::check_moved(plan, &observed, &self.config.name)?;
        }
        match meant {
            Meant::Staged => {
                let ready = Box::pin(self.prepare(cx, stack, meaning, seen)).await?;
                self.begin(&stack.name, seen, mine).await?;
                match self.sick(cx, staged, seen) {
                    Some(why) => Box::pin(self.abort(cx, staged, seen, why, mine)).await,
                    None => Box::pin(self.stage(cx, stack, mine, seen, &changes, ready)).await,
                }
            }
            Meant::Kept(kept) => {
                self.check_consents(plan, &changes)?;
                self.begin(&stack.name, seen, mine).await?;
                Box::pin(self.abort(cx, staged, seen, "it was asked for".to_owned(), mine)).await?;
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
        let seen = self.look(stack).await?;
        self.check_records(stack, &seen)?;
        let mine = self.deciding(cx, stack, verdict, &seen);
        if seen.staged.is_none() {
            return self.put_away(cx, stack, verdict, &seen).await;
        }
        self.begin(stack, &seen, &mine).await?;
        // Somebody may have decided since that look.
        let seen = self.look(stack).await?;
        let Some(staged) = seen.staged.clone() else { return self.put_away(cx, stack, verdict, &seen).await };
        if verdict == Promote::Abort {
            Box::pin(self.abort(cx, &staged, &seen, "it was asked for".to_owned(), &mine)).await?;
            return Ok(Applied::Revision(Some(staged.kept)));
        }
        if let Some(why) = self.sick(cx, &staged, &seen) {
            return Box::pin(self.abort(cx, &staged, &seen, why, &mine)).await;
        }
        // What an apply had not finished when it was cut is finished first: nothing goes before all that is new is ready.
        let name = &staged.revision.stack;
        let (changes, ready) = self.prepare_whole(cx, name, &seen).await?;
        let aim = Aim { stack: name, mine: &mine, beside: true };
        let why = Box::pin(self.make_it_so(cx, aim, ready, &seen, &changes)).await?;
        let now = self.look(stack).await?;
        match why {
            Some(why) => Box::pin(self.abort(cx, &staged, &now, cx.masker().mask(&why), &mine)).await,
            None => Box::pin(self.finish(cx, &staged, &now, &mine)).await,
        }
    }

    /// Nothing is staged: what a cut has left of a decision, or of an apply at its very end, is put away.
    async fn put_away(
        &self,
        cx: &Context,
        stack: &StackName,
        verdict: Promote,
        seen: &Seen,
    ) -> Result<Applied, TargetError> {
        if let Some(promoted) = &seen.promoted {
            self.end_promotion(cx, promoted, seen).await?;
            return Ok(match verdict {
                Promote::Promote => Applied::Revision(Some(promoted.revision.number)),
                Promote::Abort => Applied::Nothing,
            });
        }
        match &seen.doing {
            Some(doing) if doing.is_over(seen.current()) => self.done(stack, doing).await?,
            Some(_) => return Err(nothing_staged_yet(&self.config.name, stack)),
            None => {}
        }
        Ok(Applied::Nothing)
    }

    fn deciding(&self, cx: &Context, stack: &StackName, verdict: Promote, seen: &Seen) -> Doing {
        let latest = seen.latest().map(|latest| latest.number);
        Doing::deciding(cx, &self.config.owner, &self.config.name, stack, verdict, latest)
    }

    /// What is there of the staged revision only.
    pub(super) fn hide_what_is_kept(&self, observed: &mut Observed, seen: &Seen) {
        let Some(staged) = seen.two_sets() else { return };
        let stack = &staged.revision.stack;
        let parts = diff::owned_parts(stack, &self.capabilities);
        observed.services.retain(|name, _| stack.services.contains_key(name));
        observed.parts.retain(|path, _| parts.contains_key(path) || path.starts_with("volumes."));
    }
}
