//! Applying a plan: what services share, then the services in the order in which they need each other, then health; and
//! it is recorded, or taken back.

use bollard::models::Service;
use tokio::time::Instant;
use windflow_core::target::{
    Applied, Condition, Context, Desired, Observed, Plan, Revision, Stack, TargetError, TargetErrorKind, diff,
};
use windflow_core::{ServiceName, StackName};

use super::SwarmTarget;
use super::bake::is_baking;
use super::bake_plan::{in_the_way, to_stage};
use super::converge::Track;
use super::look::{Look, name_of};
use super::observe;
use super::records::Records;
use super::render::Bound;
use super::services::superfluous;
use super::sides::{mark_for, mark_of};
use crate::engine::NO_MANAGER;
use crate::engine::doing::Doing;
use crate::engine::values::Values;

impl SwarmTarget {
    pub(super) fn in_force(&self, stack: &StackName, look: &Look) -> Observed {
        observe::observed(&self.config.owner, stack, look, &self.capabilities)
    }

    pub(super) async fn carry_out(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let name = plan.desired.stack();
        diff::check_bound(plan, &self.config.owner, &self.config.name)?;
        let mut look = self.look(name).await?;
        if let Desired::Present(_) = plan.desired {
            self.check_staged(name, &look.records)?;
        }
        if let (true, Some(current)) = (look.records.is_promoted(), look.records.current()) {
            self.end_promotion(cx, &current.stack, &look.records).await?;
            look = self.look(name).await?;
        }
        let volumes = plan.consents.allows_destroy("volume");
        let keeps_nothing = !volumes || look.our_volumes().is_empty();
        if matches!(plan.desired, Desired::Absent(_)) && look.is_empty() && keeps_nothing {
            return Ok(Applied::Nothing);
        }
        let observed = self.in_force(name, &look);
        let mine = Doing::applying(plan, cx);
        if let Some(stack) = is_baking(&plan.desired, &look) {
            return Box::pin(self.apply_while_baking(cx, plan, stack, &observed, &look, &mine)).await;
        }
        let continues = look.records.doing.as_ref().is_some_and(|(_, doing)| *doing == mine);
        let ready = observed.services.values().all(|service| service.health.is_ready());
        let values = match &plan.desired {
            // Before anything is touched: a secret that is not there must not cost a running service.
            Desired::Present(stack) => self.values(cx, stack).await?,
            Desired::Absent(_) => Values::default(),
        };
        if (ready || !continues)
            && self.changes(cx, &plan.desired, &observed, &look, Some(&values)).is_empty()
            && let Some(done) = diff::already(plan, &observed, cx.key(), &self.capabilities)
        {
            // One that was cut at its very end has left its record: whoever looks next ends it.
            let is_done = |doing: &Doing| {
                doing.key == cx.key() || look.records.current().is_some_and(|current| current.key == doing.key)
            };
            if let Some((_, doing)) = look.records.doing.as_ref().filter(|(_, doing)| is_done(doing)) {
                self.done(name, doing).await?;
            }
            return Ok(done);
        }
        // What a cut of the same has changed, perhaps only since the plan was made, is nobody else's change.
        if look.records.doing.as_ref().is_none_or(|(_, doing)| doing.intent != mine.intent) {
            diff::check_moved(plan, &observed, &self.config.name)?;
        }
        match &plan.desired {
            Desired::Present(stack) => Box::pin(self.bring_up(cx, plan, stack, &mine, values, look)).await,
            Desired::Absent(_) => {
                self.note(name, &mine, &look.records).await?;
                self.take_down(cx, name, volumes).await?;
                Ok(Applied::Revision(None))
            }
        }
    }

