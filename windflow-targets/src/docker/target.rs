//! The Docker target: what the contract asks, in terms of an engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use windflow_core::target::{
    Applied, Capabilities, Change, ChangeKind, Context, Desired, Discovered, Exec, Fingerprint, Health, LogLine,
    LogOptions, Observed, Plan, PlanError, Promote, Revision, ServiceRef, Session, Stack, Target, TargetError,
    TargetErrorKind, diff,
};
use windflow_core::{ServiceName, StackName, TargetName};

use super::config::DockerConfig;
use super::look::{self, Seen, has_own_volume};
use super::meaning::Meaning;
use super::otherwise::otherwise;
use super::records::Unreadable;
use super::{called, logs, nameless, observe, offer, parts, passed_over, watch};
use crate::engine::{self, Endpoint, Engine, LastLook, mark};

/// The containers of an engine, as stacks.
///
/// ```no_run
/// use windflow_core::target::{Context, Target as _};
/// use windflow_targets::docker::{DockerConfig, DockerTarget};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = "unix:///var/run/docker.sock".parse()?;
/// let docker = DockerTarget::new(DockerConfig::new("docker".parse()?, "my-team".parse()?, engine));
/// println!("{}", docker.probe(&Context::new("look")).await?.version);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DockerTarget {
    pub(super) config: Arc<DockerConfig>,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) engine: Engine,
    last: LastLook<Seen>,
}

impl DockerTarget {
    /// A target over an engine. Nothing is called yet.
    #[must_use]
    pub fn new(config: DockerConfig) -> Self {
        let engine = Engine::new(config.name.clone(), config.endpoint.clone(), config.patience);
        let capabilities = Arc::new(offer::capabilities());
        Self { config: Arc::new(config), capabilities, engine, last: LastLook::default() }
    }

    pub(super) async fn look(&self, stack: &StackName) -> Result<Seen, TargetError> {
        // Large, and held by everything above it.
        Box::pin(look::look(&self.engine, &self.config.owner, stack)).await.map_err(|error| error.in_stack(stack))
    }

    /// What is there, as the contract has it; while something is staged, of that revision only.
    pub(super) fn observed(&self, cx: &Context, seen: &Seen) -> Observed {
        let mut observed = self.observed_whole(cx, seen);
        self.hide_what_is_kept(&mut observed, seen);
        observed
    }

    /// With what is kept beside what is staged.
    pub(super) fn observed_whole(&self, cx: &Context, seen: &Seen) -> Observed {
        let retained = cx.consents().allows_destroy("volume");
        let (owner, host, now) = (&self.config.owner, self.host(), cx.clock().now());
        let mut observed = observe::observed(seen, owner, &self.capabilities, &host, now, self.config.settle, retained);
        for service in observed.services.values_mut() {
            mask(cx, &mut service.health);
            service.instances.iter_mut().for_each(|instance| mask(cx, &mut instance.health));
        }
        observed
    }

    /// Where published ports answer, as seen from here.
    fn host(&self) -> String {
        match self.engine.endpoint() {
            Endpoint::Unix(_) => "127.0.0.1".to_owned(),
            Endpoint::Tcp(address) | Endpoint::Tls { address, .. } => {
                address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned()
            }
            Endpoint::Ssh { destination, .. } => {
                let host = destination.rsplit('@').next().unwrap_or(destination);
                host.split(':').next().unwrap_or(host).to_owned()
            }
        }
    }

