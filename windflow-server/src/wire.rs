//! The composition root: what the process and `windflow.yaml` say becomes a store, an engine and targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use windflow_core::engine::Drive;
use windflow_core::run::Run;
use windflow_core::target::{Remembered, Target};
use windflow_core::workflow::Severity;
use windflow_core::{
    Engine, EventSink, Masker, Namespace, Principal, Request, RunId, SecretSources, Store, SubmitError, TargetName,
    Workflow,
};
use windflow_targets::docker::{DockerConfig, DockerTarget, Endpoint};
use windflow_targets::host::{HostConfig, HostTarget, SupervisorCommand};
use windflow_targets::swarm::{SwarmConfig, SwarmTarget};
use windflow_workflow::document::{
    Diagnostics, Limits, Registered, StackDocument, StackFiles, WorkflowDocument, check_stack, check_workflow,
};
use windflow_workflow::expression::{RhaiEvaluator, Sandbox};
use windflow_workflow::{
    ActionOptions, EgressPolicy, EnvSecrets, Environment, FileSecrets, ShellPolicy, SqliteOptions, SqliteStore,
    builtin_actions,
};

use crate::cli::Global;
use crate::config::{Config, FILE, TargetConfig};
use crate::engines::{self, EngineConfig};
use crate::exit::Exit;
use crate::failure::{ALLOW_SHELL, Failure, SHELL_OFF};
use crate::opened::Opened;
use crate::placements::FilePlacements;
use crate::process::Process;
use crate::render::output::Output;
use crate::stack_events::StackEvents;

/// How long an attempt that is asked to stop may take.
pub const GRACE: Duration = Duration::from_secs(10);

/// Everything a command works with.
#[derive(Clone, Debug)]
pub struct Project {
    /// The process.
    pub process: Process,
    /// What `windflow.yaml` says.
    pub config: Config,
    /// Targets that need not be written: they are there for whoever names them.
    pub implied: BTreeMap<TargetName, TargetConfig>,
    /// Of those, why one cannot be had: what is around says where its engine is, and leads nowhere.
    pub astray: BTreeMap<TargetName, String>,
    /// Where the engines of targets are.
    pub endpoints: BTreeMap<TargetName, Endpoint>,
    /// The state file.
    pub state: PathBuf,
    /// The options every command takes.
    pub global: Global,
    /// Where to print.
    pub output: Output,
    /// Where what happens to stacks is told, if anywhere.
    pub events: Option<StackEvents>,
    /// The state files this process has opened.
    pub opened: Opened,
}

