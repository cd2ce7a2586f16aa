//! An action's whole world.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, NodeName, RunId, TargetName};
use crate::outcome::{ErrorClass, Resumed, StepError};
use crate::planted::{Bug, is_planted};
use crate::secret::{Masker, Secret, SecretError, SecretRef, SecretSources};
use crate::target::{Consents, Context, Target};
use crate::time::{Clock, SystemClock, Timestamp};

/// What an engine offers to every step.
#[derive(Debug, Clone)]
pub struct Services {
    /// The registered targets.
    pub targets: BTreeMap<TargetName, Arc<dyn Target>>,
    /// The registered secret sources.
    pub secrets: SecretSources,
    /// What was exposed, so that it can be masked.
    pub masker: Masker,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
            secrets: SecretSources::new(),
            masker: Masker::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// How a step reports while it works.
#[async_trait]
pub trait StepReporter: fmt::Debug + Send + Sync + 'static {
    /// Makes a checkpoint durable. Returns when it is.
    async fn checkpoint(&self, node: &NodeName, attempt: u32, value: Value) -> Result<(), StepError>;
    /// Tells who watches; not durable.
    fn progress(&self, node: &NodeName, text: &str);
    /// A pinned file of the run.
    async fn blob(&self, hash: ContentHash) -> Result<Arc<[u8]>, StepError>;
}

/// What all steps of one run share.
#[derive(Debug)]
pub struct RunScope {
    /// The run.
    pub run: RunId,
    /// Its namespace.
    pub namespace: Namespace,
    /// The epoch under which the engine holds it.
    pub epoch: Epoch,
    /// The engine's services.
    pub services: Arc<Services>,
    /// Where reports go.
    pub reporter: Arc<dyn StepReporter>,
}

/// An action's whole world: ids, the idempotency key, deadline, cancellation, checkpoints, secrets, targets, progress.
#[derive(Debug, Clone)]
pub struct StepContext {
    pub(crate) scope: Arc<RunScope>,
    pub(crate) node: NodeName,
    pub(crate) attempt: u32,
    pub(crate) generation: u32,
    pub(crate) compensating: bool,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) cancel: Arc<CancellationToken>,
    pub(crate) checkpoint: Option<Arc<Value>>,
    pub(crate) resumed: Option<Arc<Resumed>>,
}

impl StepContext {
    /// A context outside any engine, to try an action with.
    #[must_use]
    pub fn builder(run: RunId, node: NodeName) -> StepContextBuilder {
        StepContextBuilder { run, node, attempt: 1, services: Services::default(), checkpoint: None, resumed: None }
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.scope.run
    }

