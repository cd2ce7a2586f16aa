//! What an engine is made of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::aside::Aside;
use super::facade::Engine;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::own::Own;
use crate::action::{Action, Registry, Services};
use crate::evaluator::{Evaluator, PathEvaluator};
use crate::id::{ActionName, Namespace, RunId};
use crate::secret::{SecretSource, SecretSources};
use crate::sink::EventSink;
use crate::store::{Store, WorkerId};
use crate::target::Target;
use crate::time::{Clock, Timestamp};

/// Which runs an engine drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drive {
    /// Those it started or was told to [`Engine::drive`]; the default.
    #[default]
    Own,
    /// Every run of its namespace that wants to be driven and that no other living worker holds.
    All,
}

/// Everything the parts of an engine share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Arc<dyn Store>,
    pub(super) actions: Registry,
    pub(super) services: Arc<Services>,
    pub(super) evaluator: Arc<dyn Evaluator>,
    pub(super) sinks: Vec<Arc<dyn EventSink>>,
    pub(super) namespace: Namespace,
    pub(super) worker: WorkerId,
    pub(super) drive: Drive,
    pub(super) grace: Duration,
    pub(super) lease: Duration,
    pub(super) max_active: usize,
    pub(super) seed: Option<u64>,
    pub(super) active: Mutex<BTreeMap<RunId, Arc<Mailbox>>>,
    /// Held while a run is claimed and handed to its driver.
    pub(super) taking: tokio::sync::Mutex<()>,
    /// What an engine of [`Drive::Own`] looks after.
    pub(super) own: Mutex<Own>,
    /// Runs that cannot be driven here.
    pub(super) aside: Aside,
    pub(super) hub: Hub,
    /// Something changed that the intake should look at.
    pub(super) look: Notify,
    pub(super) closing: CancellationToken,
    /// Everything stops as if the process had died.
    pub(super) kill: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    pub(super) fn lease_until(&self) -> Timestamp {
        self.now().after(self.lease)
    }
}

/// Builds an [`Engine`].
#[derive(Debug)]
#[must_use]
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    actions: Registry,
    services: Services,
    evaluator: Arc<dyn Evaluator>,
    sinks: Vec<Arc<dyn EventSink>>,
    namespace: Namespace,
    worker: Option<WorkerId>,
    drive: Drive,
    grace: Duration,
    lease: Duration,
    max_active: usize,
    seed: Option<u64>,
}

impl EngineBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            actions: Registry::new(),
            services: Services::default(),
            evaluator: Arc::new(PathEvaluator),
            sinks: Vec::new(),
            namespace: Namespace::default(),
            worker: None,
            drive: Drive::default(),
            grace: Duration::from_secs(30),
            lease: Duration::from_secs(30),
            max_active: 1_000,
            seed: None,
        }
    }

    /// Registers an action.
    ///
    /// # Panics
    /// Never. A name that breaks its rule is left out, and a workflow that uses it is refused.
    pub fn action(mut self, name: impl AsRef<str>, action: impl Action) -> Self {
        if let Ok(name) = ActionName::new(name) {
            self.actions = self.actions.with(name, Arc::new(action));
        }
        self
    }

    /// Registers all of these actions instead of those so far.
    pub fn actions(mut self, actions: Registry) -> Self {
        self.actions = actions;
        self
    }

    /// Registers a target under its own name.
    pub fn target(mut self, target: Arc<dyn Target>) -> Self {
        self.services.targets.insert(target.name().clone(), target);
        self
    }

    /// Registers a secret source.
    pub fn secrets(mut self, name: impl Into<String>, source: Arc<dyn SecretSource>) -> Self {
        self.services.secrets = std::mem::take(&mut self.services.secrets).with(name, source);
        self
    }

    /// Takes all of these secret sources instead of those so far.
    pub fn secret_sources(mut self, sources: SecretSources) -> Self {
        self.services.secrets = sources;
        self
    }

    /// Evaluates expressions with this; paths only ([`PathEvaluator`]) unless said otherwise.
    pub fn evaluator(mut self, evaluator: Arc<dyn Evaluator>) -> Self {
        self.evaluator = evaluator;
        self
    }

    /// Tells this sink of every event.
    pub fn sink(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Takes the time from here.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.services.clock = clock;
        self
    }

    /// Works in this namespace of the store.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// Holds runs under this name, by which others see who drives them; a new one unless said otherwise. No two engines
    /// that live at the same time may share one.
    pub fn worker(mut self, worker: WorkerId) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Which runs it drives.
    pub fn drive(mut self, drive: Drive) -> Self {
        self.drive = drive;
        self
    }

    /// How long an attempt that is asked to stop may take; 30 s unless said otherwise.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a lease holds without being renewed; 30 s unless said otherwise, and never less than 100 ms. It is
    /// renewed at a third of that.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// How many runs found in the store are driven at the same time; 1,000 unless said otherwise. Runs started here
    /// are not counted against it.
    pub fn max_active(mut self, most: usize) -> Self {
        self.max_active = most;
        self
    }

    /// Draws the jitter of every run from this seed, so that a test can be repeated.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The engine. Call it within a tokio runtime.
    #[must_use]
    pub fn build(self) -> Engine {
        let inner = Inner {
            store: self.store,
            actions: self.actions,
            services: Arc::new(self.services),
            evaluator: self.evaluator,
            sinks: self.sinks,
            namespace: self.namespace,
            worker: self.worker.unwrap_or_else(WorkerId::generate),
            drive: self.drive,
            grace: self.grace,
            lease: self.lease,
            max_active: self.max_active,
            seed: self.seed,
            active: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            own: Mutex::default(),
            aside: Aside::default(),
            hub: Hub::default(),
            look: Notify::new(),
            closing: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Engine::new(Arc::new(inner))
    }
}