impl Project {
    /// Reads the configuration and finds the state file; touches neither store nor targets.
    ///
    /// # Errors
    /// When `windflow.yaml` is invalid.
    pub fn open(process: Process, global: &Global, output: Output, opened: Opened) -> Result<Self, Failure> {
        let config = Config::load(global.config.as_deref(), &environment(&process))?;
        let asked = global.state.clone().or_else(|| process.variable("WINDFLOW_STATE").map(PathBuf::from));
        let state = process.working_dir.join(asked.unwrap_or_else(|| PathBuf::from(".windflow/state.db")));
        let (mut endpoints, mut implied, mut astray) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, target) in &config.targets {
            let Some(target) = target.engine() else { continue };
            let endpoint = engines::endpoint(&target.engine, &process)
                .map_err(|why| Failure::usage(format_args!("{FILE}: targets.{name}: {why}")))?;
            endpoints.insert(name.clone(), endpoint);
        }
        for (name, target) in TargetConfig::implied() {
            let Ok(name) = TargetName::new(name) else { continue };
            if config.targets.contains_key(&name) {
                continue;
            }
            match engines::endpoint(&EngineConfig::default(), &process) {
                Ok(endpoint) => {
                    endpoints.insert(name.clone(), endpoint);
                    implied.insert(name, target);
                }
                // Whoever works with another target is not kept from it.
                Err(why) => drop(astray.insert(name, why)),
            }
        }
        let events = global.events.as_ref().map(|path| StackEvents::open(&process.working_dir.join(path), &output));
        let (events, global) = (events.transpose()?, global.clone());
        Ok(Self { process, config, implied, astray, endpoints, state, global, output, events, opened })
    }

    /// The folder the state file lies in.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.parent().unwrap_or(Path::new("/"))
    }

    /// What documents may refer to.
    #[must_use]
    pub fn environment(&self) -> Environment {
        environment(&self.process)
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.process.principal()
    }

    /// Opens the state, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn store(&self) -> Result<SqliteStore, Failure> {
        let store = SqliteStore::open(&self.state, SqliteOptions::default()).await?;
        self.opened.note(&store);
        Ok(store)
    }

    /// Opens the state only if it is there already.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn existing_store(&self) -> Result<Option<SqliteStore>, Failure> {
        match self.state.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(self.store().await?)),
            Err(error) => Err(Failure::new(Exit::Unavailable, format_args!("{}: {error}", self.state.display()))),
        }
    }

    /// Opens the state for a question about a run in it.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub async fn store_with_runs(&self) -> Result<SqliteStore, Failure> {
        let missing = || {
            Failure::usage(format_args!("there is no state at {}, so there are no runs", self.state.display()))
                .hint("change into the folder where they were started, or name the file with --state")
        };
        self.existing_store().await?.ok_or_else(missing)
    }

    /// The actions workflows may use.
    #[must_use]
    pub fn actions(&self, allow_shell: bool) -> windflow_core::Registry {
        let allowed = allow_shell || self.config.allow_shell;
        let shell = if allowed { ShellPolicy::allow() } else { ShellPolicy::deny() };
        builtin_actions(
            ActionOptions::default()
                .shell(shell)
                .egress(EgressPolicy::operator())
                .script(Arc::new(Sandbox::operator()))
                .placements(Arc::new(self.placements())),
        )
    }

    /// Where secret values come from.
    #[must_use]
    pub fn secrets(&self) -> SecretSources {
        let variables = self.process.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
        SecretSources::new()
            .with("env", Arc::new(EnvSecrets::new(variables)))
            .with("file", Arc::new(FileSecrets::new(&self.process.working_dir)))
    }

    /// The targets by name.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<TargetName, Arc<dyn Target>> {
        let made = self.config.targets.iter();
        made.map(|(name, config)| (name.clone(), self.target(name, config))).collect()
    }

    /// The target of this name, written or implied.
    #[must_use]
    pub fn target_named(&self, name: &TargetName) -> Option<Arc<dyn Target>> {
        let implied = || self.implied.get(name).map(|config| self.target(name, config));
        self.targets().remove(name).or_else(implied)
    }

    fn placements(&self) -> FilePlacements {
        FilePlacements::below(self.state_dir())
    }

    /// A target with all that stands over it, remembered to hold what it does where there is another to fall back to,
    /// written or implied.
    fn target(&self, name: &TargetName, config: &TargetConfig) -> Arc<dyn Target> {
        let target = self.bare(name, config);
        let target = match self.config.targets.len() + self.implied.len() {
            0 | 1 => target,
            _ => Arc::new(Remembered::over(target, Arc::new(self.placements()))),
        };
        self.config.layers_of(name).over(target)
    }

    fn bare(&self, name: &TargetName, config: &TargetConfig) -> Arc<dyn Target> {
        match config {
            TargetConfig::Host { root, health_timeout } => {
                let root = match root {
                    Some(root) => self.process.working_dir.join(root),
                    None => self.state_dir().join(name.as_str()),
                };
                let path = self.process.variable("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
                // Last, the command's own folder: a stack may run `windflow` itself without its being installed.
                let own = self.process.program.parent().map(Path::to_path_buf);
                let search = std::env::split_paths(path).chain(own).filter(|folder| folder.is_absolute()).collect();
                let supervisor = SupervisorCommand::new(&self.process.program);
                let mut host = HostConfig::new(name.clone(), self.config.owner.clone(), root, supervisor, search);
                if let Some(timeout) = health_timeout {
                    host.health_timeout = *timeout;
                }
                Arc::new(HostTarget::new(host))
            }
            TargetConfig::Swarm(config) => {
                let endpoint = self.endpoints.get(name).cloned().unwrap_or_default();
                let mut swarm = SwarmConfig::new(name.clone(), self.config.owner.clone(), endpoint);
                swarm.allow_privileged = config.allow_privileged;
                swarm.probe_ports = config.probe_ports.unwrap_or(swarm.probe_ports);
                swarm.logins = config.logins.clone();
                if let Some(timeout) = config.health_timeout {
                    swarm.health_timeout = timeout;
                }
                Arc::new(SwarmTarget::new(swarm))
            }
            TargetConfig::Docker(config) => {
                let endpoint = self.endpoints.get(name).cloned().unwrap_or_default();
                let mut docker = DockerConfig::new(name.clone(), self.config.owner.clone(), endpoint);
                docker.allow_privileged = config.allow_privileged;
                docker.logins = config.logins.clone();
                if let Some(timeout) = config.health_timeout {
                    docker.health_timeout = timeout;
                }
                Arc::new(DockerTarget::new(docker))
            }
        }
    }

    /// An engine over a store.
    #[must_use]
    pub fn engine(
        &self,
        store: Arc<dyn Store>,
        allow_shell: bool,
        drive: Drive,
        sink: Option<Arc<dyn EventSink>>,
    ) -> Engine {
        let mut builder = Engine::builder_shared(store)
            .actions(self.actions(allow_shell))
            .secret_sources(self.secrets())
            .evaluator(Arc::new(RhaiEvaluator::operator()))
            .namespace(Namespace::default())
            .worker(self.process.worker())
            .grace(GRACE)
            .drive(drive);
        let implied = self.implied.iter().map(|(name, config)| self.target(name, config));
        for target in self.targets().into_values().chain(implied) {
            builder = builder.target(target);
        }
        if let Some(sink) = sink {
            builder = builder.sink(sink);
        }
        if let Some(events) = &self.events {
            builder = builder.sink(Arc::new(events.of_runs()));
        }
        builder.build()
    }

    /// Reads a workflow and everything it names, and checks it against the actions, secrets and targets there are. Answers the warnings
    /// with it.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn workflow(&self, path: &Path, allow_shell: bool) -> Result<(WorkflowDocument, Diagnostics), Failure> {
        let (actions, secrets) = (self.actions(allow_shell), self.secrets());
        let targets = self.config.targets.keys().chain(self.implied.keys()).cloned().collect();
        let registered = Registered { actions: &actions, secrets: &secrets, targets: Some(&targets) };
        check_workflow(path, &self.environment(), &Limits::operator(), &registered).map_err(|problems| {
            let off = !allow_shell && !self.config.allow_shell;
            let wants_shell = off && problems.iter().any(|problem| problem.message.contains(SHELL_OFF));
            let failure = Failure::from(problems);
            if wants_shell { failure.hint(ALLOW_SHELL) } else { failure }
        })
    }

    /// Reads a stack from its files, and checks it against the sources of secrets there are.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn stack(&self, files: impl Into<StackFiles>) -> Result<StackDocument, Failure> {
        Ok(check_stack(files, &self.environment(), &Limits::operator(), &self.secrets())?)
    }

    /// Whether a run can go on here, once that is asked of it. One that was started with more allowed must not fail, and
    /// be undone, because a word was forgotten on the command line.
    ///
    /// # Errors
    /// What it lacks.
    pub fn can_go_on(&self, run: &Run, request: Option<&Request>, allow_shell: bool) -> Result<(), Failure> {
        // First: a run that is over needs nothing, and its state is the reason people must hear.
        if let Some(request) = request {
            run.may(request, &Principal::system())
                .map_err(|why| SubmitError::Refused { run: run.id().clone(), why })?;
        }
        self.can_run(run.id(), run.workflow(), allow_shell)
    }

    /// Whether a pinned workflow can run here.
    ///
    /// # Errors
    /// What it lacks.
    pub fn can_run(&self, run: &RunId, workflow: &Workflow, allow_shell: bool) -> Result<(), Failure> {
        let mut findings = workflow.lint(&self.actions(allow_shell)).into_iter();
        match findings.find(|finding| finding.severity == Severity::Error) {
            Some(lacks) => Err(Failure::lacking(run, lacks)),
            None => Ok(()),
        }
    }

    /// What masks secrets in what direct commands print.
    #[must_use]
    pub fn masker(&self) -> Masker {
        Masker::new()
    }
}

fn environment(process: &Process) -> Environment {
    let variables = process.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
    Environment::new(&process.working_dir).with_variables(variables).with_files(process.files.clone())
}