    pub(super) fn changes(
        &self,
        cx: &Context,
        desired: &Desired,
        observed: &Observed,
        seen: &Seen,
        meaning: &Meaning,
    ) -> Vec<Change> {
        let kind = |field: &str| match field {
            "depends_on" | "replicas" | "rollout" | "pull_policy" | "mode" => ChangeKind::Update,
            _ => ChangeKind::Replace,
        };
        let whole;
        let observed = match (desired, seen.two_sets()) {
            (Desired::Absent(_), Some(_)) => {
                whole = self.observed_whole(cx, seen);
                &whole
            }
            _ => observed,
        };
        let mut changes = diff::part_changes(desired, observed, &self.capabilities, cx.consents());
        // As what it was made nobody knows: it is no other one, and what is in it stays.
        changes.retain(|change| change.kind != ChangeKind::Replace || !seen.is_of_unknown_make(&change.path));
        let of_services = diff::changes(desired, observed, &self.capabilities, kind);
        // That the record changes need not be said where more does.
        changes.extend(of_services.into_iter().filter(|change| change.path != "revision"));
        if let Desired::Present(stack) = desired {
            let about = |changes: &[Change], name: &ServiceName| {
                changes.iter().any(|change| change.service.as_ref() == Some(name))
            };
            let told: BTreeSet<String> = changes.iter().map(|change| change.path.clone()).collect();
            changes.extend(meaning.changes(stack, seen).into_iter().filter(|change| !told.contains(&change.path)));
            for (name, why) in otherwise(stack, seen) {
                let replaced =
                    |change: &Change| change.service.as_ref() == Some(&name) && change.kind != ChangeKind::Update;
                if !changes.iter().any(replaced) {
                    let change = Change::new(ChangeKind::Replace, format!("services.{name}")).of(name);
                    changes.push(change.note(why));
                }
            }
            for (name, service) in &observed.services {
                let note = match &service.health {
                    Health::Stopped => "it is not running; it is started again".to_owned(),
                    Health::Failed { why } => format!("{why}; it is started again"),
                    // An apply is not done before it is healthy.
                    Health::Starting => "it is starting; it is waited for".to_owned(),
                    Health::Unhealthy { why } => format!("it is unhealthy: {why}; it is waited for"),
                    _ => continue,
                };
                if stack.services.contains_key(name) && !about(&changes, name) {
                    let change = Change::new(ChangeKind::Update, format!("services.{name}")).of(name.clone());
                    changes.push(change.note(note));
                }
            }
            for found in too_many(seen) {
                if !about(&changes, &found.service) {
                    let change = Change::new(ChangeKind::Delete, format!("services.{}", found.service));
                    changes.push(change.of(found.service.clone()).note("a container that is one too many"));
                }
            }
        } else if changes.is_empty() && seen.is_alive() {
            let what = Change::new(ChangeKind::Delete, "revision");
            changes.push(what.note("what is on record of it"));
        }
        if changes.is_empty() {
            changes.extend(diff::changes(desired, observed, &self.capabilities, kind));
        }
        if let Desired::Present(stack) = desired {
            self.baking_changes(cx, stack, seen, &mut changes);
        }
        changes
    }

    /// What the references of what is desired mean now. What is staged is judged by what it was made with.
    pub(super) async fn meaning(&self, cx: &Context, desired: &Desired, seen: &Seen) -> Result<Meaning, TargetError> {
        let Desired::Present(stack) = desired else { return Ok(Meaning::default()) };
        if let Some(staged) = seen.two_sets() {
            let made = [Some(&staged.revision), seen.current()].into_iter().flatten();
            if let Some(revision) = made.into_iter().find(|revision| revision.stack == *stack) {
                return Ok(Meaning::of_before(cx, revision).await);
            }
        }
        Meaning::of(&self.engine, cx, stack).await.map_err(|error| error.in_stack(&stack.name))
    }