    async fn bring_up(
        &self,
        cx: &Context,
        plan: &Plan,
        stack: &Stack,
        mine: &Doing,
        values: Values,
        mut look: Look,
    ) -> Result<Applied, TargetError> {
        let name = &stack.name;
        self.check_size(stack)?;
        self.check_volumes(stack, &look)?;
        let current = look.records.current().cloned();
        // What is current already is only put right again, and stays the revision it is.
        let restored = current.as_ref().filter(|current| diff::is_revision(stack, current));
        let was_empty = look.is_empty();
        let observed = self.in_force(name, &look);
        let changes = self.changes(cx, &plan.desired, &observed, &look, Some(&values));
        let staged = to_stage(stack, &look, &changes, &values);
        let problems: Vec<(String, String)> = staged.iter().flat_map(|name| in_the_way(name, stack, &look)).collect();
        if let Some((path, why)) = problems.first() {
            return Err(self.error(name, TargetErrorKind::Refused, format_args!("{path}: {why}")));
        }
        let (base, is_lost) = (look.records.base().cloned(), look.records.are_lost() && !look.services.is_empty());
        self.note(name, mine, &look.records).await?;
        // What a cut has left beside and is not gone on with goes first.
        let mark = base.as_ref().map(|base| mark_for(stack, base));
        for (service, set) in look.beside.iter().filter_map(|set| Some((name_of(set)?, set))) {
            if !staged.contains(&service) || mark_of(set) != mark.as_deref() {
                self.remove_service(cx, &service, set).await?;
            }
        }
        if let (Some(base), false) = (&base, staged.is_empty()) {
            return Box::pin(self.stage(cx, stack, staged, base, mine, &values, &look)).await;
        }
        let ran = self.run(cx, stack, &values, &mut look).await;
        if let Err(error) = &ran
            && was_empty
            && matches!(error.kind, TargetErrorKind::Refused | TargetErrorKind::Denied | TargetErrorKind::NotFound)
        {
            // It was refused, and will be again: nothing of a first attempt stays.
            let _ = self.take_down(cx, name, false).await;
        }
        let verdict = ran?;
        let records = self.still_ours(name, mine).await?;
        let Some(why) = verdict else {
            let number = match restored {
                Some(current) => current.number,
                None => {
                    // One that was cut after this had been recorded has its revision already.
                    match records
                        .current()
                        .filter(|last| last.key == cx.key() && Some(last.number) != plan.base && last.stack == *stack)
                    {
                        Some(last) => last.number,
                        None => self.record_revision(cx, stack, &records, false).await?.number,
                    }
                }
            };
            self.tidy(cx, stack, false).await?;
            self.done(name, mine).await?;
            return Ok(Applied::Revision(Some(number)));
        };
        let why = cx.masker().mask(&why);
        if let Some(current) = restored {
            self.done(name, mine).await?;
            let what = format!("revision {} does not come up again: {why}", current.number);
            return Err(self
                .error(name, TargetErrorKind::Unhealthy, what)
                .with_hint("there is nothing else to go back to: put it right and apply again, or roll back further"));
        }
        if is_lost {
            self.done(name, mine).await?;
            let what = format!("{why}; no revision is on record to go back to, and what runs is left as it is");
            let error = self.error(name, TargetErrorKind::Unhealthy, what);
            return Err(error.with_hint("put it right and apply again"));
        }
        match base {
            Some(base) => self.go_back(cx, &base, why, mine).await,
            None => {
                cx.progress(format_args!("going back: {why}"));
                self.take_down(cx, name, false).await?;
                Ok(Applied::RolledBack { to: None, why })
            }
        }
    }

    /// Has the Swarm run what is current again.
    pub(super) async fn go_back(
        &self,
        cx: &Context,
        base: &Revision,
        why: String,
        mine: &Doing,
    ) -> Result<Applied, TargetError> {
        let (name, number) = (&base.stack.name, base.number);
        cx.progress(format_args!("going back: {why}"));
        let back = async {
            let values = self.values(cx, &base.stack).await?;
            let mut look = self.look(name).await?;
            self.run(cx, &base.stack, &values, &mut look).await
        };
        let back = back.await.map_err(|mut error: TargetError| {
            error.message = format!("{why}; and revision {number} cannot be made current again: {}", error.message);
            error
        });
        let worse = back?;
        self.tidy(cx, &base.stack, false).await?;
        self.done(name, mine).await?;
        match worse {
            None => Ok(Applied::RolledBack { to: Some(number), why }),
            Some(worse) => {
                let worse = cx.masker().mask(&worse);
                Err(TargetError::not_back(&self.config.name, &why, number, &worse).in_stack(name))
            }
        }
    }

    /// What is on record, unless another apply has begun since: then what is there is its.
    pub(super) async fn still_ours(&self, stack: &StackName, mine: &Doing) -> Result<Records, TargetError> {
        let records = self.records(stack).await?;
        if records.doing.as_ref().is_some_and(|(_, doing)| doing == mine) {
            return Ok(records);
        }
        let what = "somebody else changes this stack at the same time";
        let error = self.error(stack, TargetErrorKind::Conflict, what);
        Err(error.with_hint("see what is there with `status`, and plan again"))
    }

