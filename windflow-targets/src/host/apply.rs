//! Applying a plan: order it of the supervisor, wait for health, record it or take it back.

use std::collections::BTreeMap;
use std::io;

use tokio::time::{Instant, timeout_at};
use windflow_core::target::{
    Applied, Context, Desired, EnvValue, Health, Plan, Stack, Target as _, TargetError, TargetErrorKind, diff,
};
use windflow_core::{ContentHash, ServiceName, StackName};

use super::HostTarget;
use super::layout::StackDir;
use super::observe::Seen;
use super::render;
use super::revisions;
use super::state::{Doing, Order, RunSpec, StackSpec, StackState, decode};

/// The values of secrets, by service and variable.
type Values = BTreeMap<ServiceName, BTreeMap<String, String>>;

impl HostTarget {
    pub(super) async fn carry_out(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let name = plan.desired.stack();
        diff::check_bound(plan, &self.config.owner, &self.config.name)?;
        if !self.config.root.is_absolute() {
            let at = self.config.root.display();
            return Err(self.error(name, TargetErrorKind::Refused, format_args!("the root {at} is not absolute")));
        }
        let dir = self.dir(name);
        if matches!(plan.desired, Desired::Absent(_))
            && self.machine.list(dir.path()).await.map_err(self.failed(name))?.is_empty()
        {
            return Ok(Applied::Nothing);
        }
        if let (Desired::Present(_), Some(user)) =
            (&plan.desired, self.machine.foreign_owner(dir.path()).await.map_err(self.failed(name))?)
        {
            // It would run as another user from then on, and the one it belongs to would be locked out.
            let what = format_args!("{} belongs to user {user}", dir.path().display());
            let hint = "apply as that user, or destroy the stack first";
            return Err(self.error(name, TargetErrorKind::Denied, what).with_hint(hint));
        }
        let lock = self.machine.lock(&dir.apply_lock(), self.config.lock_patience).await.map_err(self.failed(name))?;
        let Some(_lock) = lock else {
            let what = "another apply of this stack is under way";
            return Err(self.error(name, TargetErrorKind::Conflict, what).with_hint("wait for it, then plan again"));
        };
        let done = self.carry_out_alone(cx, plan, &dir).await;
        if done.is_err() {
            // Refused before anything was touched: not even a folder stays.
            let _ = self.remove_if_untouched(&dir).await;
        }
        done
    }

    async fn remove_if_untouched(&self, dir: &StackDir) -> io::Result<()> {
        let only_lock =
            self.machine.list(dir.path()).await?.iter().all(|name| dir.path().join(name) == dir.apply_lock());
        if only_lock {
            self.machine.remove(dir.path()).await?;
            self.machine.remove_empty(dir.owner_dir()).await?;
        }
        Ok(())
    }