    /// The stack of a revision, with the very images it ran.
    async fn as_it_ran(&self, revision: &Revision) -> Result<Stack, TargetError> {
        let mut stack = revision.stack.clone();
        for (name, service) in &mut stack.services {
            let (Some(image), Some(ran)) = (service.image.clone(), revision.images.get(name)) else { continue };
            let now = engine::local(&self.engine, &image, service.platform.as_deref()).await?;
            if now.is_some_and(|now| now.id == ran.id) {
                continue;
            }
            let is_here = engine::local(&self.engine, &ran.id, None).await?.is_some();
            service.image = match (is_here, &ran.digest) {
                (true, _) => Some(ran.id.clone()),
                (false, Some(digest)) => Some(digest.clone()),
                (false, None) => {
                    let number = revision.number;
                    let what =
                        format!("revision {number} ran the image {} as '{image}', which is not there any more", ran.id);
                    let hint = "load that image again, or apply a file that names another";
                    return Err(TargetError::new(&self.config.name, TargetErrorKind::NotFound, what)
                        .in_stack(&revision.stack.name)
                        .in_service(name)
                        .with_hint(hint));
                }
            };
        }
        Ok(stack)
    }
}

/// Containers beside another of the same instance: what a cut has left.
fn too_many(seen: &Seen) -> impl Iterator<Item = &look::Found> {
    // While something is staged there are two sets, of as many instances as each has.
    let mut instances = BTreeSet::new();
    let all = seen.containers.iter().filter(|_| seen.two_sets().is_none());
    all.filter(move |found| !instances.insert((&found.service, found.instance)))
}

/// What becomes of volumes that nothing wants any more, where no change says so.
fn told_of_volumes(cx: &Context, desired: &Desired, seen: &Seen) -> Vec<String> {
    let removes = cx.consents().allows_destroy("volume");
    let stack = match desired {
        Desired::Present(stack) => Some(stack),
        Desired::Absent(_) => None,
    };
    let mut told = Vec::new();
    for (path, volume) in seen.volumes.iter().filter(|_| !removes) {
        let name = path.strip_prefix("volumes.").unwrap_or(path);
        if !stack.is_some_and(|stack| has_own_volume(stack, name)) {
            let called = &volume.name;
            told.push(format!(
                "{path}: the volume '{called}' is kept with what is in it (--allow-destroy volume removes it)"
            ));
        }
    }
    for found in &seen.containers {
        let stays = stack.is_some_and(|stack| stack.services.contains_key(&found.service));
        for (target, volume) in nameless::of(found).into_iter().filter(|_| !stays) {
            let (service, short) = (&found.service, volume.get(..12).unwrap_or(&volume));
            told.push(match removes {
                true => format!("services.{service}: its volume at {target} goes with it, and what is in it is lost"),
                false => format!("services.{service}: its volume at {target} is kept; the engine calls it {short}…"),
            });
        }
    }
    told
}

/// A secret a service printed shows no more than one we hold.
fn mask(cx: &Context, health: &mut Health) {
    if let Health::Failed { why } | Health::Unhealthy { why } = health {
        *why = cx.masker().mask(why);
    }
}

#[async_trait]
impl Target for DockerTarget {
    fn name(&self) -> &TargetName {
        &self.config.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self, _: &Context) -> Result<Fingerprint, TargetError> {
        let docker = self.engine.docker().await?;
        let version = self.engine.ask("asking the engine for its version", docker.version()).await?;
        let spoken = docker.client_version();
        let architecture = match version.arch.as_deref() {
            Some("amd64") => "x86_64",
            Some("arm64") => "aarch64",
            other => other.unwrap_or("unknown"),
        };
        let print = Fingerprint::new(version.version.unwrap_or_default(), architecture)
            .with("endpoint", self.engine.endpoint().to_string())
            .with("api", format!("{}.{}", spoken.major_version, spoken.minor_version))
            .with("os", version.os.unwrap_or_default());
        Ok(print)
    }

