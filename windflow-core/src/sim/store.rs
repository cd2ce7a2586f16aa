//! A store between the worker and the real one, that loses, delays and doubts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::faults::Faults;
use super::ledger::Outside;
use crate::hash::ContentHash;
use crate::id::{Namespace, RunId, Seq};
use crate::run::{Event, Recorded, Summary};
use crate::store::{
    Batch, Claim, Created, Fault, Holder, InboxEntry, Lease, MemoryStore, NewRun, RunQuery, Store, StoreError,
    Submission, WorkerId,
};
use crate::time::Timestamp;

/// What a worker was told is durable: run, position, events.
pub(super) type Acknowledged = Arc<Mutex<Vec<(RunId, Seq, Arc<[Event]>)>>>;

/// One worker's way to the store. It dies with the worker.
#[derive(Clone, Debug)]
pub(super) struct FaultyStore {
    pub(super) inner: MemoryStore,
    pub(super) faults: Faults,
    pub(super) rng: Arc<Mutex<fastrand::Rng>>,
    pub(super) outside: Outside,
    pub(super) acknowledged: Acknowledged,
    /// The worker's death: whoever runs the world is told.
    pub(super) crash: CancellationToken,
    /// While true, the worker is frozen: its calls wait, and its leases are not renewed.
    pub(super) frozen: Arc<AtomicBool>,
    /// Nothing goes wrong any more.
    pub(super) healed: Arc<AtomicBool>,
}

impl FaultyStore {
    fn chance(&self, percent: u8) -> bool {
        !self.healed.load(Ordering::SeqCst)
            && self.rng.lock().unwrap_or_else(PoisonError::into_inner).u8(0..100) < percent
    }

    fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.rng.lock().unwrap_or_else(PoisonError::into_inner).u64(0..most))
    }

    /// The worker is dead: this call never returns.
    async fn die(&self) -> StoreError {
        self.crash.cancel();
        std::future::pending().await
    }

    async fn thaw(&self) {
        while self.frozen.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn before(&self) -> Result<(), StoreError> {
        self.thaw().await;
        if self.chance(self.faults.crash_before) {
            self.outside.lock().counters.crashes_before += 1;
            return Err(self.die().await);
        }
        if self.chance(self.faults.frozen) && !self.frozen.swap(true, Ordering::SeqCst) {
            self.outside.lock().counters.frozen += 1;
            let (frozen, pause) = (Arc::clone(&self.frozen), self.millis(150_000));
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                frozen.store(false, Ordering::SeqCst);
            });
            // What was on its way arrives when the worker goes on: perhaps long after its lease has ended.
            self.thaw().await;
        }
        if self.chance(self.faults.slow) {
            tokio::time::sleep(self.millis(2_000)).await;
        }
        if self.chance(self.faults.unavailable) {
            self.outside.lock().counters.unavailable += 1;
            return Err(StoreError::new(Fault::Unavailable, "simulated: no answer"));
        }
        if self.chance(self.faults.unknown_lost) {
            self.outside.lock().counters.unknown_lost += 1;
            return Err(StoreError::new(Fault::Unknown, "simulated: lost on the way there"));
        }
        Ok(())
    }

    async fn after(&self) -> Result<(), StoreError> {
        if self.chance(self.faults.crash_after) {
            self.outside.lock().counters.crashes_after += 1;
            return Err(self.die().await);
        }
        if self.chance(self.faults.unknown_applied) {
            self.outside.lock().counters.unknown_applied += 1;
            return Err(StoreError::new(Fault::Unknown, "simulated: lost on the way back"));
        }
        Ok(())
    }

    fn acknowledge(&self, run: &RunId, after: Seq, events: &Arc<[Event]>) {
        let mut all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((run.clone(), after, Arc::clone(events)));
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn create(&self, new: NewRun) -> Result<Created, StoreError> {
        self.before().await?;
        let (run, events) = (new.summary.run.clone(), Arc::clone(&new.events));
        let created = self.inner.create(new).await?;
        self.after().await?;
        if matches!(created, Created::New(_)) {
            self.acknowledge(&run, Seq(0), &events);
        }
        Ok(created)
    }

    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        self.before().await?;
        let (run, after, events) = (batch.lease.run.clone(), batch.after, Arc::clone(&batch.events));
        let result = self.inner.append(batch).await;
        if let Err(error) = &result
            && error.fault == Fault::Fenced
        {
            self.outside.lock().counters.fenced += 1;
        }
        result?;
        self.after().await?;
        self.acknowledge(&run, after, &events);
        Ok(())
    }

    async fn journal(&self, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError> {
        self.thaw().await;
        self.inner.journal(run, after).await
    }

    async fn summary(&self, run: &RunId) -> Result<Option<Summary>, StoreError> {
        self.thaw().await;
        self.inner.summary(run).await
    }

    async fn list(&self, query: &RunQuery) -> Result<Vec<Summary>, StoreError> {
        self.inner.list(query).await
    }

    async fn claim(
        &self,
        run: &RunId,
        worker: &WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.thaw().await;
        let claim = self.inner.claim(run, worker, now, until).await?;
        if matches!(&claim, Claim::Taken(lease) if lease.epoch.0 > 1) {
            self.outside.lock().counters.takeovers += 1;
        }
        Ok(claim)
    }

    async fn holder(&self, run: &RunId) -> Result<Option<Holder>, StoreError> {
        self.thaw().await;
        self.inner.holder(run).await
    }

    async fn renew(&self, worker: &WorkerId, until: Timestamp) -> Result<(), StoreError> {
        self.thaw().await;
        self.inner.renew(worker, until).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.thaw().await;
        self.inner.release(lease).await
    }

    async fn due(&self, namespace: &Namespace, now: Timestamp, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.thaw().await;
        self.inner.due(namespace, now, limit).await
    }

    async fn next_wake(&self, namespace: &Namespace, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next_wake(namespace, after).await
    }

    async fn submit(&self, submission: Submission) -> Result<(u64, bool), StoreError> {
        self.inner.submit(submission).await
    }

    async fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, StoreError> {
        self.thaw().await;
        self.inner.inbox(run).await
    }

    async fn asked(&self, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.thaw().await;
        self.inner.asked(namespace, limit).await
    }

    async fn news(&self, namespace: &Namespace, seen: u64) -> u64 {
        self.inner.news(namespace, seen).await
    }

    async fn blob(&self, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.inner.blob(hash).await
    }
}
