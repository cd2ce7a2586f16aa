//! Runs that an engine finds and must not touch.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use windflow_core::engine::WaitError;
use windflow_core::run::Event;
use windflow_core::store::{Batch, Claim, WorkerId};
use windflow_core::{
    Drive, Engine, EngineBuilder, ManualClock, MemoryStore, Node, RunId, RunState, Seq, StartOptions, StepContext,
    StepError, Store, Timestamp, Workflow, action_fn,
};

fn builder(store: &MemoryStore, action: &str) -> EngineBuilder {
    let echo = action_fn(|_cx: StepContext, input: Value| async move { Ok::<_, StepError>(input) });
    Engine::builder(store.clone()).action(action, echo.pure())
}

fn workflow(action: &str) -> Arc<Workflow> {
    Workflow::builder("one").node(Node::new("a", action).input(json!(1))).build().unwrap()
}

/// A run that was created and that nobody has driven yet.
async fn left(store: &MemoryStore, action: &str) -> RunId {
    let engine = builder(store, action).build();
    let options = StartOptions::default();
    let run = engine.start_with(workflow(action), Value::Null, options).await.unwrap().id().clone();
    // Before its driver has had a turn: the process died.
    drop(engine);
    run
}

async fn left_alone(engine: &Engine, run: &RunId) -> WaitError {
    let found = async {
        loop {
            if let Some((_, why)) = engine.left_alone().into_iter().find(|(other, _)| other == run) {
                return why;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.unwrap()
}

/// Gives a run back as a newer version would leave it.
async fn written_by_a_newer_version(store: &MemoryStore, run: &RunId) {
    let end = Timestamp(u64::MAX);
    let Claim::Taken(lease) = store.claim(run, &WorkerId::generate(), end, end).await.unwrap() else { panic!() };
    let mut summary = store.summary(run).await.unwrap().unwrap();
    (summary.version, summary.build) = (Event::VERSION + 1, "9.9.9".into());
    let (after, at) = (summary.seq, summary.updated_at);
    let batch = Batch {
        lease,
        after,
        at,
        events: Arc::from([]),
        summary,
        consumed: Vec::new(),
        release: true,
        children: Vec::new(),
        submissions: Vec::new(),
    };
    store.append(batch).await.unwrap();
}

#[tokio::test]
async fn a_run_of_a_newer_version_is_left_as_it_is_and_others_go_on() {
    let store = MemoryStore::new();
    let run = left(&store, "echo").await;
    written_by_a_newer_version(&store, &run).await;
    let (row, journal) = (store.summary(&run).await.unwrap(), store.journal(&run, Seq(0)).await.unwrap());

    let engine = builder(&store, "echo").drive(Drive::All).max_active(1).build();
    let why = left_alone(&engine, &run).await;
    assert!(matches!(&why, WaitError::Unreadable { why, .. } if why.contains("windflow 9.9.9")), "{why}");
    let other = left(&store, "echo").await;
    let held = store.holder(&other).await.unwrap().unwrap();
    let lease = windflow_core::store::Lease { run: other.clone(), worker: held.worker, epoch: windflow_core::Epoch(1) };
    store.release(&lease).await.unwrap();
    let report = engine.handle(other).wait().await.unwrap();
    assert_eq!(report.state, RunState::Succeeded, "the one that waits longest must not fill the page");
    assert!(matches!(engine.drive(&run).await, Err(WaitError::Unreadable { .. })));
    engine.shutdown().await;
    assert_eq!(store.summary(&run).await.unwrap(), row);
    assert_eq!(store.journal(&run, Seq(0)).await.unwrap(), journal);
    assert_eq!(store.holder(&run).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_asks_for_more_than_an_engine_has_is_left_for_another() {
    let store = MemoryStore::new();
    let run = left(&store, "echo").await;
    let held = store.holder(&run).await.unwrap().unwrap();
    let lease = windflow_core::store::Lease { run: run.clone(), worker: held.worker, epoch: windflow_core::Epoch(1) };
    store.release(&lease).await.unwrap();

    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let without = builder(&store, "other").clock(clock.clone()).drive(Drive::All).build();
    let why = left_alone(&without, &run).await;
    assert!(why.to_string().contains("there is no action 'echo'"), "{why}");
    assert!(matches!(without.drive(&run).await, Err(WaitError::Lacking { .. })));
    let handle = without.handle(run.clone());
    let waiting = tokio::spawn(async move { handle.wait().await });
    for seconds in 0.. {
        assert!(seconds < 60, "it waits for what will never come");
        if waiting.is_finished() {
            assert!(seconds > 10, "another may still take it");
            break;
        }
        clock.advance(Duration::from_secs(1));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    let waited = waiting.await.unwrap();
    assert!(matches!(waited, Err(WaitError::Lacking { .. })), "nothing will come of it here: {waited:?}");
    without.shutdown().await;
    assert!(!store.summary(&run).await.unwrap().unwrap().state.is_final(), "neither failed nor undone");

    let with = builder(&store, "echo").drive(Drive::All).build();
    assert_eq!(with.handle(run).wait().await.unwrap().state, RunState::Succeeded);
    with.shutdown().await;
}
