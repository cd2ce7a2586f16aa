//! A store that is watched while an engine uses it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use windflow_core::store::{
    Batch, Claim, Created, Holder, InboxEntry, Lease, NewRun, RunQuery, Store, StoreError, Submission, WorkerId,
};
use windflow_core::{ContentHash, MemoryStore, Namespace, Recorded, RunId, Seq, Summary, Timestamp};

/// A store in memory that counts what it is asked, and answers as a test wants it to.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    pub store: MemoryStore,
    pub watch: Arc<Watch>,
}

#[derive(Debug, Default)]
pub struct Watch {
    /// How often single runs were read.
    pub reads: AtomicUsize,
    /// How often somebody looked for runs that are due.
    pub looks: AtomicUsize,
    /// What the next append is answered, which is then not made.
    pub append: Mutex<Option<StoreError>>,
    /// What the next looks into an inbox are answered instead of what is there.
    pub inbox: Mutex<Vec<StoreError>>,
    /// Releases wait as long as somebody holds this.
    pub release: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Store for Watched {
    async fn create(&self, new: NewRun) -> Result<Created, StoreError> {
        self.store.create(new).await
    }
    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        let answer = self.watch.append.lock().unwrap().take();
        match answer {
            Some(error) => Err(error),
            None => self.store.append(batch).await,
        }
    }
    async fn journal(&self, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError> {
        self.watch.reads.fetch_add(1, Ordering::SeqCst);
        self.store.journal(run, after).await
    }
    async fn summary(&self, run: &RunId) -> Result<Option<Summary>, StoreError> {
        self.watch.reads.fetch_add(1, Ordering::SeqCst);
        self.store.summary(run).await
    }
    async fn list(&self, query: &RunQuery) -> Result<Vec<Summary>, StoreError> {
        self.store.list(query).await
    }
    async fn claim(
        &self,
        run: &RunId,
        worker: &WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.store.claim(run, worker, now, until).await
    }
    async fn renew(&self, worker: &WorkerId, until: Timestamp) -> Result<(), StoreError> {
        self.store.renew(worker, until).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let _free = self.watch.release.lock().await;
        self.store.release(lease).await
    }
    async fn due(&self, namespace: &Namespace, now: Timestamp, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.watch.looks.fetch_add(1, Ordering::SeqCst);
        self.store.due(namespace, now, limit).await
    }
    async fn next_wake(&self, namespace: &Namespace, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.store.next_wake(namespace, after).await
    }
    async fn holder(&self, run: &RunId) -> Result<Option<Holder>, StoreError> {
        self.watch.reads.fetch_add(1, Ordering::SeqCst);
        self.store.holder(run).await
    }
    async fn submit(&self, submission: Submission) -> Result<(u64, bool), StoreError> {
        self.store.submit(submission).await
    }
    async fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, StoreError> {
        self.watch.reads.fetch_add(1, Ordering::SeqCst);
        let answer = self.watch.inbox.lock().unwrap().pop();
        match answer {
            Some(error) => Err(error),
            None => self.store.inbox(run).await,
        }
    }
    async fn asked(&self, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.store.asked(namespace, limit).await
    }
    async fn news(&self, namespace: &Namespace, seen: u64) -> u64 {
        self.store.news(namespace, seen).await
    }
    async fn blob(&self, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.store.blob(hash).await
    }
}
