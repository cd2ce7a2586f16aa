//! Applying a plan: from what is there to what is wanted, recorded or taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windflow_core::ServiceName;
use windflow_core::target::{
    Applied, Change, ChangeKind, Context, Desired, Plan, Reversibility, Revision, Stack, TargetError, TargetErrorKind,
    diff,
};

use super::converge::{converge, down_order};
use super::events::News;
use super::handed::Handed;
use super::look::{Found, Seen};
use super::meaning::Meaning;
use super::observe::differing;
use super::prepare::Prepared;
use super::records;
use super::removal::Nameless;
use super::rollout::{count, go_down, is_right, wanted};
use super::take_down::Going;
use super::target::DockerTarget;
use super::work::{Work, refused_by_the_engine};
use super::{blue_green, nameless, parts};
use crate::engine::doing::{Doing, overtaken};

/// How often an apply looks whether its work is complete.
const PASSES: usize = 3;

/// What an apply is after.
#[derive(Clone, Copy)]
pub(super) struct Aim<'a> {
    pub stack: &'a Stack,
    /// What is on record as being done.
    pub mine: &'a Doing,
    /// Whether what is replaced is kept beside, where the stack says so.
    pub beside: bool,
}

/// Whether each service has the containers it should have, and no others.
fn is_settled(work: &Work<'_>, seen: &Seen) -> bool {
    let strangers = seen.containers.iter().any(|found| !work.stack.services.contains_key(&found.service));
    !strangers
        && work.stack.services.iter().all(|(name, service)| {
            let service = wanted(seen, work.stack, name, service);
            let all = seen.of(name).count();
            let right = seen.of(name).filter(|found| is_right(work, seen, found, &service)).count();
            all == right && u32::try_from(all) == Ok(count(&service))
        })
}

impl DockerTarget {
    pub(super) async fn carry_out(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let name = plan.desired.stack();
        diff::check_bound(plan, &self.config.owner, &self.config.name)?;
        let mut seen = self.look(name).await?;
        for record in &seen.unreadable {
            cx.progress(record.note());
        }
        self.check_records(name, &seen)?;
        if let (Desired::Present(_), Some(promoted)) = (&plan.desired, &seen.promoted) {
            self.end_promotion(cx, promoted, &seen).await.map_err(|e| e.in_stack(name))?;
            seen = self.look(name).await?;
        }
        let observed = self.observed(cx, &seen);
        if let Desired::Present(stack) = &plan.desired {
            self.reword(stack, &mut seen);
        }
        let mine = Doing::applying(plan, cx);
        let continues = seen.doing.as_ref() == Some(&mine);
        let meaning = self.meaning(cx, &plan.desired, &seen).await?;
        let changes = self.changes(cx, &plan.desired, &observed, &seen, &meaning);
        if let (Desired::Present(_), Some(staged)) = (&plan.desired, &seen.staged) {
            let done = Box::pin(self.apply_while_baking(cx, plan, staged, &seen, &mine)).await;
            return done.map_err(|error| if error.stack.is_some() { error } else { error.in_stack(name) });
        }
        if changes.is_empty()
            && let Some(done) = diff::already(plan, &observed, cx.key(), &self.capabilities)
        {
            // Recorded already, and cut before that was written down: whoever looks next ends it.
            let is_over = |doing: &&Doing| continues || seen.current().is_some_and(|now| now.key == doing.key);
            if let Some(doing) = seen.doing.as_ref().filter(is_over) {
                self.done(name, doing).await?;
            }
            return Ok(done);
        }
        // What a cut of the same has changed, perhaps only since the plan was made, is nobody else's change.
        if seen.doing.as_ref().is_none_or(|doing| doing.intent != mine.intent) {
            diff::check_moved(plan, &observed, &self.config.name)?;
        }
        self.check_consents(plan, &changes)?;
        let done = match &plan.desired {
            Desired::Present(stack) => Box::pin(self.bring_up(cx, stack, meaning, &mine, &seen, &changes)).await,
            Desired::Absent(_) => {
                self.begin(name, &seen, &mine).await?;
                cx.progress(format_args!("taking {name} down"));
                let going = Going { changes: &changes, was_wanted: true };
                Box::pin(self.take_down(cx, name, &seen, going)).await.map(|()| Applied::Revision(None))
            }
        };
        done.map_err(|error| if error.stack.is_some() { error } else { error.in_stack(name) })
    }

    /// What is under way and what was taken over must be known before anything is touched.
    pub(super) fn check_records(&self, name: &windflow_core::StackName, seen: &Seen) -> Result<(), TargetError> {
        let Some(record) = seen.unreadable.iter().find(|record| record.is_needed) else { return Ok(()) };
        Err(TargetError::new(&self.config.name, TargetErrorKind::Conflict, record.note()).in_stack(name).with_hint(
            format!("use the version that has written it; or give it up with `docker volume rm {}`", record.name),
        ))
    }

