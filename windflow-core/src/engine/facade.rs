//! The engine as its users see it.

use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::builder::{EngineBuilder, Inner};
use super::error::{StartError, SubmitError, WaitError};
use super::handle::RunHandle;
use super::load::load;
use crate::action::{Registry, Services};
use crate::hash::ContentHash;
use crate::id::{Epoch, Principal, RunId};
use crate::run::{Request, Run, Start};
use crate::store::{Blob, Created, NewRun, Store, Submission, WorkerId};
use crate::time::Timestamp;
use crate::workflow::{Severity, Workflow};

/// How a run is started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StartOptions {
    /// Its id; a new one when absent.
    pub run: Option<RunId>,
    /// The caller's key: a second start under it finds the first run.
    pub key: Option<String>,
    /// Who starts it; the engine itself when absent.
    pub principal: Option<Principal>,
    /// Files it pins.
    pub blobs: Vec<Blob>,
}

impl StartOptions {
    /// With this id.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// Under this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// On behalf of somebody.
    #[must_use]
    pub fn principal(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Pinning a file.
    #[must_use]
    pub fn blob(mut self, blob: Blob) -> Self {
        self.blobs.push(blob);
        self
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Whether it was there already under the same key.
    pub duplicate: bool,
}

/// Drives runs. Cheap to clone; all clones are one engine.
///
/// ```
/// use windflow_core::{Engine, MemoryStore, Node, StepContext, StepError, Workflow, action_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let greet = action_fn(|_cx: StepContext, name: String| async move { Ok::<_, StepError>(format!("hello, {name}")) });
/// let workflow = Workflow::builder("greeting")
///     .node(Node::new("greet", "greet").input("${{ inputs.name }}".into()))
///     .outputs("${{ nodes.greet.output }}!".into())
///     .build()?;
///
/// let engine = Engine::builder(MemoryStore::new()).action("greet", greet.pure()).build();
/// let run = engine.start(workflow, serde_json::json!({ "name": "Ada" })).await?;
/// assert_eq!(run.wait().await?.output, "hello, Ada!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine(pub(super) Arc<Owner>);

/// Ends the engine's tasks with its last clone.
#[derive(Debug)]
pub(super) struct Owner(pub(super) Arc<Inner>);

impl Drop for Owner {
    fn drop(&mut self) {
        // Whoever wanted an orderly end has called `shutdown`; what is left ends like a crash, which loses nothing.
        self.0.kill.cancel();
    }
}

impl Engine {
    /// Starts building an engine over a store.
    pub fn builder(store: impl Store) -> EngineBuilder {
        EngineBuilder::new(Arc::new(store))
    }

    /// Starts building an engine over a store that is shared.
    pub fn builder_shared(store: Arc<dyn Store>) -> EngineBuilder {
        EngineBuilder::new(store)
    }

    pub(super) fn new(inner: Arc<Inner>) -> Self {
        inner.tasks.spawn(Arc::clone(&inner).intake());
        Self(Arc::new(Owner(inner)))
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }

    /// The actions it knows.
    #[must_use]
    pub fn actions(&self) -> &Registry {
        &self.inner().actions
    }

    /// What it offers to its steps.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.inner().services
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner().store
    }

    /// The name under which it holds runs.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.inner().worker
    }

    /// Starts a run under a new id.
    ///
    /// # Errors
    /// [`StartError`]; nothing has begun then.
    pub async fn start(&self, workflow: Arc<Workflow>, input: Value) -> Result<RunHandle, StartError> {
        self.start_with(workflow, input, StartOptions::default()).await
    }

