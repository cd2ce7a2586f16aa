//! A journal that has reached its longest length.

use std::sync::Arc;

use serde_json::{Value, json};
use windflow_core::store::{Batch, Claim, WorkerId};
use windflow_core::{
    Engine, EngineBuilder, Event, MemoryStore, Node, Principal, RunState, SignalName, StepContext, StepError, Store,
    Timestamp, Workflow, action_fn,
};

/// Leaves checkpoints until it is told no.
fn builder(store: &MemoryStore) -> EngineBuilder {
    let restless = action_fn(|cx: StepContext, _input: Value| async move {
        while cx.last_checkpoint().is_none() {
            cx.checkpoint(json!(1)).await?;
        }
        Ok::<(), StepError>(())
    });
    Engine::builder(store.clone()).action("restless", restless.pure())
}

#[tokio::test]
async fn a_step_that_leaves_checkpoints_for_ever_is_told_no() {
    let store = MemoryStore::new();
    let workflow = Workflow::builder("restless").node(Node::new("a", "restless")).build().unwrap();
    let engine = builder(&store).build();
    let run = engine.start(workflow, Value::Null).await.unwrap();
    let (id, most) = (run.id().clone(), run.load().await.unwrap().most_events());
    // Before its driver has had a turn: the process died.
    drop((run, engine));

    // Long already, or this test would be.
    let end = Timestamp(u64::MAX);
    let Claim::Taken(lease) = store.claim(&id, &WorkerId::generate(), end, Timestamp(0)).await.unwrap() else {
        panic!()
    };
    let mut summary = store.summary(&id).await.unwrap().unwrap();
    let (after, at) = (summary.seq, summary.updated_at);
    let signal = Event::Signalled {
        name: SignalName::new("tick").unwrap(),
        payload: Value::Null,
        principal: Principal::system(),
    };
    let mut events = vec![Event::Claimed { epoch: lease.epoch }];
    events.resize(usize::try_from(most - 20 - after.0).unwrap(), signal);
    summary.seq.0 += events.len() as u64;
    summary.wake_at = Some(Timestamp(0));
    let events = Arc::from(events);
    store
        .append(Batch {
            lease,
            after,
            at,
            events,
            summary,
            consumed: Vec::new(),
            release: true,
            children: Vec::new(),
            submissions: Vec::new(),
        })
        .await
        .unwrap();

    let engine = builder(&store).build();
    engine.drive(&id).await.unwrap();
    let report = engine.handle(id.clone()).wait().await.unwrap();
    assert_eq!(report.state, RunState::Compensated);
    assert!(report.problem.as_deref().unwrap_or_default().contains("its journal has reached"), "{report:?}");
    let length = store.summary(&id).await.unwrap().unwrap().seq.0;
    assert!(length < most + 10, "{length}");
    engine.shutdown().await;
}
