//! The store itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot, watch};
use windflow_core::run::Event;
use windflow_core::store::{
    Batch, Bell, Claim, Created, Fault, Holder, InboxEntry, Lease, NewRun, RunQuery, Submission, WorkerId,
};
use windflow_core::{ContentHash, Namespace, Recorded, RunId, Seq, Store, StoreError, Summary, Timestamp};

use super::liveness::Liveness;
use super::open::{SqliteOptions, open};
use super::read;
use super::request::{Append, Request};

/// How often the file is asked whether another process has written, while somebody waits for news.
const LOOK: Duration = Duration::from_millis(200);

/// What the store and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub path: PathBuf,
    /// Which file was opened: another may lie at its path by now, or none.
    pub inode: u64,
    pub bell: Bell,
    pub liveness: Liveness,
    /// Whether the writer has closed the file.
    pub closed: watch::Sender<bool>,
}

/// Keeps journals in one SQLite file.
///
/// One thread writes: it gathers the calls that wait and commits them together, durably (`synchronous=FULL`), so that
/// many runs cost little more than one. Other processes may use the same file at the same time: a cancel submitted
/// from another terminal reaches the process that drives the run. Clones share one store; the file is closed when the
/// last one goes, or by [`SqliteStore::close`].
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    pool: SqlitePool,
    requests: mpsc::Sender<Request>,
}

impl SqliteStore {
    /// Opens a file, which is made when it is missing, for its owner only. Beside it lives the folder `workers`, whose
    /// locked files say which processes live.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Fault::Unusable`] when the place cannot be used (no permission, a link, a network file system, a newer
    /// schema), [`Fault::Full`] when there is no space, [`Fault::Corrupt`] when the file is damaged or not ours.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        open(path.as_ref(), &options).await
    }

    pub(super) fn new(shared: Arc<Shared>, pool: SqlitePool, requests: mpsc::Sender<Request>) -> Self {
        Self { shared, pool, requests }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Waits until what was asked is written and the file is closed. Other clones must have gone.
    pub async fn close(self) {
        let Self { shared, pool, requests } = self;
        pool.close().await;
        let writer = requests.downgrade();
        drop(requests);
        // With other clones about, the writer goes on for them.
        if writer.upgrade().is_none() {
            Self::until_closed(&shared).await;
        }
    }

    /// Waits until the file is closed, which it is when the last clone has gone. Whoever ends the process after that leaves
    /// all there is in the one file, and nothing in a log beside it: unless another process uses it, too.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move { Self::until_closed(&shared).await }
    }

    async fn until_closed(shared: &Shared) {
        // The sender lives in `shared`: waiting ends only because it is closed.
        let _ = shared.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(super) fn liveness(&self) -> &Liveness {
        &self.shared.liveness
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (to, answer) = oneshot::channel();
        let gone = |fault| StoreError::new(fault, format_args!("{}: the store is closed", self.shared.path.display()));
        self.requests.send(request(to)).await.map_err(|_| gone(Fault::Unavailable))?;
        answer.await.map_err(|_| gone(Fault::Unknown))?
    }

    fn encode(&self, events: &[Event]) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(128 * events.len());
        let written = serde_json::to_writer(&mut bytes, events);
        written.map(|()| bytes).map_err(|error| {
            let what = format_args!("{}: an event cannot be written: {error}", self.shared.path.display());
            StoreError::new(Fault::Unavailable, what)
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, new: NewRun) -> Result<Created, StoreError> {
        let events = self.encode(&new.events)?;
        self.ask(|to| Request::Create { new: Box::new(new), events, to }).await
    }

    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        let events = self.encode(&batch.events)?;
        let firsts = batch.children.iter().map(|child| self.encode(&child.events)).collect::<Result<_, _>>()?;
        let append = Append::of(batch, events, firsts);
        self.ask(|to| Request::Append { append, to }).await
    }

    async fn journal(&self, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError> {
        read::journal(self, run, after).await
    }

    async fn summary(&self, run: &RunId) -> Result<Option<Summary>, StoreError> {
        read::summary(self, run).await
    }

    async fn list(&self, query: &RunQuery) -> Result<Vec<Summary>, StoreError> {
        read::list(self, query).await
    }

    async fn claim(
        &self,
        run: &RunId,
        worker: &WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        let (run, worker) = (run.clone(), worker.clone());
        self.ask(|to| Request::Claim { run, worker, now, until, to }).await
    }

    async fn holder(&self, run: &RunId) -> Result<Option<Holder>, StoreError> {
        read::holder(self, run).await
    }

    async fn renew(&self, worker: &WorkerId, until: Timestamp) -> Result<(), StoreError> {
        let worker = worker.clone();
        self.ask(|to| Request::Renew { worker, until, to }).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.ask(|to| Request::Release { lease, to }).await
    }

    async fn due(&self, namespace: &Namespace, now: Timestamp, limit: u32) -> Result<Vec<RunId>, StoreError> {
        read::due(self, namespace, now, limit).await
    }

    async fn next_wake(&self, namespace: &Namespace, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        read::next_wake(self, namespace, after).await
    }

    async fn submit(&self, submission: Submission) -> Result<(u64, bool), StoreError> {
        self.ask(|to| Request::Submit { submission: Box::new(submission), to }).await
    }

    async fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, StoreError> {
        read::inbox(self, run).await
    }

    async fn asked(&self, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError> {
        read::asked(self, namespace, limit).await
    }

    async fn news(&self, namespace: &Namespace, seen: u64) -> u64 {
        loop {
            tokio::select! {
                biased;
                count = self.shared.bell.heard(namespace, seen) => return count,
                // When the queue is full, the writer looks anyway.
                () = tokio::time::sleep(LOOK) => drop(self.requests.try_send(Request::Look)),
            }
        }
    }

    async fn blob(&self, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError> {
        read::blob(self, hash).await
    }
}
