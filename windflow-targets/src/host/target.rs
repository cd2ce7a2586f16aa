//! The host target: what the contract asks, in terms of a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::json;
use windflow_core::target::{
    Applied, Capabilities, Change, ChangeKind, Context, Desired, Discovered, Exec, Fingerprint, Health, LogLine,
    LogOptions, Observed, Plan, PlanError, Promote, Revision, ServiceRef, Session, Stack, Target, TargetError,
    TargetErrorKind, diff,
};
use windflow_core::{ServiceName, StackName, TargetName};

use super::config::HostConfig;
use super::layout::StackDir;
use super::observe::Seen;
use super::render;
use super::revisions;
use super::state::{StackSpec, decode};
use super::transport::{Listener, LocalMachine, Machine};
use super::watch;

/// Stacks as supervised processes of a machine. Clones are handles to the same place.
#[derive(Clone, Debug)]
pub struct HostTarget {
    pub(super) config: Arc<HostConfig>,
    pub(super) machine: Arc<dyn Machine>,
    capabilities: Arc<Capabilities>,
}

impl HostTarget {
    /// Stacks on this machine.
    #[must_use]
    pub fn new(config: HostConfig) -> Self {
        let capabilities = Arc::new(render::capabilities());
        Self { config: Arc::new(config), machine: Arc::new(LocalMachine), capabilities }
    }

    pub(super) fn dir(&self, stack: &StackName) -> StackDir {
        StackDir::of(&self.config.root, &self.config.owner, stack)
    }

    pub(super) fn error(
        &self,
        stack: &StackName,
        kind: TargetErrorKind,
        message: impl std::fmt::Display,
    ) -> TargetError {
        TargetError::new(&self.config.name, kind, message).in_stack(stack)
    }

