//! What runs that wait cost an engine that looks after them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use windflow_core::{Engine, Node, Principal, Request, RunState, SignalName, Workflow};

use super::gate::Gate;
use super::watched::Watched;

/// How many reads of single runs it takes until `signals` runs of `waiting` that wait have ended.
async fn reads(waiting: usize, signals: usize) -> usize {
    let store = Watched::default();
    let engine = Engine::builder(store.clone()).action("gate", Gate).build();
    let workflow = Workflow::builder("wait").node(Node::new("gate", "gate")).build().unwrap();
    let mut runs = Vec::new();
    for _ in 0..waiting {
        runs.push(engine.start(Arc::clone(&workflow), json!(null)).await.unwrap());
    }
    while engine.active() > 0 {
        tokio::task::yield_now().await;
    }
    let before = store.watch.reads.load(Ordering::SeqCst);
    for run in &runs[..signals] {
        let signal = Request::Signal { name: SignalName::new("go").unwrap(), payload: json!(1) };
        engine.submit(run.id(), signal, Principal::unverified("ada"), None).await.unwrap();
        assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    }
    let reads = store.watch.reads.load(Ordering::SeqCst) - before;
    engine.shutdown().await;
    reads
}

#[tokio::test]
async fn many_runs_that_wait_cost_no_more_questions_than_few() {
    let few = reads(10, 10).await;
    let many = reads(500, 10).await;
    assert!(many <= 2 * few + 20, "{many} reads beside 500 runs that wait, {few} beside 10");
}
