//! The swarm target: what the contract asks, in terms of a Swarm.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use windflow_core::target::{
    Applied, Capabilities, Change, ChangeKind, Context, Desired, Discovered, Exec, Fingerprint, Health, LogLine,
    LogOptions, Observed, Plan, PlanError, Promote, Revision, ServiceRef, Session, Stack, Target, TargetError,
    TargetErrorKind, diff,
};
use windflow_core::{StackName, TargetName};

use super::config::SwarmConfig;
use super::look::Look;
use super::parts::OurFile;
use super::{bake_plan, capability, jobs, logs, observe, parts, passed_over, services, volumes, watch};
use crate::engine::mark::own_as_external;
use crate::engine::values::Values;
use crate::engine::{Engine, LastLook};

/// Stacks as services of a Docker Swarm. Clones are handles to the same place.
#[derive(Clone, Debug)]
pub struct SwarmTarget {
    pub(super) config: Arc<SwarmConfig>,
    pub(super) engine: Engine,
    pub(super) capabilities: Arc<Capabilities>,
    /// How many nodes the Swarm had when it was asked last; none before it was.
    pub(super) nodes: Arc<AtomicI64>,
    last: LastLook<Look>,
}

impl SwarmTarget {
    /// Stacks on the Swarm this manager belongs to. Nothing is connected to yet.
    #[must_use]
    pub fn new(config: SwarmConfig) -> Self {
        let engine = Engine::new(config.name.clone(), config.endpoint.clone(), config.patience);
        let capabilities = Arc::new(capability::capabilities());
        Self { config: Arc::new(config), engine, capabilities, nodes: Arc::default(), last: LastLook::default() }
    }

    pub(super) fn error(
        &self,
        stack: &StackName,
        kind: TargetErrorKind,
        message: impl std::fmt::Display,
    ) -> TargetError {
        TargetError::new(&self.config.name, kind, message).in_stack(stack)
    }

    /// Everything an apply would do.
    pub(super) fn changes(
        &self,
        cx: &Context,
        desired: &Desired,
        observed: &Observed,
        look: &Look,
        values: Option<&Values>,
    ) -> Vec<Change> {
        let kind = |field: &str| match field {
            "replicas" | "deploy_labels" | "update_config" | "rollback_config" | "depends_on" | "rollout"
            | "placement" => ChangeKind::Update,
            _ => ChangeKind::Replace,
        };
        let mut changes = diff::changes(desired, observed, &self.capabilities, kind);
        let agreed = cx.consents().allows_destroy("volume");
        let of_parts = diff::part_changes(desired, observed, &self.capabilities, cx.consents());
        changes.extend(volumes::removals(of_parts, desired, look, agreed));
        let Desired::Present(stack) = desired else {
            if changes.is_empty() && !look.is_empty() {
                let change = Change::new(ChangeKind::Delete, "records");
                changes.push(change.note("what an apply that never came to anything has left"));
            }
            return changes;
        };
        let more = parts::changes(stack, look, values);
        changes.extend(more.into_iter().filter(|change| change.service.is_none() || !observed.services.is_empty()));
        for (name, why) in services::restarting(stack, look) {
            let replaced =
                |change: &Change| change.service.as_ref() == Some(&name) && change.kind != ChangeKind::Update;
            if !changes.iter().any(replaced) {
                let change = Change::new(ChangeKind::Replace, format!("services.{name}")).of(name.clone());
                changes.push(change.note(why));
            }
        }
        for (name, service) in &observed.services {
            let note = match &service.health {
                Health::Stopped => "it is not running; it is started again".to_owned(),
                Health::Failed { why } => format!("{why}; it is tried again"),
                // An apply is not done before it is healthy.
                Health::Starting => "it is starting; it is waited for".to_owned(),
                Health::Unhealthy { why } => format!("it is unhealthy: {why}; it is waited for"),
                _ => continue,
            };
            if stack.services.contains_key(name) && !changes.iter().any(|change| change.service.as_ref() == Some(name))
            {
                let change = Change::new(ChangeKind::Update, format!("services.{name}")).of(name.clone());
                changes.push(change.note(note));
            }
        }
        bake_plan::baking_changes(cx, stack, look, &mut changes);
        changes
    }