    /// With the lock held.
    async fn carry_out_alone(&self, cx: &Context, plan: &Plan, dir: &StackDir) -> Result<Applied, TargetError> {
        let name = plan.desired.stack();
        let seen = self.seen(dir).await.map_err(self.failed(name))?;
        let observed = seen.observed(self.capabilities());
        let mine = Doing { intent: plan.intent(), key: cx.key().to_owned() };
        let continues = self.doing(dir).await.map_err(self.failed(name))?.as_ref() == Some(&mine);
        let ready = observed.services.values().all(|service| service.health.is_ready());
        if (ready || !continues)
            && self.changes(&plan.desired, &observed, &seen).await?.is_empty()
            && let Some(done) = diff::already(plan, &observed, cx.key(), self.capabilities())
        {
            if continues {
                self.machine.remove(&dir.intent()).await.map_err(self.failed(name))?;
            }
            return Ok(done);
        }
        if !continues {
            diff::check_moved(plan, &observed, &self.config.name)?;
        }
        match &plan.desired {
            Desired::Present(stack) => self.bring_up(cx, dir, stack, &mine, &seen).await,
            Desired::Absent(_) => {
                match self.note(dir, &mine).await {
                    // What frees space must not need any: a removal that is cut can be seen without this.
                    Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                    }
                    noted => noted.map_err(self.failed(name))?,
                }
                cx.progress(format_args!("stopping {name}"));
                self.take_down(cx, dir, &seen).await.map_err(self.failed(name))?;
                Ok(Applied::Revision(None))
            }
        }
    }

    async fn doing(&self, dir: &StackDir) -> io::Result<Option<Doing>> {
        let path = dir.intent();
        self.machine.read(&path).await?.map(|bytes| decode(&path, &bytes)).transpose()
    }

    /// Writes down what is being done, so that whoever comes after a cut knows it for their own.
    async fn note(&self, dir: &StackDir, doing: &Doing) -> io::Result<()> {
        self.machine.write(&dir.intent(), serde_json::to_vec(doing)?).await
    }

    async fn bring_up(
        &self,
        cx: &Context,
        dir: &StackDir,
        stack: &Stack,
        mine: &Doing,
        seen: &Seen,
    ) -> Result<Applied, TargetError> {
        let name = &stack.name;
        if let Some((service, _, why)) = self.taken_ports(stack, seen).await.map_err(self.failed(name))?.pop() {
            return Err(self
                .error(name, TargetErrorKind::Refused, why)
                .in_service(&service)
                .with_hint("nothing was changed: stop that process, or choose another port"));
        }
        // What is current already is only put right again, and stays the revision it is.
        let restored = seen.current.as_ref().filter(|current| diff::is_revision(stack, current));
        let spec = self.spec(stack, mine.intent, seen.spec.as_ref()).await?;
        // Before anything is touched: a secret that is not there must not cost a running service.
        let values = self.values(cx, &spec).await?;
        self.note(dir, mine).await.map_err(self.failed(name))?;
        let Some(why) = self.run(cx, dir, &spec, values).await? else {
            let number = match restored {
                Some(current) => current.number,
                None => {
                    let recorded = revisions::record(&*self.machine, dir, stack, cx.key(), cx.clock().now()).await;
                    recorded.map_err(|error| {
                        let what = format!("what was asked for runs and cannot be recorded: {error}");
                        self.failed(name)(io::Error::new(error.kind(), what))
                    })?
                }
            };
            self.machine.remove(&dir.intent()).await.map_err(self.failed(name))?;
            return Ok(Applied::Revision(Some(number)));
        };
        let why = cx.masker().mask(&why);
        if let Some(current) = restored {
            self.machine.remove(&dir.intent()).await.map_err(self.failed(name))?;
            let what = format!("revision {} does not come up again: {why}", current.number);
            return Err(self
                .error(name, TargetErrorKind::Unhealthy, what)
                .with_hint("there is nothing else to go back to: put it right and apply again, or roll back further"));
        }
        cx.progress(format_args!("going back: {why}"));
        let Some(base) = &seen.current else {
            let seen = self.seen(dir).await.map_err(self.failed(name))?;
            self.take_down(cx, dir, &seen).await.map_err(self.failed(name))?;
            return Ok(Applied::RolledBack { to: None, why });
        };
        let back = ContentHash::of_value(&serde_json::json!({ "back from": mine.intent, "to": base.number }));
        let back = async {
            let spec = self.spec(&base.stack, back, Some(&spec)).await?;
            let values = self.values(cx, &spec).await?;
            self.run(cx, dir, &spec, values).await
        };
        let back = back.await.map_err(|mut error: TargetError| {
            let number = base.number;
            error.message = format!("{why}; and revision {number} cannot be made current again: {}", error.message);
            error
        });
        let worse = back?;
        self.machine.remove(&dir.intent()).await.map_err(self.failed(name))?;
        match worse {
            None => Ok(Applied::RolledBack { to: Some(base.number), why }),
            Some(worse) => {
                let worse = cx.masker().mask(&worse);
                Err(TargetError::not_back(&self.config.name, &why, base.number, &worse).in_stack(name))
            }
        }
    }

    async fn spec(
        &self,
        stack: &Stack,
        intent: ContentHash,
        before: Option<&StackSpec>,
    ) -> Result<StackSpec, TargetError> {
        let (programs, problems) = self.programs(stack).await.map_err(self.failed(&stack.name))?;
        match problems.into_iter().next() {
            Some((path, why)) => Err(self.error(&stack.name, TargetErrorKind::Refused, format_args!("{path}: {why}"))),
            None => Ok(render::render(stack, intent, &programs, &self.config.search_path, before)),
        }
    }

    async fn values(&self, cx: &Context, spec: &StackSpec) -> Result<Values, TargetError> {
        let mut values = Values::new();
        for (name, run) in spec.services.iter().filter(|(_, run)| run.needs_secrets()) {
            values.insert(name.clone(), self.secrets_of(cx, &spec.stack.name, name, run).await?);
        }
        Ok(values)
    }

    /// The values of a service's secrets now.
    pub(super) async fn secrets_of(
        &self,
        cx: &Context,
        stack: &StackName,
        service: &ServiceName,
        run: &RunSpec,
    ) -> Result<BTreeMap<String, String>, TargetError> {
        let mut values = BTreeMap::new();
        for (variable, value) in &run.environment {
            let EnvValue::Secret(reference) = value else { continue };
            let secret = cx.secret(reference).await.map_err(|error| {
                let what = format_args!("environment.{variable}: {error}").to_string();
                self.error(stack, TargetErrorKind::Refused, what).in_service(service)
            })?;
            values.insert(variable.clone(), secret.expose().to_owned());
        }
        Ok(values)
    }

    /// Has the supervisor run this and waits for health; the reason when it will not come.
    async fn run(
        &self,
        cx: &Context,
        dir: &StackDir,
        spec: &StackSpec,
        secrets: Values,
    ) -> Result<Option<String>, TargetError> {
        let name = &spec.stack.name;
        let until = Instant::now() + self.config.health_timeout;
        let order = Order::Run { spec: Box::new(spec.clone()), secrets };
        let mut told = None;
        let mut tries = 0;
        loop {
            let verdict = tokio::select! {
                biased;
                () = stopped(cx) => {
                    let waiting = self.waiting(cx, spec, told.as_ref()).await;
                    let (kind, what) = match cx.deadline().is_some_and(|deadline| deadline <= cx.clock().now()) {
                        true => (TargetErrorKind::Unhealthy, "not healthy when time was up"),
                        false => (TargetErrorKind::Cancelled, "stopped while waiting for health"),
                    };
                    return Err(self.error(name, kind, format_args!("{what}: {waiting}")).with_hint("apply again to go on"));
                }
                verdict = self.verdict(cx, dir, &order, spec, until, &mut told) => verdict,
            };
            tries += 1;
            match verdict {
                Ok(verdict) => return Ok(verdict),
                // Killed in the middle: the next one goes on with the same order.
                Err(error) if tries < 3 && error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(self.failed(name)(error)),
            }
        }
    }

    async fn verdict(
        &self,
        cx: &Context,
        dir: &StackDir,
        order: &Order,
        spec: &StackSpec,
        until: Instant,
        told: &mut Option<StackState>,
    ) -> io::Result<Option<String>> {
        let mut link = self.reach(dir, order).await?;
        let mut before: BTreeMap<ServiceName, Health> = BTreeMap::new();
        loop {
            let Ok(state) = timeout_at(until, link.state()).await else {
                let waiting = self.waiting(cx, spec, told.as_ref()).await;
                let seconds = self.config.health_timeout.as_secs();
                return Ok(Some(format!("not healthy within {seconds} s: {waiting}")));
            };
            let state = told.insert(state?);
            let now = healths(spec, state);
            for (name, health) in &now {
                if before.get(name) != Some(health) {
                    cx.progress(format_args!("{name} is {}", word(health)));
                }
            }
            let bad = now.iter().find_map(|(name, health)| match health {
                Health::Failed { why } | Health::Unhealthy { why } => Some(format!("{name}: {why}")),
                _ => None,
            });
            if bad.is_some() || now.values().all(Health::is_ready) {
                return Ok(bad);
            }
            before = now;
        }
    }
}