    async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        let seen = self.look(stack).await?;
        let observed = self.observed(cx, &seen);
        self.last.keep(stack, &observed, seen);
        Ok(observed)
    }

    fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        watch::watch(self.clone(), cx.clone(), stack.clone()).boxed()
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        let name = desired.stack();
        let docker = self.engine.docker().await?;
        let spoken = docker.client_version();
        let api = (spoken.major_version, spoken.minor_version);
        if let Desired::Present(stack) = desired {
            let speaks = |version| api >= version;
            let problems = offer::refusals(stack, &self.capabilities, self.config.allow_privileged, speaks);
            if !problems.is_empty() {
                let target = self.config.name.clone();
                return Err(PlanError::Refused { target, stack: name.clone(), problems });
            }
        }
        let mut seen = match self.last.take(name, observed) {
            Some(seen) => seen,
            None => self.look(name).await?,
        };
        if let Desired::Present(stack) = desired {
            self.reword(stack, &mut seen);
            let mut problems = called::problems(&self.engine, &self.config.owner, stack, &seen).await?;
            problems.extend(parts::problems(&self.engine, &self.config.owner, stack, &seen).await?);
            if !problems.is_empty() {
                let target = self.config.name.clone();
                return Err(PlanError::Refused { target, stack: name.clone(), problems });
            }
        }
        let mut plan = Plan::on(cx, &self.config.owner, &self.config.name, desired, observed);
        if let Desired::Present(stack) = desired {
            plan.degradations = diff::degradations(stack, &self.capabilities);
            plan.degradations.extend(passed_over::told(stack, api));
        }
        plan.degradations.extend(told_of_volumes(cx, desired, &seen));
        plan.degradations.extend(seen.unreadable.iter().map(Unreadable::note));
        let meaning = self.meaning(cx, desired, &seen).await?;
        plan.degradations.extend(meaning.values.told_missing());
        plan.changes = self.changes(cx, desired, observed, &seen, &meaning);
        if let Desired::Present(stack) = desired {
            self.plan_beside(&mut plan, stack, &seen)?;
        }
        plan.unfinished = plan.is_empty() && (seen.doing.is_some() || seen.two_sets().is_some());
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        Box::pin(self.carry_out(cx, plan)).await
    }

    async fn promote(&self, cx: &Context, stack: &StackName, verdict: Promote) -> Result<Applied, TargetError> {
        Box::pin(self.decide(cx, stack, verdict))
            .await
            .map_err(|e| if e.stack.is_some() { e } else { e.in_stack(stack) })
    }

    async fn adopt(&self, cx: &Context, found: &Discovered, stack: &Desired) -> Result<Revision, TargetError> {
        Box::pin(self.take_over(cx, found, stack)).await
    }

    async fn stacks(&self, _: &Context) -> Result<Vec<StackName>, TargetError> {
        let (containers, others) = look::everything(&self.engine, mark::of_owner(&self.config.owner)).await?;
        // That something was taken over makes no stack: its revision does.
        let others = others.into_iter().filter(|labels| !labels.contains_key(mark::ADOPTED));
        let labels = containers.into_iter().filter_map(|container| container.labels).chain(others);
        let names: BTreeSet<StackName> =
            labels.filter_map(|labels| StackName::new(labels.get(mark::STACK)?).ok()).collect();
        Ok(names.into_iter().collect())
    }

    async fn revisions(&self, _: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
        Ok(self.look(stack).await?.revisions)
    }

    async fn stack_of(&self, _: &Context, revision: &Revision) -> Result<Stack, TargetError> {
        self.as_it_ran(revision).await
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
        let seen = self.look(&of.stack).await?;
        let absent =
            |what: String| TargetError::new(&self.config.name, TargetErrorKind::NotFound, what).in_stack(&of.stack);
        if let Some(unknown) = logs::unknown(self, &seen, of) {
            return Err(unknown);
        }
        let Some(service) = &of.service else { return Err(absent("say in which service it is to run".to_owned())) };
        let instance = of.instance.map(|instance| instance.saturating_add(1));
        let here = seen.of(service).find(|found| {
            let running = found.inspect.state.as_ref().is_some_and(|state| state.running == Some(true));
            running && instance.is_none_or(|instance| instance == found.instance)
        });
        match here {
            Some(found) => engine::exec(&self.engine, &found.id, command)
                .await
                .map_err(|e| e.in_stack(&of.stack).in_service(service)),
            None => Err(absent(format!("no container of '{service}' is running")).in_service(service)),
        }
    }
}