    /// The run's namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.scope.namespace
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same for every attempt of this step, and for none other: `RUN/NODE/GENERATION`, with `/undo` behind it
    /// while compensating. A corrected input given by an operator starts a new generation.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let Self { scope, node, generation, .. } = self;
        let undo = if self.compensating { "/undo" } else { "" };
        let generation = if is_planted(Bug::KeyContainsAttempt) { self.attempt } else { *generation };
        format!("{}/{node}/{generation}{undo}", scope.run)
    }

    /// The epoch of whoever holds the run: a number that a target may compare to refuse stale writers.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.scope.epoch
    }

    /// When this attempt will be ended.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.scope.services.clock.now()
    }

    /// Waits until `at`, on the engine's clock.
    pub async fn sleep_until(&self, at: Timestamp) {
        self.scope.services.clock.sleep_until(at).await;
    }

    /// Returns when the attempt should come to its end: the run was cancelled, or time is up. What does not end
    /// within the grace period is dropped.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Whether the attempt should come to its end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The error of an attempt that came to its end because it was asked to, having changed nothing.
    #[must_use]
    pub fn cancelled_error(&self) -> StepError {
        StepError::retryable("cancelled", "the attempt was asked to stop")
    }

    /// Makes a value durable under this step; the next attempt, an observation and a compensation see the last one.
    ///
    /// # Errors
    /// When the journal cannot take it. Pass the error on: the run has another owner now, or the store is gone.
    pub async fn checkpoint(&self, value: Value) -> Result<(), StepError> {
        let value = self.scope.services.masker.mask_value(value);
        self.scope.reporter.checkpoint(&self.node, self.attempt, value).await
    }

    /// The last durable checkpoint that existed when this attempt started.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<&Value> {
        self.checkpoint.as_deref()
    }

    /// Why a parked step is performed again; `None` the first time.
    #[must_use]
    pub fn resumed_by(&self) -> Option<&Resumed> {
        self.resumed.as_deref()
    }

    /// A secret's value now. It is masked from then on in everything this engine's actions say.
    ///
    /// # Errors
    /// Retryable when the source is away, terminal when the secret is not there or may not be read.
    pub async fn secret(&self, reference: &SecretRef) -> Result<Secret, StepError> {
        let services = &self.scope.services;
        let secret = services.secrets.resolve(reference).await.map_err(|error| {
            let class = match error {
                SecretError::Unavailable { .. } => ErrorClass::Retryable,
                _ => ErrorClass::Terminal,
            };
            StepError::new(class, "secret", error)
        })?;
        services.masker.learn(&secret);
        Ok(secret)
    }

    /// A registered target.
    ///
    /// # Errors
    /// Terminal when no target has that name.
    pub fn target(&self, name: &TargetName) -> Result<Arc<dyn Target>, StepError> {
        let targets = &self.scope.services.targets;
        targets.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = targets.keys().map(TargetName::as_str).collect();
            StepError::terminal("target.unknown", format_args!("there is no target '{name}'")).with_hint(format!(
                "known targets: {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            ))
        })
    }

    /// What a target call needs to know of this step.
    #[must_use]
    pub fn target_context(&self, consents: Consents) -> Context {
        let reporter = Arc::clone(&self.scope.reporter);
        let node = self.node.clone();
        Context::new(self.idempotency_key())
            .with_run(self.scope.run.clone(), self.node.clone())
            .with_epoch(self.scope.epoch)
            .with_deadline(self.deadline)
            .with_cancel(CancellationToken::clone(&self.cancel))
            .with_secrets(self.scope.services.secrets.clone(), self.scope.services.masker.clone())
            .with_consents(consents)
            .with_clock(Arc::clone(&self.scope.services.clock))
            .with_progress(Arc::new(move |text: &str| reporter.progress(&node, text)))
    }

    /// Tells who watches what is going on; not durable.
    pub fn progress(&self, text: &str) {
        self.scope.reporter.progress(&self.node, &self.scope.services.masker.mask(text));
    }

    /// A file that was pinned when the run started.
    ///
    /// # Errors
    /// Terminal when the run pins no such file.
    pub async fn blob(&self, hash: ContentHash) -> Result<Arc<[u8]>, StepError> {
        self.scope.reporter.blob(hash).await
    }
}

/// Makes a [`StepContext`] outside any engine.
#[derive(Debug)]
pub struct StepContextBuilder {
    run: RunId,
    node: NodeName,
    attempt: u32,
    services: Services,
    checkpoint: Option<Arc<Value>>,
    resumed: Option<Arc<Resumed>>,
}

impl StepContextBuilder {
    /// With these services.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.services = services;
        self
    }

    /// As this attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// With what an earlier attempt left.
    #[must_use]
    pub fn last_checkpoint(mut self, value: Value) -> Self {
        self.checkpoint = Some(Arc::new(value));
        self
    }

    /// As a parked step that is performed again.
    #[must_use]
    pub fn resumed_by(mut self, resumed: Resumed) -> Self {
        self.resumed = Some(Arc::new(resumed));
        self
    }

    /// The context, and the token that cancels it.
    #[must_use]
    pub fn build(self) -> (StepContext, CancellationToken) {
        let cancel = CancellationToken::new();
        let scope = RunScope {
            run: self.run,
            namespace: Namespace::default(),
            epoch: Epoch(1),
            services: Arc::new(self.services),
            reporter: Arc::new(MemoryReporter::default()),
        };
        let context = StepContext {
            scope: Arc::new(scope),
            node: self.node,
            attempt: self.attempt,
            generation: 0,
            compensating: false,
            deadline: None,
            cancel: Arc::new(cancel.clone()),
            checkpoint: self.checkpoint,
            resumed: self.resumed,
        };
        (context, cancel)
    }
}

/// Keeps what a step outside an engine reports.
#[derive(Debug, Default)]
struct MemoryReporter(Mutex<Vec<Value>>);

#[async_trait]
impl StepReporter for MemoryReporter {
    async fn checkpoint(&self, _node: &NodeName, _attempt: u32, value: Value) -> Result<(), StepError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        Ok(())
    }

    fn progress(&self, _node: &NodeName, _text: &str) {}

    async fn blob(&self, hash: ContentHash) -> Result<Arc<[u8]>, StepError> {
        Err(StepError::terminal("blob.unknown", format_args!("no file {hash} is pinned outside a run")))
    }
}