/// Returns when the call should come to its end: it was cancelled, or its time is up.
async fn stopped(cx: &Context) {
    let deadline = async {
        match cx.deadline() {
            Some(deadline) => cx.clock().sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = cx.cancel().cancelled() => {}
        () = deadline => {}
    }
}

/// The health of each service of the spec: the worst of its instances'.
fn healths(spec: &StackSpec, state: &StackState) -> BTreeMap<ServiceName, Health> {
    let of = |name: &ServiceName, run: &RunSpec| {
        let instances = state.services.get(name);
        let health = |n| instances.and_then(|i| i.get(&n)).map_or(Health::Starting, |found| found.health.clone());
        let all: Vec<Health> = (0..run.replicas).map(health).collect();
        let bad = all.iter().find(|h| matches!(h, Health::Failed { .. } | Health::Unhealthy { .. }));
        let late = || all.iter().find(|health| !health.is_ready());
        bad.or_else(late).or(all.first()).cloned().unwrap_or(Health::Completed)
    };
    spec.services.iter().map(|(name, run)| (name.clone(), of(name, run))).collect()
}

fn word(health: &Health) -> &'static str {
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy { .. } => "unhealthy",
        Health::Completed => "done",
        Health::Failed { .. } => "failed",
        _ => "stopped",
    }
}