    /// Has the Swarm run this and waits for health; the reason when it will not come.
    pub(super) async fn run(
        &self,
        cx: &Context,
        stack: &Stack,
        values: &Values,
        look: &mut Look,
    ) -> Result<Option<String>, TargetError> {
        let until = Instant::now() + self.config.health_timeout;
        let mut track = Track::new(self.pulse().await?, until, look);
        let bound = self.ensure_parts(cx, stack, values, look).await?;
        self.make_room(cx, stack, look).await?;
        for name in stack.start_order() {
            if let Some(why) = self.begin(cx, stack, name, &bound, values, look, &mut track).await? {
                return Ok(Some(why));
            }
        }
        self.wait_for(cx, stack, None, look, &mut track).await
    }

    /// One service, after what it needs.
    #[expect(clippy::too_many_arguments, reason = "all of them are what an apply holds in hand")]
    async fn begin(
        &self,
        cx: &Context,
        stack: &Stack,
        name: &ServiceName,
        bound: &Bound,
        values: &Values,
        look: &mut Look,
        track: &mut Track,
    ) -> Result<Option<String>, TargetError> {
        let needs: Vec<(ServiceName, Condition)> = stack.services[name]
            .depends_on
            .iter()
            .filter(|(need, _)| stack.services.contains_key(*need))
            .map(|(need, dependency)| (need.clone(), dependency.condition))
            .collect();
        // What was touched before has to come as far as this one asks; what was not touched, too.
        if !needs.is_empty()
            && let Some(why) = self.wait_for(cx, stack, Some(&needs), look, track).await?
        {
            return Ok(Some(why));
        }
        match self.ensure_service(cx, stack, name, bound, values, look).await {
            Ok(false) => {}
            Ok(true) => drop(track.touched.insert(name.clone(), Instant::now())),
            Err(error) => return refused_by_the_swarm(error).map(|why| Some(format!("{name}: {why}"))),
        }
        Ok(None)
    }

    /// Services that go and hold a port that another one wants go first; the others when the new ones are healthy.
    async fn make_room(&self, cx: &Context, stack: &Stack, look: &Look) -> Result<(), TargetError> {
        let wanted: Vec<u16> = stack.services.values().flat_map(|s| &s.ports).filter_map(|p| p.published).collect();
        let beside = |service: &Service| look.beside.iter().any(|set| set.id == service.id);
        for (name, service) in superfluous(look, Some(stack)).into_iter().filter(|(_, service)| !beside(service)) {
            let ports = service.endpoint.iter().flat_map(|endpoint| endpoint.ports.iter().flatten());
            let mut held = ports.filter_map(|port| port.published_port.and_then(|port| u16::try_from(port).ok()));
            if held.any(|port| wanted.contains(&port)) {
                self.remove_service(cx, &name, service).await?;
            }
        }
        Ok(())
    }
}

/// What the Swarm itself would not do is a verdict on what was asked, and others have been changed already; anything else
/// is a failed call.
fn refused_by_the_swarm(error: TargetError) -> Result<String, TargetError> {
    match error.kind {
        // The engine has ceased to be a manager: nothing can be said of what was asked, nor taken back through it.
        _ if error.hint.as_deref() == Some(NO_MANAGER) => Err(error),
        TargetErrorKind::Refused | TargetErrorKind::NotFound => Ok(error.message),
        // A Swarm says 500 to a constraint that is none; without a leader it says so to everything.
        TargetErrorKind::Transient if !error.message.contains("leader") => Ok(error.message),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_what_was_asked_is_a_verdict() {
        let target = windflow_core::TargetName::new("swarm").unwrap();
        let said = |kind, what: &str| TargetError::new(&target, kind, what);
        let refused = said(TargetErrorKind::Refused, "the Swarm says: invalid reference format");
        assert_eq!(refused_by_the_swarm(refused).unwrap(), "the Swarm says: invalid reference format");
        let transient = said(TargetErrorKind::Transient, "the engine says: invalid expression");
        assert_eq!(refused_by_the_swarm(transient).unwrap(), "the engine says: invalid expression");
        let no_leader = said(TargetErrorKind::Transient, "the engine says: The swarm does not have a leader");
        assert_eq!(refused_by_the_swarm(no_leader).unwrap_err().kind, TargetErrorKind::Transient);
        let demoted = said(TargetErrorKind::Refused, "the engine is no manager of a Swarm").with_hint(NO_MANAGER);
        assert_eq!(refused_by_the_swarm(demoted).unwrap_err().kind, TargetErrorKind::Refused);
        let away = said(TargetErrorKind::Unreachable, "connection refused");
        assert_eq!(refused_by_the_swarm(away).unwrap_err().kind, TargetErrorKind::Unreachable);
    }
}