    async fn problems(
        &self,
        stack: &Stack,
        observed: &Observed,
        look: &Look,
    ) -> Result<Vec<(String, String)>, TargetError> {
        let allowed = self.config.allow_privileged;
        let mut problems = capability::refusals(stack, &self.capabilities, self.api().await?, allowed);
        for (path, spec) in diff::owned_parts(stack, &self.capabilities) {
            let there = observed.parts.get(&path).filter(|there| **there != spec);
            if path.starts_with("volumes.") && there.is_some() {
                let why = "nodes have made it as it was, and what is in it cannot follow: give it another name";
                problems.push((path, why.to_owned()));
            }
        }
        problems.extend(volumes::in_the_way(stack, look));
        problems.extend(volumes::externals(stack, look));
        for (name, network) in &stack.networks {
            let real = network.name.as_deref().unwrap_or(name);
            let found = look.networks.iter().find(|found| found.name.as_deref() == Some(real));
            let ours = look.our_networks().iter().any(|(_, ours)| found.is_some_and(|found| found.id == ours.id));
            match (network.external, found.is_some()) {
                (true, true) if ours => problems.push((format!("networks.{name}"), own_as_external("network", real))),
                (true, false) => {
                    let why = format!("there is no network '{real}', and it is not ours to make");
                    problems.push((format!("networks.{name}"), why));
                }
                (false, true) if network.name.is_some() && !ours => {
                    let why = format!("the name '{real}' is taken by a network that is not ours");
                    problems.push((format!("networks.{name}.name"), why));
                }
                _ => {}
            }
        }
        let own = parts::files(look);
        for (kind, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
            for (name, file) in files.iter().filter(|(_, file)| file.is_external()) {
                let real = file.name.as_deref().unwrap_or(name);
                let is_one =
                    |own: &OurFile| own.name == real && own.path.split_once('.').is_some_and(|(of, _)| of == kind);
                if own.iter().any(is_one) {
                    let path = format!("{kind}.{name}");
                    problems.push((path, own_as_external(kind.trim_end_matches('s'), real)));
                    continue;
                }
                match self.external(stack, kind, name, file).await {
                    Err(error) if error.kind == TargetErrorKind::Refused => {
                        let why = format!("there is no '{real}', and it is not ours to make");
                        problems.push((format!("{kind}.{name}"), why));
                    }
                    found => drop(found?),
                }
            }
        }
        Ok(problems)
    }
}

#[async_trait]
impl Target for SwarmTarget {
    fn name(&self) -> &TargetName {
        &self.config.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self, _: &Context) -> Result<Fingerprint, TargetError> {
        let manager = self.manager().await?;
        let print = Fingerprint::new(manager.version.clone(), manager.architecture.clone());
        let ipvs = match manager.ipvs {
            Some(true) => "yes",
            Some(false) => "no: services need endpoint_mode dnsrr, and ports mode host",
            None => "unknown",
        };
        let print = print.with("endpoint", self.engine.endpoint().to_string()).with("nodes", manager.nodes.to_string());
        Ok(print.with("virtual addresses", ipvs))
    }

    async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        let look = self.look(stack).await?;
        let mut observed = self.in_force(stack, &look);
        observe::mask(cx.masker(), &mut observed);
        self.last.keep(stack, &observed, look);
        Ok(observed)
    }

    fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        watch::watch(self.clone(), cx.clone(), stack.clone()).boxed()
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        let name = desired.stack();
        let look = match self.last.take(name, observed) {
            Some(look) => look,
            None => self.look(name).await?,
        };
        let mut values = None;
        if let Desired::Present(stack) = desired {
            let problems = self.problems(stack, observed, &look).await?;
            if !problems.is_empty() {
                let target = self.config.name.clone();
                return Err(PlanError::Refused { target, stack: name.clone(), problems });
            }
            self.check_size(stack)?;
            // Only to tell that one has changed, or is not to be had: the apply needs it.
            values = Some(Values::of(cx, stack).await);
        }
        let mut plan = Plan::on(cx, &self.config.owner, &self.config.name, desired, observed);
        if let Desired::Present(stack) = desired {
            plan.degradations = diff::degradations(stack, &self.capabilities);
            plan.degradations.extend(passed_over::told(stack, self.config.probe_ports, self.api().await?));
        }
        let agreed = cx.consents().allows_destroy("volume");
        plan.degradations.extend(volumes::told(desired, observed, &look, agreed));
        let wanted = match desired {
            Desired::Present(stack) => Some(stack),
            Desired::Absent(_) => None,
        };
        let gone = services::superfluous(&look, wanted);
        plan.degradations.extend(jobs::told(&look, gone.into_iter().map(|(_, service)| service)));
        plan.degradations.extend(look.records.unreadable.iter().cloned());
        plan.degradations.extend(values.iter().flat_map(Values::told_missing));
        plan.changes = self.changes(cx, desired, observed, &look, values.as_ref());
        if let Desired::Present(stack) = desired {
            bake_plan::plan_beside(&mut plan, stack, &look, values.as_ref().unwrap_or(&Values::default()))?;
        }
        let is_under_way = look.records.doing.is_some() || look.records.staged().is_some();
        plan.unfinished = plan.is_empty() && is_under_way;
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        Box::pin(self.carry_out(cx, plan)).await
    }

    async fn promote(&self, cx: &Context, stack: &StackName, verdict: Promote) -> Result<Applied, TargetError> {
        Box::pin(self.decide(cx, stack, verdict)).await
    }

    async fn adopt(&self, cx: &Context, found: &Discovered, stack: &Desired) -> Result<Revision, TargetError> {
        Box::pin(self.take_over(cx, found, stack)).await
    }

    async fn stacks(&self, _: &Context) -> Result<Vec<StackName>, TargetError> {
        self.our_stacks().await
    }

    async fn revisions(&self, _: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
        Ok(self.records(stack).await?.revisions.into_iter().map(|(_, revision)| revision).collect())
    }

    async fn discover(&self, _: &Context) -> Result<Vec<Discovered>, TargetError> {
        self.others().await
    }

    fn logs(
        &self,
        cx: &Context,
        of: &ServiceRef,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, TargetError>> {
        logs::logs(self.clone(), cx.clone(), of.clone(), options)
    }

    async fn exec(&self, _: &Context, of: &ServiceRef, command: Exec) -> Result<Session, TargetError> {
        self.run_inside(of, command).await
    }
}