    pub(super) fn check_consents(&self, plan: &Plan, changes: &[Change]) -> Result<(), TargetError> {
        let lost = changes.iter().find(|change| change.reversibility == Reversibility::Irreversible);
        match lost {
            Some(change) if !plan.consents.allows_destroy("volume") => {
                let what =
                    format!("{}: {}", change.path, change.note.as_deref().unwrap_or("this cannot be taken back"));
                Err(TargetError::new(&self.config.name, TargetErrorKind::NeedsConsent, what)
                    .in_stack(plan.desired.stack())
                    .with_hint("agree to it with --allow-destroy volume"))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn begin(
        &self,
        name: &windflow_core::StackName,
        seen: &Seen,
        mine: &Doing,
    ) -> Result<(), TargetError> {
        let begun = records::begin(&self.engine, &self.config.owner, name, seen.doing.as_ref(), mine).await;
        begun.map_err(|error| error.in_stack(name))
    }

    /// This is not being done any more.
    pub(super) async fn done(&self, name: &windflow_core::StackName, doing: &Doing) -> Result<(), TargetError> {
        let done = records::end(&self.engine, &self.config.owner, name, Some(doing)).await;
        done.map_err(|error| error.in_stack(name))
    }

    async fn bring_up(
        &self,
        cx: &Context,
        stack: &Stack,
        meaning: Meaning,
        mine: &Doing,
        seen: &Seen,
        changes: &[Change],
    ) -> Result<Applied, TargetError> {
        let (name, owner) = (&stack.name, &self.config.owner);
        // Before anything is touched: an image or a secret that is not there must not cost a running service.
        let ready = Box::pin(self.prepare(cx, stack, meaning, seen)).await?;
        let images = ready.meaning.ran(stack, seen);
        // What is current already is only put right again, and stays the revision it is.
        let is_current = |now: &&Revision| diff::is_revision(stack, now) && ready.meaning.is_what_ran(now, seen);
        let restored = seen.current().filter(is_current).cloned();
        self.begin(name, seen, mine).await?;
        if seen.reworded {
            records::adopt(&self.engine, owner, name, seen.adopted.clone()).await?;
        }
        if restored.is_none() && self.stages(stack, seen) {
            return Box::pin(self.stage(cx, stack, mine, seen, changes, ready)).await;
        }
        let aim = Aim { stack, mine, beside: false };
        let Some(why) = Box::pin(self.make_it_so(cx, aim, ready, seen, changes)).await? else {
            let number = match restored {
                Some(current) => current.number,
                None => {
                    let mut revision = Revision::new(0, stack.clone(), cx.key(), cx.clock().now());
                    revision.images = images;
                    records::record(&self.engine, owner, seen, revision).await?.number
                }
            };
            self.done(name, mine).await?;
            return Ok(Applied::Revision(Some(number)));
        };
        let why = cx.masker().mask(&why);
        if let Some(current) = restored {
            self.done(name, mine).await?;
            let what = format!("revision {} does not come up again: {why}", current.number);
            return Err(TargetError::new(&self.config.name, TargetErrorKind::Unhealthy, what)
                .with_hint("there is nothing else to go back to: put it right and apply again, or roll back further"));
        }
        cx.progress(format_args!("going back: {why}"));
        Box::pin(self.go_back(cx, stack, seen, why, mine)).await
    }

    /// Makes what was current before current again.
    pub(super) async fn go_back(
        &self,
        cx: &Context,
        from: &Stack,
        before: &Seen,
        why: String,
        mine: &Doing,
    ) -> Result<Applied, TargetError> {
        let name = &from.name;
        let now = self.look(name).await?;
        if !self.is_still_ours(&now, mine) {
            return Err(self.overtaken(name));
        }
        // Where the newest record cannot be read, an older one is not what ran.
        let Some(base) = before.current().filter(|current| current.number == before.highest) else {
            // Only what a first apply that was cut has left never was what should be there.
            let is_first = before.highest == 0 && before.doing.is_some();
            if !before.containers.is_empty() && !is_first {
                return Box::pin(self.leave_what_was_there(cx, from, before, &now, &why)).await;
            }
            // Volumes that this apply has made hold nothing anybody could miss.
            let mut gone = self.everything_goes(&now);
            gone.retain(|change| !before.volumes.contains_key(&change.path));
            Box::pin(self.take_down(cx, name, &now, Going { changes: &gone, was_wanted: false })).await?;
            return Ok(Applied::RolledBack { to: None, why });
        };
        let observed = self.observed(cx, &now);
        let meaning = Meaning::of_before(cx, base).await;
        let changes = self.changes(cx, &Desired::Present(base.stack.clone()), &observed, &now, &meaning);
        let back = async {
            let ready = Box::pin(self.prepare(cx, &base.stack, meaning, &now)).await?;
            let aim = Aim { stack: &base.stack, mine, beside: false };
            Box::pin(self.make_it_so(cx, aim, ready, &now, &changes)).await
        };
        let back = back.await.map_err(|mut error: TargetError| {
            let number = base.number;
            error.message = format!("{why}; and revision {number} cannot be made current again: {}", error.message);
            error
        });
        let worse = back?;
        self.done(name, mine).await?;
        match worse {
            None => Ok(Applied::RolledBack { to: Some(base.number), why }),
            Some(worse) => {
                let worse = cx.masker().mask(&worse);
                Err(TargetError::not_back(&self.config.name, &why, base.number, &worse).in_stack(name))
            }
        }
    }

    /// Whether what is on record as being done is what we do.
    pub(super) fn is_still_ours(&self, seen: &Seen, mine: &Doing) -> bool {
        seen.doing.as_ref() == Some(mine)
    }

    pub(super) fn overtaken(&self, stack: &windflow_core::StackName) -> TargetError {
        overtaken(&self.config.name, stack)
    }

    /// However often it is made, it is not as it was made.
    fn never_settled(&self, stack: &Stack, seen: &Seen) -> TargetError {
        let overtaken = self.overtaken(&stack.name);
        let all = seen.containers.iter().filter_map(|found| {
            let fields = differing(seen, stack, &self.config.owner, found);
            (!fields.is_empty()).then(|| format!("services.{}: {}", found.service, fields.join(", ")))
        });
        let told: Vec<String> = all.collect();
        let mut error = overtaken;
        if !told.is_empty() {
            let what = format!("what was made is not as it was asked for ({})", told.join("; "));
            error.message = format!("{what}, or {}", error.message);
        }
        error
    }

    /// Something ran, and no revision is on record to go back to: only what this apply has made goes again.
    async fn leave_what_was_there(
        &self,
        cx: &Context,
        from: &Stack,
        before: &Seen,
        now: &Seen,
        why: &str,
    ) -> Result<Applied, TargetError> {
        let meaning = Meaning::default();
        let work = self.work(cx, from, &meaning, BTreeMap::new(), false);
        for found in &now.containers {
            match before.containers.iter().any(|old| old.id == found.id) {
                true if found.inspect.state.as_ref().is_some_and(|state| state.running == Some(false)) => {
                    let _ = work.start(found).await?;
                }
                true => {}
                false => work.remove(found).await?,
            }
        }
        records::end(&self.engine, &self.config.owner, &from.name, None).await?;
        let what = format!("{why}; no revision is on record to go back to, and what ran before is left as it is");
        Err(TargetError::new(&self.config.name, TargetErrorKind::Unhealthy, what)
            .with_hint("put it right and apply again"))
    }

    /// Everything a step of the work needs, before networks and volumes have their names.
    pub(super) fn work<'a>(
        &'a self,
        cx: &'a Context,
        stack: &'a Stack,
        meaning: &'a Meaning,
        handed: BTreeMap<ServiceName, Handed>,
        start_interval: bool,
    ) -> Work<'a> {
        Work {
            engine: &self.engine,
            cx,
            config: &self.config,
            stack,
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            handed,
            meaning,
            news: News::silent(),
            start_interval,
            beside: false,
            mine: None,
            until: Instant::now() + self.time_left(cx),
            ours: BTreeSet::new(),
            carried: nameless::Carried::new(),
            stopping: CancellationToken::new(),
        }
    }

    fn time_left(&self, cx: &Context) -> Duration {
        let own = self.config.health_timeout;
        cx.deadline().map_or(own, |deadline| own.min(cx.clock().now().until(deadline)))
    }

    /// Makes what is there what is aimed at; the reason when it does not become ready.
    pub(super) async fn make_it_so(
        &self,
        cx: &Context,
        aim: Aim<'_>,
        ready: Prepared,
        seen: &Seen,
        changes: &[Change],
    ) -> Result<Option<String>, TargetError> {
        let Aim { stack, mine, beside } = aim;
        let start_interval = self.engine.speaks((1, 44)).await?;
        let mut work = self.work(cx, stack, &ready.meaning, ready.handed, start_interval);
        work.news = News::of(&self.engine, &self.config.owner, &stack.name);
        work.beside = beside;
        work.mine = Some(mine);
        work.carried = nameless::carried(seen);
        let seen = Box::pin(self.clear_the_way(&work, seen, changes)).await?;
        let ensured = Box::pin(parts::ensure(&self.engine, &self.config.owner, stack, &seen)).await;
        (work.networks, work.volumes) = match ensured {
            Ok(named) => named,
            // An engine says so of an address range that is taken, too, and of a driver that it does not have.
            Err(error) if error.kind == TargetErrorKind::Denied => return Ok(Some(error.message)),
            Err(error) => return refused_by_the_engine(error).map(Some),
        };
        let mut seen = seen;
        let mut passes = 0;
        loop {
            passes += 1;
            work.ours = seen.containers.iter().map(|found| found.id.clone()).collect();
            if let Some(why) = Box::pin(converge(&work, &seen)).await? {
                return Ok(Some(why));
            }
            // What an apply that was cut had just asked for may have come about only now.
            let mut now = self.look(&stack.name).await?;
            if beside {
                self.write_down(cx, stack, &now, &ready.meaning, mine).await?;
                blue_green::switch(&work, &now).await?;
                now = self.look(&stack.name).await?;
            }
            let settled = if beside { blue_green::is_switched(&work, &now) } else { is_settled(&work, &now) };
            if !self.is_still_ours(&now, mine) {
                return Err(self.overtaken(&stack.name));
            }
            if !settled && passes >= PASSES {
                return Err(self.never_settled(stack, &now));
            }
            seen = Seen { volumes: seen.volumes, networks: seen.networks, ..now };
            if settled {
                break;
            }
        }
        if !beside {
            work.still_ours().await?;
            self.tidy(&work, &seen, changes).await?;
        }
        Ok(None)
    }

    /// What stays gets the names it should have, and what nothing needs any more goes.
    pub(super) async fn tidy(&self, work: &Work<'_>, seen: &Seen, changes: &[Change]) -> Result<(), TargetError> {
        let stack = work.stack;
        self.give_names(work, seen).await?;
        let gone: Vec<Change> = changes.iter().filter(|change| change.kind == ChangeKind::Delete).cloned().collect();
        parts::remove(&self.engine, &stack.name, seen, &gone).await?;
        // Containers that were taken over and are no more need no record.
        let mut left = seen.adopted.clone();
        left.containers.retain(|id, _| seen.containers.iter().any(|found| found.id == *id));
        left.networks.retain(|path, _| !gone.iter().any(|change| change.path == *path));
        left.volumes.retain(|path, _| !gone.iter().any(|change| change.path == *path));
        if left != seen.adopted {
            records::adopt(&self.engine, &self.config.owner, &stack.name, left).await?;
        }
        Ok(())
    }

    /// A network or volume that must be made anew can only go when nothing stands on it.
    async fn clear_the_way(&self, work: &Work<'_>, seen: &Seen, changes: &[Change]) -> Result<Seen, TargetError> {
        let anew: Vec<Change> = changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Replace)
            .filter(|change| change.path.starts_with("networks.") || change.path.starts_with("volumes."))
            .cloned()
            .collect();
        if anew.is_empty() {
            return Ok(seen.clone());
        }
        let goes = |part: &str, name: &str| {
            let path = format!("{part}.{name}");
            anew.iter().any(|change| change.path == path || change.path.starts_with(&format!("{path}.")))
        };
        let stands_on = |found: &&Found| {
            let networks: Vec<String> = match (found.spec.networks.is_empty(), &found.spec.network_mode) {
                (true, None) => vec!["default".to_owned()],
                _ => found.spec.networks.keys().cloned().collect(),
            };
            networks.iter().any(|name| goes("networks", name))
                || found.spec.volumes.iter().filter_map(|mount| mount.source.as_ref()).any(|name| goes("volumes", name))
        };
        let standing: Vec<&Found> = seen.containers.iter().filter(stands_on).collect();
        for wave in down_order(standing) {
            go_down(work, &wave, Nameless::Stay).await?;
        }
        parts::remove(&self.engine, &work.stack.name, seen, &anew).await?;
        self.look(&work.stack.name).await
    }

    /// What is left of a stack, as changes that remove it, its volumes included.
    pub(super) fn everything_goes(&self, seen: &Seen) -> Vec<Change> {
        let paths = seen.networks.keys().chain(seen.volumes.keys());
        paths.map(|path| Change::new(ChangeKind::Delete, path)).collect()
    }

    /// Gives containers the names they should have, where another had them when they were made.
    async fn give_names(&self, work: &Work<'_>, seen: &Seen) -> Result<(), TargetError> {
        for found in seen.containers.iter().filter(|found| found.identity.is_some()) {
            let Some(service) = work.stack.services.get(&found.service) else { continue };
            let wanted = work.called(&found.service, service, found.instance);
            if found.inspect.name.as_deref().is_some_and(|name| name.trim_start_matches('/') != wanted) {
                work.rename(found, &wanted).await?;
            }
        }
        Ok(())
    }
}
