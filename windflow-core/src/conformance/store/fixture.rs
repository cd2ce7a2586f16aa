//! What every check uses: a tally of what it looked at, and runs to look at.

use std::fmt::{self, Display};
use std::sync::Arc;

use serde_json::json;

use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, NodeIndex, Principal, RunId, Seq, SignalName, WorkflowName};
use crate::run::{self, Event, Request, RunState, Summary};
use crate::store::StoreError;
use crate::store::{Batch, Created, Fault, Lease, NewRun, Store, Submission, WorkerId};
use crate::time::Timestamp;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub(super) String);

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(format!("a call that must succeed failed: {:?}: {error}", error.fault))
    }
}

/// What a check comes to: how many things it looked at, or the first that was wrong.
pub type Verdict = Result<u32, Broken>;

#[derive(Debug, Default)]
pub(super) struct Tally(u32);

impl Tally {
    pub(super) fn verdict(self) -> Verdict {
        Ok(self.0)
    }

    pub(super) fn that(&mut self, kept: bool, promise: impl Display) -> Result<(), Broken> {
        self.0 += 1;
        if kept { Ok(()) } else { Err(Broken(promise.to_string())) }
    }

    pub(super) fn same<T: PartialEq + fmt::Debug>(
        &mut self,
        found: &T,
        wanted: &T,
        promise: &str,
    ) -> Result<(), Broken> {
        self.that(found == wanted, format_args!("{promise}: found {found:?}, wanted {wanted:?}"))
    }

    pub(super) fn fails<T: fmt::Debug>(
        &mut self,
        found: Result<T, StoreError>,
        with: Fault,
        promise: &str,
    ) -> Result<(), Broken> {
        let fault = found.as_ref().err().map(|error| error.fault);
        self.that(fault == Some(with), format_args!("{promise}: found {found:?}, wanted {with:?}"))
    }
}

/// A namespace nobody else uses.
#[must_use]
pub fn own_namespace() -> Namespace {
    // A run id made of hexadecimal digits and dashes is a namespace too.
    Namespace::new(RunId::generate().as_str()).unwrap_or_default()
}

/// The row of a run that was just created, with nothing in its journal.
#[must_use]
pub fn summary(run: &RunId, namespace: &Namespace) -> Summary {
    Summary {
        run: run.clone(),
        namespace: namespace.clone(),
        workflow: WorkflowName::fixed("conformance"),
        hash: ContentHash::of(b"conformance"),
        state: RunState::Running,
        seq: Seq(0),
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        wake_at: Some(Timestamp(1)),
        finished: 0,
        total: 10,
        problem: None,
        version: Event::VERSION,
        build: Summary::BUILD.into(),
        parent: None,
    }
}

/// A run to be created with one event, leased until 1,000.
#[must_use]
pub fn new_run(run: &RunId, namespace: &Namespace, worker: &WorkerId) -> NewRun {
    let summary = Summary { seq: Seq(1), ..summary(run, namespace) };
    let created = Event::Created(Box::new(run::Created {
        version: Event::VERSION,
        run: run.clone(),
        namespace: namespace.clone(),
        workflow: summary.hash,
        name: summary.workflow.clone(),
        input: json!({"n": 1}),
        seed: 7,
        principal: Principal::unverified("ada"),
        epoch: Epoch(1),
        parent: None,
    }));
    NewRun {
        key: None,
        fingerprint: ContentHash::of(b"one"),
        worker: worker.clone(),
        until: Timestamp(1_000),
        at: Timestamp(1),
        events: Arc::from([created]),
        summary,
        blobs: Vec::new(),
    }
}

/// A batch that appends these events after `before`.
#[must_use]
pub fn batch(lease: &Lease, before: &Summary, at: u64, events: Vec<Event>) -> Batch {
    let seq = Seq(before.seq.0 + events.len() as u64);
    Batch {
        lease: lease.clone(),
        after: before.seq,
        at: Timestamp(at),
        events: events.into(),
        summary: Summary { seq, updated_at: Timestamp(at), ..before.clone() },
        consumed: Vec::new(),
        release: false,
        children: Vec::new(),
        submissions: Vec::new(),
    }
}

/// An event that is told from others by its attempt.
#[must_use]
pub fn started(attempt: u32) -> Event {
    Event::Started { node: NodeIndex(0), attempt }
}

/// A signal for a run.
#[must_use]
pub fn signal(run: &RunId, dedup: Option<&str>, at: u64) -> Submission {
    // The name follows the rule; a signal is only carried here.
    let name = SignalName::new("go");
    let request = match name {
        Ok(name) => Request::Signal { name, payload: json!({"n": at}) },
        Err(_) => Request::Resume,
    };
    Submission {
        run: run.clone(),
        request,
        principal: Principal::unverified("ada"),
        dedup: dedup.map(str::to_owned),
        at: Timestamp(at),
    }
}

pub(super) struct Made {
    pub(super) namespace: Namespace,
    pub(super) worker: WorkerId,
    pub(super) lease: Lease,
    pub(super) summary: Summary,
}

pub(super) async fn make(store: &dyn Store) -> Result<Made, Broken> {
    make_in(store, &own_namespace()).await
}

pub(super) async fn make_in(store: &dyn Store, namespace: &Namespace) -> Result<Made, Broken> {
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    let new = new_run(&run, namespace, &worker);
    let summary = new.summary.clone();
    match store.create(new).await? {
        Created::New(lease) => Ok(Made { namespace: namespace.clone(), worker, lease, summary }),
        Created::Exists { .. } => Err(Broken("a new run was said to be there already".into())),
    }
}

/// Makes one test of every check. The expression is a future of an `Arc<dyn Store>`, evaluated once for each.
///
/// ```
/// mod memory_store {
///     use std::sync::Arc;
///     use windflow_core::{MemoryStore, Store};
///     windflow_core::store_conformance!(async { Arc::new(MemoryStore::new()) as Arc<dyn Store> });
/// }
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($open:expr) => {
        $crate::store_conformance!(@each $open;
            creates_once, 11; creates_once_among_many, 3; appends_at_the_head, 14; one_record_per_position, 300;
            fences_old_epochs, 10; leases_keep_others_away, 11; nothing_is_left_behind, 15; inbox_keeps_and_dedups, 12;
            lists_in_pages, 11; begins_and_tells_with_an_append, 18; unknown_runs_are_not_found, 8; news_wakes_who_waits, 2;);
    };
    (@each $open:expr; $($check:ident, $least:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            match $crate::conformance::store::$check($open.await).await {
                Ok(checks) => assert!(checks >= $least, "it looked at {checks} things only"),
                Err(broken) => panic!("{broken}"),
            }
        }
    )*};
}
