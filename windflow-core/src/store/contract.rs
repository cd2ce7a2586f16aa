//! What a store owes the engine.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, Principal, RunId, Seq};
use crate::run::{Event, Recorded, Request, RunState, Summary};
use crate::time::Timestamp;

/// Whoever drives runs: one per engine, new at every start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub Arc<str>);

impl WorkerId {
    /// A new one (UUID version 7).
    #[must_use]
    pub fn generate() -> Self {
        Self(Arc::from(uuid::Uuid::now_v7().to_string()))
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to append to a run. Safety never depends on it: the epoch is compared at every write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// Who holds it.
    pub worker: WorkerId,
    /// The number that fences out every earlier holder.
    pub epoch: Epoch,
}

/// Bytes called by their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The hash of the bytes.
    pub hash: ContentHash,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl Blob {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: Arc<[u8]>) -> Self {
        Self { hash: ContentHash::of(&bytes), bytes }
    }
}

/// A run to be created, with its lease, its first events and what it pins: all or nothing.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The caller's key: at most one run of a namespace is created under it.
    pub key: Option<String>,
    /// The hash of workflow and input: tells a repeated start from a different one.
    pub fingerprint: ContentHash,
    /// Who will drive it.
    pub worker: WorkerId,
    /// Until when the lease holds.
    pub until: Timestamp,
    /// When the events were decided.
    pub at: Timestamp,
    /// The first events; positions 1, 2, …
    pub events: Arc<[Event]>,
    /// The row after them; it names run and namespace.
    pub summary: Summary,
    /// What it pins. A blob that is there already stays.
    pub blobs: Vec<Blob>,
}

/// What came of creating a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    /// It was created, and its lease is ours. Its epoch is 1.
    New(Lease),
    /// A run of that id, or under that key, was there already.
    Exists {
        /// That run.
        summary: Summary,
        /// The hash of its workflow and input.
        fingerprint: ContentHash,
    },
}

/// Events to be appended: all or nothing, and only when the journal still ends at `after` and nobody has claimed the
/// run since `lease.epoch`.
#[derive(Clone, Debug)]
pub struct Batch {
    /// By what right.
    pub lease: Lease,
    /// Where the journal ends.
    pub after: Seq,
    /// When they were decided.
    pub at: Timestamp,
    /// The events; positions `after + 1`, …
    pub events: Arc<[Event]>,
    /// The row after them.
    pub summary: Summary,
    /// The inbox entries these events take in; removed with the append.
    pub consumed: Vec<u64>,
    /// Whether the lease is given back with them, as by [`Store::release`]: a run that ends needs no write of its own
    /// for that.
    pub release: bool,
    /// Runs that begin with them. One of that id must not be there: that is a conflict.
    pub children: Vec<NewRun>,
    /// What is asked of other runs with them, as by [`Store::submit`]. What is for a run that is not there is dropped.
    pub submissions: Vec<Submission>,
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The run is ours, under a new epoch.
    Taken(Lease),
    /// Somebody else holds it.
    Held {
        /// Who.
        by: WorkerId,
        /// Until when, if it is not renewed and its holder lives.
        until: Timestamp,
    },
}

/// Whose a run is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub worker: WorkerId,
    /// Until when, if it is not renewed and its holder lives. It may be over already.
    pub until: Timestamp,
}

/// Something asked of a run by whoever does not hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Which run.
    pub run: RunId,
    /// What.
    pub request: Request,
    /// Who.
    pub principal: Principal,
    /// Two submissions to one run under one key are one.
    pub dedup: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// A submission that waits to be taken in.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxEntry {
    /// Grows from one entry to the next.
    pub id: u64,
    /// What was submitted.
    pub submission: Submission,
}

/// How runs that are wanted belong to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kinship {
    /// However they do.
    #[default]
    Any,
    /// No run has started them.
    Roots,
    /// This run has.
    ChildrenOf(RunId),
}

impl Kinship {
    /// Whether a run belongs to another, or to none, in this way.
    #[must_use]
    pub fn fits(&self, parent: Option<&RunId>) -> bool {
        match self {
            Self::Any => true,
            Self::Roots => parent.is_none(),
            Self::ChildrenOf(run) => parent == Some(run),
        }
    }
}

