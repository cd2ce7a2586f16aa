//! A target that lives in memory: real semantics, no processes.
//!
//! ```
//! use windflow_core::target::{Applied, Context, MemoryTarget, Process, Service, Stack, TargetExt};
//! use windflow_core::{ServiceName, StackName};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let target = MemoryTarget::new("memory".parse()?, "docs".parse()?);
//! let process = Process { command: vec!["server".into()], search: vec![], working_dir: None };
//! let web = Service { process: Some(process), ..Service::default() };
//! let stack = Stack::new(StackName::new("shop")?, [(ServiceName::new("web")?, web)].into());
//! let cx = Context::new("first deployment");
//! assert_eq!(target.deploy(&cx, stack.clone()).await?, Applied::Revision(Some(1)));
//! assert_eq!(target.deploy(&cx, stack).await?, Applied::Nothing);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::json;

use super::memory_world::{Deployed, World};
use super::{
    Applied, Capabilities, ChangeKind, Context, Desired, Discovered, Exec, Feature, Fingerprint, Health, LogLine,
    LogOptions, MemoryFaults, Observed, Plan, PlanError, Promote, Revision, Service, ServiceRef, Session, Stack,
    Target, TargetError, TargetErrorKind, diff,
};
use crate::id::{OwnerId, ServiceName, StackName, TargetName};

/// The label by which a service of a [`MemoryTarget`] says how it turns out: `healthy`, `starting`, `unhealthy`,
/// `completed` or `failed`.
pub const MEMORY_HEALTH_LABEL: &str = "windflow.memory.health";

/// A place in memory where stacks live; clones share it.
#[derive(Clone, Debug)]
pub struct MemoryTarget {
    name: TargetName,
    owner: OwnerId,
    capabilities: Arc<Capabilities>,
    world: Arc<World>,
}

impl MemoryTarget {
    /// A fresh, empty place.
    #[must_use]
    pub fn new(name: TargetName, owner: OwnerId) -> Self {
        let capabilities = Capabilities::new("memory")
            .with_features([Feature::Logs, Feature::Discover, Feature::Adopt, Feature::Promote, Feature::WatchEvents])
            .with_service_fields(["image", "process", "command", "environment", "ports", "depends_on", "healthcheck"])
            .with_service_fields(["restart", "replicas", "stop_signal", "stop_grace_period", "labels", "rollout"])
            .with_max_replicas(100);
        Self { name, owner, capabilities: Arc::new(capabilities), world: Arc::default() }
    }

    /// The same place as another owner sees it.
    #[must_use]
    pub fn for_owner(&self, owner: OwnerId) -> Self {
        Self { owner, ..self.clone() }
    }

    /// Scripted trouble, for tests of what stands above a target.
    #[must_use]
    pub fn faults(&self) -> MemoryFaults {
        MemoryFaults(Arc::clone(&self.world))
    }

