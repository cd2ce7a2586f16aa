//! Which runs an engine looks after: those it was told to, among any number of others, and none that it must not touch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use windflow_core::store::{Fault, Lease, StoreError};
use windflow_core::{
    Clock, Drive, Engine, Epoch, Guarantee, ManualClock, Node, Principal, Request, RunId, RunState, Seq, SignalName,
    StepContext, StepError, Store, Timestamp, Workflow, action_fn,
};

use super::gate::Gate;
use super::watched::Watched;

fn engine(store: &Watched, drive: Drive) -> Engine {
    let echo = action_fn(|_cx: StepContext, input: Value| async move { Ok::<_, StepError>(input) });
    let hang = action_fn(|_cx: StepContext, _: Value| std::future::pending::<Result<(), StepError>>());
    let builder = Engine::builder(store.clone()).action("echo", echo.pure()).action("hang", hang.pure());
    builder.action("gate", Gate).drive(drive).build()
}

fn one(action: &str) -> Arc<Workflow> {
    Workflow::builder("one").node(Node::new("a", action).input(json!(1))).build().unwrap()
}

/// Starts runs in a process that dies before their drivers have had a turn. They are still held.
async fn left(store: &Watched, action: &str, count: usize) -> Vec<RunId> {
    let engine = engine(store, Drive::Own);
    let mut runs = Vec::new();
    for _ in 0..count {
        runs.push(engine.start(one(action), Value::Null).await.unwrap().id().clone());
    }
    drop(engine);
    runs
}

async fn give_back(store: &Watched, run: &RunId) {
    let held = store.store.holder(run).await.unwrap().unwrap();
    store.store.release(&Lease { run: run.clone(), worker: held.worker, epoch: Epoch(1) }).await.unwrap();
}

async fn ask(engine: &Engine, run: &RunId, request: Request) {
    engine.submit(run, request, Principal::system(), None).await.unwrap();
}

fn pause() -> Request {
    Request::Pause { reason: "lunch".to_owned() }
}