/// Which runs are wanted, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunQuery {
    /// Of which namespace.
    pub namespace: Namespace,
    /// In one of these states; any when empty.
    pub states: Vec<RunState>,
    /// Of this workflow.
    pub workflow: Option<String>,
    /// Runs of their own, or those of a run.
    pub kinship: Kinship,
    /// Only runs created before this one: the last of the page before.
    pub before: Option<RunId>,
    /// At most so many; 100 when 0.
    pub limit: u32,
}

/// What a caller can do about a store's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such run.
    NotFound,
    /// Somebody has claimed the run since: drop it.
    Fenced,
    /// The journal does not end where the batch says: drop the value and read it again.
    Conflict,
    /// It may have happened: read back before anything else.
    Unknown,
    /// No space, or the store is read-only: nothing was written, and what is there can be read.
    Full,
    /// No answer now; nothing was written.
    Unavailable,
    /// What is stored cannot be understood.
    Corrupt,
    /// A newer version of this program has written it: it is to be left as it is.
    Newer,
    /// This build or this place cannot be used: a newer schema, a network file system, no permission.
    Unusable,
}

/// A failed call to a store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}{}", hint.as_deref().map(|h| format!(" ({h})")).unwrap_or_default())]
#[non_exhaustive]
pub struct StoreError {
    /// What a caller can do.
    pub fault: Fault,
    /// What happened, a lower-case fragment that names the store.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl StoreError {
    /// What happened.
    #[must_use]
    pub fn new(fault: Fault, message: impl fmt::Display) -> Self {
        Self { fault, message: message.to_string(), hint: None }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Keeps journals, one summary row per run, leases, the inbox and pinned blobs.
///
/// The rules, checked by the conformance suite on every implementation. Every call is all or nothing. What was
/// acknowledged is found afterwards. Per run there is one record per position, and a writer whose epoch is not the
/// newest changes nothing at all. A run that nobody holds is in [`Store::due`] whenever it wants to be driven, so that
/// none is left behind. [`Store::news`] is a hint that may be lost; nothing depends on it but speed.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Creates a run, or tells which one is there already under its id or key.
    async fn create(&self, new: NewRun) -> Result<Created, StoreError>;

    /// Appends to a run's journal.
    async fn append(&self, batch: Batch) -> Result<(), StoreError>;

    /// A run's journal from the record after `after`, in order.
    async fn journal(&self, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError>;

    /// A run's row.
    async fn summary(&self, run: &RunId) -> Result<Option<Summary>, StoreError>;

    /// Runs, newest first.
    async fn list(&self, query: &RunQuery) -> Result<Vec<Summary>, StoreError>;

    /// Takes a run under a new epoch, unless a living worker holds it. Any run may be claimed, a finished one too.
    async fn claim(
        &self,
        run: &RunId,
        worker: &WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError>;

    /// Who has taken a run and not given it back, unless that worker is known to be dead. A question for people: only a
    /// claim decides.
    async fn holder(&self, run: &RunId) -> Result<Option<Holder>, StoreError>;

    /// Lets all runs this worker holds be its own until then.
    async fn renew(&self, worker: &WorkerId, until: Timestamp) -> Result<(), StoreError>;

    /// Gives a run back. Harmless when it is held by somebody else by now.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Runs that nobody living holds and that want to be driven: their time has come, or their inbox has something.
    /// Those waiting longest first, at most `limit`.
    async fn due(&self, namespace: &Namespace, now: Timestamp, limit: u32) -> Result<Vec<RunId>, StoreError>;

    /// When the next run that nobody holds wants to be driven, after a moment: what wants to be until then is in
    /// [`Store::due`].
    async fn next_wake(&self, namespace: &Namespace, after: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Puts something into a run's inbox, durably and without its lease. Answers the entry's id, and whether it was
    /// there already under the same dedup key, even if it has been taken in since.
    async fn submit(&self, submission: Submission) -> Result<(u64, bool), StoreError>;

    /// What waits in a run's inbox, oldest first.
    async fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, StoreError>;

    /// Runs with something in their inbox, whoever holds them, at most `limit`.
    async fn asked(&self, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError>;

    /// Returns when a run of the namespace may have got something into its inbox, or may have become due, since it
    /// answered `seen` (0 at first), with a number to ask with next time. Never busy: it is told, or looks a few times
    /// a second at something cheap.
    async fn news(&self, namespace: &Namespace, seen: u64) -> u64;

    /// Pinned bytes.
    async fn blob(&self, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError>;
}