    /// How many calls have changed something.
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.world.mutations()
    }

    /// Changes a service behind the target's back; what drift is found from. Says whether it was there.
    pub fn meddle(&self, stack: &StackName, service: &ServiceName, change: impl FnOnce(&mut Service)) -> bool {
        self.world.edit(&self.owner, stack, |deployed| deployed.services.get_mut(service).map(change).is_some())
    }

    /// Makes a service say something.
    pub fn say(&self, stack: &StackName, line: LogLine) {
        self.world.edit(&self.owner, stack, |deployed| deployed.log.push(line));
    }

    pub(super) fn error(
        &self,
        stack: &StackName,
        kind: TargetErrorKind,
        message: impl std::fmt::Display,
    ) -> TargetError {
        TargetError::new(&self.name, kind, message).in_stack(stack)
    }

    /// One call that changes something: it may be cut before, fail, happen and lose its answer, or be cut after.
    pub(super) async fn mutate<R>(
        &self,
        stack: &StackName,
        change: impl FnOnce(&mut Deployed) -> R,
    ) -> Result<R, TargetError> {
        tokio::task::yield_now().await;
        self.reach()?;
        let fault = self.world.count_mutation();
        if fault.fails {
            return Err(self.error(stack, TargetErrorKind::Transient, "a scripted failure"));
        }
        let done = self.world.edit(&self.owner, stack, change);
        if fault.cut {
            return Err(self.error(stack, TargetErrorKind::Unknown, "the answer was lost, as scripted"));
        }
        tokio::task::yield_now().await;
        Ok(done)
    }

    /// Tells of every change.
    pub(super) fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.world.changes()
    }

    fn reach(&self) -> Result<(), TargetError> {
        match self.world.is_reachable() {
            true => Ok(()),
            false => Err(TargetError::new(&self.name, TargetErrorKind::Unreachable, "the target does not answer")),
        }
    }

    fn look(&self, stack: &StackName) -> Observed {
        self.world.read(&self.owner, stack, |deployed| deployed.observed(&self.capabilities))
    }

    /// Makes the services those of `stack`, one call each, in start order; what is no longer wanted goes first.
    pub(super) async fn converge(
        &self,
        cx: &Context,
        name: &StackName,
        stack: Option<&Stack>,
    ) -> Result<(), TargetError> {
        let there: Vec<ServiceName> = self.world.read(&self.owner, name, |d| d.services.keys().cloned().collect());
        for service in there {
            if stack.is_none_or(|stack| !stack.services.contains_key(&service)) {
                cx.progress(format_args!("stopping {service}"));
                self.mutate(name, |deployed| deployed.services.remove(&service)).await?;
            }
        }
        for service in stack.into_iter().flat_map(Stack::start_order) {
            let Some(wanted) = stack.and_then(|stack| stack.services.get(service)) else { continue };
            let same = self.world.read(&self.owner, name, |deployed| deployed.services.get(service) == Some(wanted));
            if !same {
                cx.progress(format_args!("starting {service}"));
                self.mutate(name, |deployed| deployed.services.insert(service.clone(), wanted.clone())).await?;
            }
            if cx.cancel().is_cancelled() {
                return Err(self.error(name, TargetErrorKind::Cancelled, "stopped between two services"));
            }
        }
        Ok(())
    }

    /// Waits until all is ready; the reason when it will not be.
    async fn verdict(&self, cx: &Context, stack: &StackName) -> Result<Option<String>, TargetError> {
        let mut watch = Box::pin(self.watch(cx, stack));
        loop {
            let observed = tokio::select! {
                biased;
                () = cx.cancel().cancelled() => None,
                next = watch.next() => next,
            };
            let Some(observed) = observed.transpose()? else {
                return Err(self.error(stack, TargetErrorKind::Cancelled, "stopped waiting for health"));
            };
            let bad = observed.services.iter().find_map(|(name, service)| match &service.health {
                Health::Failed { why } | Health::Unhealthy { why } => Some(format!("{name}: {why}")),
                _ => None,
            });
            if bad.is_some() || observed.services.values().all(|service| service.health.is_ready()) {
                return Ok(bad);
            }
        }
    }
}