/// Lets whatever is awake go on: there is one thread.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_own_run_is_taken_however_many_others_wait_longer() {
    let store = Watched::default();
    for other in left(&store, "echo", 10_001).await {
        give_back(&store, &other).await;
    }
    let [run] = left(&store, "echo", 1).await.try_into().unwrap();
    let engine = engine(&store, Drive::Own);
    assert!(!engine.drive(&run).await.unwrap(), "it is held");
    give_back(&store, &run).await;
    let handle = engine.handle(run);
    let ended = tokio::time::timeout(Duration::from_secs(20), handle.wait()).await;
    assert_eq!(ended.expect("it was never taken").unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn an_own_run_that_waits_is_taken_when_it_is_asked_however_many_others_wait_longer() {
    let store = Watched::default();
    for other in left(&store, "echo", 10_001).await {
        give_back(&store, &other).await;
    }
    let engine = engine(&store, Drive::Own);
    let run = engine.start(one("gate"), Value::Null).await.unwrap();
    while engine.active() > 0 {
        tokio::task::yield_now().await;
    }
    ask(&engine, run.id(), Request::Signal { name: SignalName::new("go").unwrap(), payload: Value::Null }).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), run.wait()).await;
    assert_eq!(ended.expect("it was never taken").unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn whoever_shuts_down_starts_nothing_that_nobody_would_perform() {
    let store = Watched::default();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let build = || {
        let slow = action_fn(|cx: StepContext, _: Value| async move {
            cx.cancelled().await;
            Ok::<(), StepError>(())
        });
        let count = Arc::clone(&count);
        let loose = action_fn(move |_: StepContext, _: Value| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok::<(), StepError>(()) }
        });
        let builder = Engine::builder(store.clone()).action("slow", slow.pure());
        builder.action("loose", loose.guarantee(Guarantee::AtLeastOnce)).build()
    };
    let engine = build();
    let workflow = Workflow::builder("two").node(Node::new("a", "slow")).node(Node::new("b", "loose").needs(["a"]));
    let run = engine.start(workflow.build().unwrap(), Value::Null).await.unwrap();
    settle().await;
    engine.shutdown().await;
    let kinds: Vec<&str> = run.journal().await.unwrap().iter().map(|recorded| recorded.event.kind()).collect();
    assert_eq!(kinds, ["created", "started", "succeeded"]);
    let engine = build();
    engine.drive(run.id()).await.unwrap();
    assert_eq!(engine.handle(run.id().clone()).wait().await.unwrap().state, RunState::Succeeded);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_run_that_is_put_aside_keeps_nobody_busy() {
    let store = Watched::default();
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let engine = Engine::builder(store.clone()).clock(clock.clone()).action("gate", Gate).build();
    *store.watch.append.lock().unwrap() = Some(StoreError::new(Fault::Corrupt, "test: the page is torn"));
    let run = engine.start(one("gate"), Value::Null).await.unwrap();
    settle().await;
    assert_eq!(engine.left_alone().first().map(|(run, _)| run), Some(run.id()));
    let before = store.watch.looks.load(Ordering::SeqCst);
    let began = clock.now();
    while clock.now() < began.after(Duration::from_secs(60)) {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    let looks = store.watch.looks.load(Ordering::SeqCst) - before;
    assert!(looks <= 30, "{looks} looks in a minute");
}

#[tokio::test]
async fn what_another_engine_has_driven_to_its_end_is_no_longer_left_alone() {
    let store = Watched::default();
    let [run] = left(&store, "gate", 1).await.try_into().unwrap();
    give_back(&store, &run).await;
    let echo = action_fn(|_cx: StepContext, input: Value| async move { Ok::<_, StepError>(input) });
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let without = Engine::builder(store.clone()).clock(clock.clone()).action("echo", echo.pure()).drive(Drive::All);
    let without = without.build();
    clock.advance(Duration::from_secs(2_000_000_000));
    settle().await;
    assert_eq!(without.left_alone().len(), 1);
    let with = engine(&store, Drive::Own);
    with.drive(&run).await.unwrap();
    settle().await;
    ask(&with, &run, Request::Signal { name: SignalName::new("go").unwrap(), payload: Value::Null }).await;
    assert_eq!(with.handle(run).wait().await.unwrap().state, RunState::Succeeded);
    clock.advance(Duration::from_secs(61));
    settle().await;
    assert_eq!(without.left_alone().len(), 0);
}

#[tokio::test]
async fn whoever_follows_a_run_that_was_let_go_sees_what_another_engine_does_with_it() {
    let store = Watched::default();
    let first = engine(&store, Drive::Own);
    let run = first.start(one("gate"), Value::Null).await.unwrap();
    settle().await;
    let mut events = run.subscribe(Seq(0));
    let held = store.watch.release.lock().await;
    ask(&first, run.id(), pause()).await;
    while events.next().await.unwrap().unwrap().event.kind() != "paused" {}
    // It waits from here on, while the run is just being given back.
    let follower = tokio::spawn(async move { while events.next().await.unwrap().is_some() {} });
    settle().await;
    drop(held);
    while first.active() > 0 {
        tokio::task::yield_now().await;
    }
    let second = engine(&store, Drive::Own);
    ask(&second, run.id(), Request::Terminate { reason: "enough".to_owned() }).await;
    assert!(second.drive(run.id()).await.unwrap(), "before the first has heard of it");
    tokio::time::timeout(Duration::from_secs(20), follower).await.expect("it was never told").unwrap();
}

#[tokio::test]
async fn a_request_that_comes_to_nothing_is_taken_out_of_the_inbox_in_spite_of_a_lost_answer() {
    let store = Watched::default();
    let engine = engine(&store, Drive::Own);
    let run = engine.start(one("hang"), Value::Null).await.unwrap();
    settle().await;
    ask(&engine, run.id(), pause()).await;
    settle().await;
    // A second pause changes nothing; and nobody knows whether it was taken out.
    *store.watch.append.lock().unwrap() = Some(StoreError::new(Fault::Unknown, "test: the line went dead"));
    ask(&engine, run.id(), pause()).await;
    settle().await;
    let given_up = async {
        while !store.store.inbox(run.id()).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), given_up).await.expect("it is still there");
}

#[tokio::test]
async fn a_store_that_does_not_answer_for_a_moment_costs_no_step_that_runs() {
    let store = Watched::default();
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let (begun, free) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (count, gone) = (begun.clone(), free.clone());
    let work = action_fn(move |_cx: StepContext, _: Value| {
        count.fetch_add(1, Ordering::SeqCst);
        let gone = gone.clone();
        async move {
            gone.notified().await;
            Ok::<_, StepError>(())
        }
    });
    let engine = Engine::builder(store.clone()).clock(clock.clone()).action("work", work.pure()).build();
    let run = engine.start(one("work"), Value::Null).await.unwrap();
    settle().await;
    let fault = |fault| StoreError::new(fault, "test: no answer");
    *store.watch.inbox.lock().unwrap() = vec![fault(Fault::Full), fault(Fault::Unavailable), fault(Fault::Unavailable)];
    ask(&engine, run.id(), pause()).await;
    settle().await;
    let mut tries = 0;
    while !store.watch.inbox.lock().unwrap().is_empty() {
        tries += 1;
        assert!(tries < 100 && engine.left_alone().is_empty(), "the run was given up");
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
    clock.advance(Duration::from_secs(1));
    settle().await;
    ask(&engine, run.id(), Request::Resume).await;
    free.notify_one();
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    assert_eq!(begun.load(Ordering::SeqCst), 1, "it was run once, and not stopped");
}

#[tokio::test]
async fn a_lease_that_is_too_short_is_made_long_enough() {
    let store = Watched::default();
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let builder = Engine::builder(store.clone()).clock(clock.clone()).action("gate", Gate);
    let engine = builder.lease(Duration::from_millis(1)).build();
    let run = engine.start(one("gate"), Value::Null).await.unwrap();
    let until = store.store.holder(run.id()).await.unwrap().unwrap().until;
    assert_eq!(until, clock.now().after(Duration::from_millis(100)));
}