    /// What a failed call to the machine means to a caller.
    pub(super) fn failed(&self, stack: &StackName) -> impl Fn(io::Error) -> TargetError + '_ {
        let stack = stack.clone();
        move |error| {
            let at = self.config.root.display();
            let (kind, hint) = match error.kind() {
                io::ErrorKind::InvalidData => {
                    let hint = "what runs is not touched; move the file away to go on without what it held";
                    return self.error(&stack, TargetErrorKind::Denied, error).with_hint(hint);
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    (TargetErrorKind::Denied, "the folder must be writable for the user who deploys")
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    (TargetErrorKind::Transient, "free some space, then do it again")
                }
                io::ErrorKind::NotADirectory => (TargetErrorKind::Denied, "a file stands where a folder should be"),
                io::ErrorKind::IsADirectory => {
                    (TargetErrorKind::Denied, "a folder stands where a file should be: move it away")
                }
                _ => (TargetErrorKind::Transient, "apply again"),
            };
            self.error(&stack, kind, format_args!("{at} cannot be used: {error}")).with_hint(hint)
        }
    }

    fn unreadable(&self) -> impl Fn(io::Error) -> TargetError + '_ {
        move |error| {
            let at = self.config.root.display();
            TargetError::new(&self.config.name, TargetErrorKind::Denied, format_args!("{at} cannot be read: {error}"))
        }
    }

    pub(super) async fn seen(&self, dir: &StackDir) -> io::Result<Seen> {
        let machine = &*self.machine;
        // What was damaged is as good as lost: then nothing is known to run as it should, and an apply puts it right.
        let spec = machine.read(&dir.spec()).await?.and_then(|bytes| decode(&dir.spec(), &bytes).ok());
        let state = machine.read(&dir.state()).await?.and_then(|bytes| decode(&dir.state(), &bytes).ok());
        let supervised = machine.is_locked(&dir.supervisor_lock()).await?;
        let state = match state {
            None if supervised => self.told(dir).await,
            state => state,
        };
        let mut seen = Seen { spec, state: state.unwrap_or_default(), supervised, ..Seen::default() };
        seen.current = revisions::current(machine, dir).await?;
        seen.boot = machine.boot().await?;
        let all = seen.state.services.iter().flat_map(|(name, all)| all.iter().map(move |(n, one)| (name, *n, one)));
        let recorded = all.filter_map(|(name, n, one)| Some((one.process?, dir.instance(name, n).path().to_owned())));
        seen.alive = machine.alive(recorded.collect()).await?;
        Ok(seen)
    }

    /// Everything an apply would do: what differs, what does not run, and who does not watch.
    pub(super) async fn changes(
        &self,
        desired: &Desired,
        observed: &Observed,
        seen: &Seen,
    ) -> Result<Vec<Change>, TargetError> {
        let kind = |field: &str| match field {
            "process" | "environment" => ChangeKind::Replace,
            _ => ChangeKind::Update,
        };
        let mut changes = diff::changes(desired, observed, &self.capabilities, kind);
        let Desired::Present(stack) = desired else {
            let dir = self.dir(desired.stack());
            let leftovers = self.machine.list(dir.path()).await.map_err(self.failed(desired.stack()))?;
            if changes.is_empty() && !leftovers.is_empty() {
                let what = Change::new(ChangeKind::Delete, "directory");
                changes.push(what.note("what an apply that never came to anything has left"));
            }
            return Ok(changes);
        };
        for (name, service) in &observed.services {
            let note = match &service.health {
                Health::Stopped => "it is not running; it is started again".to_owned(),
                Health::Failed { why } => format!("{why}; it is started again"),
                // An apply is not done before it is healthy.
                Health::Starting if seen.supervised => "it is starting; it is waited for".to_owned(),
                Health::Unhealthy { why } if seen.supervised => format!("it is unhealthy: {why}; it is waited for"),
                _ => continue,
            };
            if stack.services.contains_key(name) && !changes.iter().any(|change| change.service.as_ref() == Some(name))
            {
                let change = Change::new(ChangeKind::Update, format!("services.{name}")).of(name.clone());
                changes.push(change.note(note));
            }
        }
        if !seen.supervised && seen.spec.is_some() {
            let change = Change::new(ChangeKind::Update, "supervisor");
            changes.push(change.note("the supervisor is gone; a new one takes over what still runs"));
        }
        Ok(changes)
    }

    /// The program of each service, and every path whose program or folder is not there.
    pub(super) async fn programs(
        &self,
        stack: &Stack,
    ) -> io::Result<(BTreeMap<ServiceName, PathBuf>, Vec<(String, String)>)> {
        let (mut programs, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, service) in &stack.services {
            let Some(process) = &service.process else { continue };
            let at = format!("services.{name}.process");
            let Some(program) = process.command.first().filter(|program| !program.is_empty()) else { continue };
            let folders: Vec<PathBuf> = render::search(service, &self.config.search_path).collect();
            let looked = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
            match self.machine.find_program(program, folders).await? {
                Some(path) => {
                    programs.insert(name.clone(), path);
                }
                None if program.starts_with('/') => {
                    problems.push((format!("{at}.command"), format!("there is no program {program}")));
                }
                None => {
                    let why = format!("there is no program '{program}' in {looked}");
                    problems.push((format!("{at}.command"), why));
                }
            }
            if let Some(dir) = &process.working_dir
                && !self.machine.is_dir(dir.as_ref()).await?
            {
                problems.push((format!("{at}.working_dir"), format!("there is no folder {dir}")));
            }
        }
        Ok((programs, problems))
    }

    /// The ports that someone else listens on: service, path and sentence.
    pub(super) async fn taken_ports(
        &self,
        stack: &Stack,
        seen: &Seen,
    ) -> io::Result<Vec<(ServiceName, String, String)>> {
        let mut tries = 0;
        loop {
            let taken = self.taken_ports_now(stack, seen).await?;
            tries += 1;
            // A process that is just ending has lost its name before its port: a refusal needs a second look.
            if taken.is_empty() || tries == 4 {
                return Ok(taken);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn taken_ports_now(&self, stack: &Stack, seen: &Seen) -> io::Result<Vec<(ServiceName, String, String)>> {
        let mut asked: Vec<(ServiceName, usize, u16)> = Vec::new();
        for (name, service) in &stack.services {
            let tcp = service.ports.iter().enumerate().filter(|(_, port)| port.protocol == "tcp");
            asked.extend(tcp.map(|(n, port)| (name.clone(), n, port.target)));
        }
        let ports: BTreeSet<u16> = asked.iter().map(|(_, _, port)| *port).collect();
        let ours: BTreeSet<i32> = seen.living().map(|id| id.pid).collect();
        let services = self.dir(&stack.name).services();
        let is_ours = |listener: &Listener| {
            listener.group.is_some_and(|group| ours.contains(&group))
                || listener.instance.as_ref().is_some_and(|instance| instance.starts_with(&services))
        };
        let listeners = self.machine.listeners(ports).await?;
        let taken = asked.into_iter().filter_map(|(name, n, port)| {
            let on_port = || listeners.iter().filter(|listener| listener.port == port);
            if on_port().any(is_ours) {
                return None;
            }
            let other = on_port().next()?;
            let who = match (&other.pid, &other.program) {
                (Some(pid), Some(program)) => format!("process {pid} ({program})"),
                (Some(pid), None) => format!("process {pid}"),
                _ => "a process of another user".to_owned(),
            };
            let path = format!("services.{name}.ports[{n}]");
            Some((name, path, format!("port {port} is taken by {who}")))
        });
        Ok(taken.collect())
    }
}

#[async_trait]
impl Target for HostTarget {
    fn name(&self) -> &TargetName {
        &self.config.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self, _: &Context) -> Result<Fingerprint, TargetError> {
        let failed = |error| TargetError::new(&self.config.name, TargetErrorKind::Unreachable, error);
        let boot = self.machine.boot().await.map_err(failed)?;
        let print = Fingerprint::new(env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
        Ok(print.with("root", self.config.root.display().to_string()).with("boot", boot))
    }

    async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError> {
        let seen = self.seen(&self.dir(stack)).await.map_err(self.failed(stack))?;
        let mut observed = seen.observed(&self.capabilities);
        for service in observed.services.values_mut() {
            mask(cx, &mut service.health);
            service.instances.iter_mut().for_each(|instance| mask(cx, &mut instance.health));
        }
        Ok(observed)
    }

    fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        watch::watch(self.clone(), cx.clone(), stack.clone()).boxed()
    }

    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError> {
        let name = desired.stack();
        let seen = self.seen(&self.dir(name)).await.map_err(self.failed(name))?;
        if let Desired::Present(stack) = desired {
            let mut problems = render::refusals(stack);
            problems.extend(self.programs(stack).await.map_err(self.failed(name))?.1);
            let taken = self.taken_ports(stack, &seen).await.map_err(self.failed(name))?;
            problems.extend(taken.into_iter().map(|(_, path, why)| (path, why)));
            if !problems.is_empty() {
                let target = self.config.name.clone();
                return Err(PlanError::Refused { target, stack: name.clone(), problems });
            }
        }
        let mut plan = Plan::on(cx, &self.config.owner, &self.config.name, desired, observed);
        if let Desired::Present(stack) = desired {
            plan.degradations = diff::degradations(stack, &self.capabilities);
        }
        plan.changes = self.changes(desired, observed, &seen).await?;
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError> {
        self.carry_out(cx, plan).await
    }

    async fn promote(&self, _: &Context, stack: &StackName, _: Promote) -> Result<Applied, TargetError> {
        Err(TargetError::unsupported(&self.config.name, "staged rollouts").in_stack(stack))
    }

    async fn adopt(&self, _: &Context, found: &Discovered, _: &Desired) -> Result<Revision, TargetError> {
        Err(TargetError::unsupported(&self.config.name, "taking over what runs").in_stack(&found.name))
    }

    async fn stacks(&self, _: &Context) -> Result<Vec<StackName>, TargetError> {
        let ours = self.config.root.join(self.config.owner.as_str());
        let names = self.machine.list(&ours).await.map_err(self.unreadable())?;
        Ok(names.iter().filter_map(|name| StackName::new(name).ok()).collect())
    }

    async fn revisions(&self, _: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError> {
        revisions::list(&*self.machine, &self.dir(stack)).await.map_err(self.failed(stack))
    }

    async fn discover(&self, _: &Context) -> Result<Vec<Discovered>, TargetError> {
        let failed = self.unreadable();
        let mut found = Vec::new();
        for owner in self.machine.list(&self.config.root).await.map_err(&failed)? {
            if owner == self.config.owner.as_str() {
                continue;
            }
            let owner_dir = self.config.root.join(&owner);
            // What may not be looked into is not ours to tell about.
            for name in self.machine.list(&owner_dir).await.unwrap_or_default() {
                let dir = StackDir::at(owner_dir.join(&name));
                let spec = self.machine.read(&dir.spec()).await.unwrap_or_default();
                let spec = spec.and_then(|bytes| serde_json::from_slice::<StackSpec>(&bytes).ok());
                let (Some(spec), Ok(name)) = (spec, StackName::new(&name)) else { continue };
                let services = spec.services.keys().map(ToString::to_string).collect();
                found.push(Discovered::new(name, Some(owner.clone()), services, json!({ "directory": dir.path() })));
            }
        }
        Ok(found)
    }

    fn logs(
        &self,
        cx: &Context,
        of: &ServiceRef,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, TargetError>> {
        super::logs::logs(self.clone(), cx.clone(), of.clone(), options).boxed()
    }

    async fn exec(&self, cx: &Context, of: &ServiceRef, command: Exec) -> Result<Session, TargetError> {
        self.run_beside(cx, of, command).await
    }
}

/// A secret a service printed shows no more than one we hold.
fn mask(cx: &Context, health: &mut Health) {
    if let Health::Failed { why } | Health::Unhealthy { why } = health {
        *why = cx.masker().mask(why);
    }
}