#[async_trait]
impl Target for MemoryTarget {
    fn name(&self) -> &TargetName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self, _: &Context) -> Result<Fingerprint, TargetError> {
        self.reach()?;
        Ok(Fingerprint::new(env!("CARGO_PKG_VERSION"), std::env::consts::ARCH))
    }

    async fn observe(&self, _: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        self.reach()?;
        Ok(self.look(stack))
    }

    fn watch(&self, _: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        let (this, stack, changes) = (self.clone(), stack.clone(), self.world.changes());
        stream::unfold((changes, true), move |(mut changes, first)| {
            let (this, stack) = (this.clone(), stack.clone());
            async move {
                if !first {
                    changes.changed().await.ok()?;
                }
                changes.borrow_and_update();
                let item = this.reach().map(|()| this.look(&stack));
                Some((item, (changes, false)))
            }
        })
        .boxed()
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        if let Desired::Present(stack) = desired {
            diff::refuse(stack, &self.capabilities, &self.name)?;
        }
        let mut plan = Plan::on(cx, &self.owner, &self.name, desired, observed);
        if let Desired::Present(stack) = desired {
            plan.degradations = diff::degradations(stack, &self.capabilities);
        }
        plan.changes = diff::changes(desired, observed, &self.capabilities, |_| ChangeKind::Update);
        self.plan_beside(&mut plan, observed)?;
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        let name = plan.desired.stack();
        self.reach()?;
        diff::check_bound(plan, &self.owner, &self.name)?;
        let observed = self.look(name);
        if let Some(done) = self.apply_beside(cx, plan, &observed).await {
            return done;
        }
        let doing = self.world.read(&self.owner, name, |deployed| deployed.doing.clone());
        let mine = (plan.intent(), cx.key().to_owned());
        if doing.as_ref() != Some(&mine) {
            if let Some(done) = diff::already(plan, &observed, cx.key(), &self.capabilities) {
                return Ok(done);
            }
            diff::check_moved(plan, &observed, &self.name)?;
            self.mutate(name, |deployed| deployed.doing = Some(mine)).await?;
        }
        let Desired::Present(stack) = &plan.desired else {
            self.converge(cx, name, None).await?;
            self.mutate(name, Deployed::clear).await?;
            return Ok(Applied::Revision(None));
        };
        self.converge(cx, name, Some(stack)).await?;
        let Some(why) = self.verdict(cx, name).await? else {
            let current = observed.current.as_ref().filter(|current| !diff::is_revision(stack, current));
            if let Some(staged) = self.stage(cx, stack, current).await? {
                return Ok(staged);
            }
            let now = cx.clock().now();
            let number = self.mutate(name, |deployed| deployed.record(stack, cx.key(), now, false)).await?;
            return Ok(Applied::Revision(Some(number)));
        };
        cx.progress(format_args!("rolling back: {why}"));
        let base = observed.current.map(|current| current.stack);
        self.converge(cx, name, base.as_ref()).await?;
        self.mutate(name, |deployed| match base.is_some() {
            true => deployed.doing = None,
            false => deployed.clear(),
        })
        .await?;
        Ok(Applied::RolledBack { to: plan.base, why })
    }

    async fn promote(&self, cx: &Context, stack: &StackName, verdict: Promote) -> Result<Applied, TargetError> {
        self.decide(cx, stack, verdict).await
    }

    async fn adopt(&self, cx: &Context, found: &Discovered, stack: &Desired) -> Result<Revision, TargetError> {
        self.reach()?;
        let gone = || self.error(&found.name, TargetErrorKind::NotFound, "what was discovered is no longer there");
        let from = found.owner.as_deref().and_then(|owner| OwnerId::new(owner).ok()).ok_or_else(gone)?;
        let Desired::Present(wanted) = stack else {
            return Err(self.error(&found.name, TargetErrorKind::Refused, "absence cannot be adopted"));
        };
        if !self.look(&wanted.name).is_absent() {
            return Err(self.error(&wanted.name, TargetErrorKind::Conflict, "a stack of ours has that name"));
        }
        let services = self.world.take(&from, &found.name).ok_or_else(gone)?;
        let now = cx.clock().now();
        self.mutate(&wanted.name, |deployed| {
            deployed.services = services;
            deployed.record(wanted, cx.key(), now, true);
        })
        .await?;
        self.look(&wanted.name).current.ok_or_else(gone)
    }

    async fn stacks(&self, _: &Context) -> Result<Vec<StackName>, TargetError> {
        self.reach()?;
        Ok(self.world.stacks(&self.owner))
    }

    async fn revisions(&self, _: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
        self.reach()?;
        Ok(self.world.read(&self.owner, stack, |deployed| deployed.revisions.clone()))
    }

    async fn discover(&self, _: &Context) -> Result<Vec<Discovered>, TargetError> {
        self.reach()?;
        let found = self.world.foreign(&self.owner).into_iter();
        Ok(found.map(|(owner, name, services)| Discovered::new(name, Some(owner), services, json!({}))).collect())
    }

    fn logs(
        &self,
        _: &Context,
        of: &ServiceRef,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, TargetError>> {
        if let Err(error) = self.reach() {
            return stream::iter([Err(error)]).boxed();
        }
        let (this, of) = (self.clone(), of.clone());
        let tail = options.tail;
        stream::unfold((self.world.changes(), 0, true), move |(mut changes, from, first)| {
            let (this, of) = (this.clone(), of.clone());
            async move {
                if !first {
                    if !options.follow || this.look(&of.stack).is_absent() {
                        return None;
                    }
                    changes.changed().await.ok()?;
                }
                changes.borrow_and_update();
                let (mut lines, next) = this.world.read(&this.owner, &of.stack, |deployed| {
                    let wanted = |line: &&LogLine| {
                        of.service.as_ref().is_none_or(|service| *service == line.service)
                            && of.instance.is_none_or(|instance| instance == line.instance)
                    };
                    let new = deployed.log.iter().skip(from).filter(wanted).cloned().collect::<Vec<LogLine>>();
                    (new, deployed.log.len())
                });
                if let (true, Some(tail)) = (first, tail) {
                    lines.drain(..lines.len().saturating_sub(tail));
                }
                Some((stream::iter(lines.into_iter().map(Ok)), (changes, next, false)))
            }
        })
        .flatten()
        .boxed()
    }

    async fn exec(&self, _: &Context, of: &ServiceRef, _: Exec) -> Result<Session, TargetError> {
        Err(TargetError::unsupported(&self.name, "running commands").in_stack(&of.stack))
    }
}
