//! What runs that wait cost an engine that looks after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use windflow_core::store::{
    Batch, Claim, Created, Holder, InboxEntry, Lease, NewRun, RunQuery, Store, StoreError, Submission, WorkerId,
};
use windflow_core::{
    Action, ContentHash, Engine, Guarantee, MemoryStore, Namespace, Node, Outcome, Principal, Recorded, Request,
    Reversal, RunId, RunState, Seen, Seq, SignalName, StepContext, StepError, Summary, Timestamp, Undone, Workflow,
    outcome::Until,
};

/// Counts what is read of single runs.
#[derive(Debug, Clone, Default)]
struct Counted(MemoryStore, Arc<AtomicUsize>);

#[async_trait]
impl Store for Counted {
    async fn create(&self, new: NewRun) -> Result<Created, StoreError> {
        self.0.create(new).await
    }
    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.append(batch).await
    }
    async fn journal(&self, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.journal(run, after).await
    }
    async fn summary(&self, run: &RunId) -> Result<Option<Summary>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.summary(run).await
    }
    async fn list(&self, query: &RunQuery) -> Result<Vec<Summary>, StoreError> {
        self.0.list(query).await
    }
    async fn claim(
        &self,
        run: &RunId,
        worker: &WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.0.claim(run, worker, now, until).await
    }
    async fn renew(&self, worker: &WorkerId, until: Timestamp) -> Result<(), StoreError> {
        self.0.renew(worker, until).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.0.release(lease).await
    }
    async fn due(&self, namespace: &Namespace, now: Timestamp, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.0.due(namespace, now, limit).await
    }
    async fn next_wake(&self, namespace: &Namespace, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.0.next_wake(namespace, after).await
    }
    async fn holder(&self, run: &RunId) -> Result<Option<Holder>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.holder(run).await
    }
    async fn submit(&self, submission: Submission) -> Result<(u64, bool), StoreError> {
        self.0.submit(submission).await
    }
    async fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.inbox(run).await
    }
    async fn asked(&self, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.0.asked(namespace, limit).await
    }
    async fn news(&self, namespace: &Namespace, seen: u64) -> u64 {
        self.0.news(namespace, seen).await
    }
    async fn blob(&self, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError> {
        self.0.blob(hash).await
    }
}

/// Waits for the signal `go`.
#[derive(Debug)]
struct Gate;

#[async_trait]
impl Action for Gate {
    fn guarantee(&self, _: &Value) -> Guarantee {
        Guarantee::Convergent
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, cx: &StepContext, _: Value) -> Result<Outcome, StepError> {
        Ok(match cx.resumed_by() {
            Some(_) => Outcome::Done(json!("gone")),
            None => Outcome::Parked(Until::Signal { name: SignalName::new("go").unwrap(), deadline: None }),
        })
    }
    async fn observe(&self, _: &StepContext, _: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}

/// How many reads of single runs it takes until `signals` runs of `waiting` that wait have ended.
async fn reads(waiting: usize, signals: usize) -> usize {
    let store = Counted::default();
    let engine = Engine::builder(store.clone()).action("gate", Gate).build();
    let workflow = Workflow::builder("wait").node(Node::new("gate", "gate")).build().unwrap();
    let mut runs = Vec::new();
    for _ in 0..waiting {
        runs.push(engine.start(Arc::clone(&workflow), json!(null)).await.unwrap());
    }
    while engine.active() > 0 {
        tokio::task::yield_now().await;
    }
    let before = store.1.load(Ordering::SeqCst);
    for run in &runs[..signals] {
        let signal = Request::Signal { name: SignalName::new("go").unwrap(), payload: json!(1) };
        engine.submit(run.id(), signal, Principal::unverified("ada"), None).await.unwrap();
        assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    }
    let reads = store.1.load(Ordering::SeqCst) - before;
    engine.shutdown().await;
    reads
}

#[tokio::test]
async fn many_runs_that_wait_cost_no_more_questions_than_few() {
    let few = reads(10, 10).await;
    let many = reads(500, 10).await;
    assert!(many <= 2 * few + 20, "{many} reads beside 500 runs that wait, {few} beside 10");
}