    /// Starts a run. Idempotent: a second start under the same id or key, with the same workflow and input, finds the
    /// first run.
    ///
    /// # Errors
    /// [`StartError::Different`] when that run has another workflow or input. Nothing has begun after any error but a
    /// store's [`Fault::Unknown`](crate::store::Fault::Unknown): call again under the same id or key then.
    pub async fn start_with(
        &self,
        workflow: Arc<Workflow>,
        input: Value,
        options: StartOptions,
    ) -> Result<RunHandle, StartError> {
        let inner = self.inner();
        if inner.closing.is_cancelled() {
            return Err(StartError::Closing);
        }
        let input = workflow.resolve_input(input).map_err(StartError::Input)?;
        let mut findings = workflow.lint(&inner.actions);
        findings.retain(|finding| finding.severity == Severity::Error);
        if !findings.is_empty() {
            return Err(StartError::Workflow(findings));
        }
        let id = options.run.unwrap_or_else(RunId::generate);
        if id.is_child() {
            return Err(StartError::Id { run: id });
        }
        let now = inner.now();
        let fingerprint = ContentHash::of_value(&serde_json::json!([workflow.hash(), input]));
        let start = Start {
            run: id.clone(),
            namespace: inner.namespace.clone(),
            input,
            seed: inner.seed.unwrap_or_else(|| fastrand::u64(..)),
            principal: options.principal.unwrap_or_else(Principal::system),
            epoch: Epoch(1),
            parent: None,
        };
        let pinned = Blob { hash: workflow.hash(), bytes: Arc::clone(workflow.bytes()) };
        let (run, events) = Run::start(start, workflow, now)?;
        let new = NewRun {
            key: options.key,
            fingerprint,
            worker: inner.worker.clone(),
            until: inner.lease_until(),
            at: now,
            events: events.into(),
            summary: run.summary(),
            blobs: std::iter::once(pinned).chain(options.blobs).collect(),
        };
        let events = Arc::clone(&new.events);
        match inner.store.create(new).await? {
            Created::New(lease) => {
                inner.own_insert(id.clone(), None);
                inner.emit_first(&run, now, &events);
                inner.spawn(lease, run, false);
                Ok(self.handle(id))
            }
            Created::Exists { summary, fingerprint: theirs } if theirs == fingerprint => {
                self.look_after(&summary.run);
                Ok(self.handle(summary.run))
            }
            Created::Exists { summary, .. } => Err(StartError::Different { run: summary.run }),
        }
    }

    /// A run of the store, whether it exists or not.
    #[must_use]
    pub fn handle(&self, run: RunId) -> RunHandle {
        RunHandle { inner: Arc::clone(self.inner()), id: run }
    }

    /// Drives a run that is in the store, from where it was left, until it is over. Says whether it was taken at once;
    /// if not, another living worker holds it, or nothing is due for it yet: it is then looked after, like a run started
    /// here.
    ///
    /// # Errors
    /// [`WaitError`] when there is no such run, or it cannot be read.
    pub async fn drive(&self, run: &RunId) -> Result<bool, WaitError> {
        let inner = self.inner();
        if inner.store.summary(run).await?.is_none() {
            return Err(WaitError::NotFound { run: run.clone() });
        }
        self.look_after(run);
        if inner.is_active(run) { Ok(true) } else { inner.take(run).await }
    }

    fn look_after(&self, run: &RunId) {
        let inner = self.inner();
        inner.own_insert(run.clone(), Some(Timestamp(0)));
        inner.look.notify_one();
    }

    /// Asks something of a run, whoever drives it: signal, cancel, retry, resolve… Durable when it returns.
    ///
    /// # Errors
    /// [`SubmitError::Refused`] when the run is in no state for that now. What is taken may still be refused when it
    /// is read, if the run has moved on; its journal then says so.
    pub async fn submit(
        &self,
        run: &RunId,
        request: Request,
        principal: Principal,
        dedup: Option<String>,
    ) -> Result<Submitted, SubmitError> {
        let inner = self.inner();
        match load(&*inner.store, run).await {
            Ok(current) => {
                current.may(&request, &principal).map_err(|why| SubmitError::Refused { run: run.clone(), why })?;
            }
            Err(WaitError::NotFound { run }) => return Err(SubmitError::NotFound { run }),
            Err(WaitError::Store(error)) => return Err(error.into()),
            Err(other) => return Err(SubmitError::Unreadable { run: run.clone(), why: other.to_string() }),
        }
        let submission = Submission { run: run.clone(), request, principal, dedup, at: inner.now() };
        let (_, duplicate) = inner.store.submit(submission).await?;
        inner.poke(run);
        Ok(Submitted { duplicate })
    }

    /// Stops in an orderly way: nothing new starts, open attempts are asked to stop and get the grace period, what they
    /// came to is written down, and the runs are given back. Runs that are not over go on when they are driven again.
    pub async fn shutdown(&self) {
        let inner = self.inner();
        inner.closing.cancel();
        inner.tasks.close();
        inner.tasks.wait().await;
    }

    /// Runs that were found and are left alone for as long as this engine lives, and why: a newer version has written
    /// them, or they ask for what it does not have. Another engine may drive them; [`Engine::drive`] tries again.
    #[must_use]
    pub fn left_alone(&self) -> Vec<(RunId, WaitError)> {
        self.inner().aside.for_good()
    }

    /// Why a run that should be driven here is not, if it is left alone: for as long as this engine lives, as
    /// [`Engine::left_alone`] tells, or until it is tried again in a minute, because the store fails.
    #[must_use]
    pub fn why_left_alone(&self, run: &RunId) -> Option<WaitError> {
        self.inner().aside.why(run, self.inner().now())
    }

    /// How many runs are driven here now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.inner().active.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
