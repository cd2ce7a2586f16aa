//! The engine as an embedder sees it, over the store in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use windflow_core::engine::StartError;
use windflow_core::outcome::Until;
use windflow_core::{
    Action, Drive, Engine, EngineBuilder, Guarantee, MemoryStore, Node, OnFailure, Outcome, Principal, Request, Retry,
    Reversal, RunId, RunState, Seen, Seq, SignalName, StartOptions, StepContext, StepError, SubmitError, Undone,
    Workflow, action_fn,
};

fn id(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

fn ada() -> Principal {
    Principal::unverified("ada")
}

/// An engine whose action `echo` answers its input, counting how often.
fn engine(store: &MemoryStore, count: &Arc<AtomicU32>) -> EngineBuilder {
    let count = Arc::clone(count);
    let echo = action_fn(move |_cx: StepContext, input: Value| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, StepError>(input) }
    });
    Engine::builder(store.clone()).action("echo", echo.pure()).action("gate", Gate)
}

/// Waits for the signal `go`, or, told to `hang`, for ever.
#[derive(Debug)]
struct Gate;

#[async_trait::async_trait]
impl Action for Gate {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _input: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        if input == json!("hang") {
            cx.cancelled().await;
            return Err(cx.cancelled_error());
        }
        match cx.resumed_by() {
            None => Ok(Outcome::Parked(Until::Signal { name: SignalName::new("go").unwrap(), deadline: None })),
            Some(resumed) => Ok(Outcome::Done(serde_json::to_value(resumed).unwrap())),
        }
    }
    async fn observe(&self, _cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}

fn echo() -> Arc<Workflow> {
    Workflow::builder("echo")
        .node(Node::new("a", "echo").input(json!("${{ inputs.x }}")))
        .outputs(json!("${{ nodes.a.output }}"))
        .build()
        .unwrap()
}

fn gate(input: &str) -> Arc<Workflow> {
    Workflow::builder("gate").node(Node::new("a", "gate").input(json!(input))).build().unwrap()
}

#[tokio::test]
async fn a_start_is_idempotent_by_id_and_by_key_and_another_input_is_an_error() {
    let (store, count) = (MemoryStore::new(), Arc::default());
    let engine = engine(&store, &count).build();
    let options = || StartOptions::default().run(id("r1")).key("order-7");
    let first = engine.start_with(echo(), json!({"x": 1}), options()).await.unwrap();
    assert_eq!(first.wait().await.unwrap().output, json!(1));
    let again = engine.start_with(echo(), json!({"x": 1}), options()).await.unwrap();
    assert_eq!(again.wait().await.unwrap().state, RunState::Succeeded);
    let by_key = StartOptions::default().key("order-7");
    assert_eq!(engine.start_with(echo(), json!({"x": 1}), by_key.clone()).await.unwrap().id(), &id("r1"));
    let other = engine.start_with(echo(), json!({"x": 2}), by_key).await.unwrap_err();
    assert!(matches!(&other, StartError::Different { run } if *run == id("r1")), "{other}");
    assert_eq!(count.load(Ordering::SeqCst), 1, "the step ran once");
}

#[tokio::test]
async fn a_workflow_that_asks_for_an_unknown_action_is_not_started() {
    let engine = engine(&MemoryStore::new(), &Arc::default()).build();
    let workflow = Workflow::builder("w").node(Node::new("a", "ecko")).build().unwrap();
    let error = engine.start(workflow, json!(null)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the workflow cannot run here: a.uses: there is no action 'ecko' (did you mean 'echo'?)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_keeps_nobody_busy_and_a_signal_from_another_engine_wakes_it() {
    let (store, count) = (MemoryStore::new(), Arc::default());
    let one = engine(&store, &count).build();
    let run = one.start_with(gate("wait"), json!(null), StartOptions::default().run(id("r"))).await.unwrap();
    let mut events = run.subscribe(Seq(0));
    while events.next().await.unwrap().unwrap().event.kind() != "parked" {}
    while one.active() > 0 {
        tokio::task::yield_now().await;
    }
    let two = engine(&store, &count).build();
    let request = Request::Signal { name: SignalName::new("go").unwrap(), payload: json!({"n": 5}) };
    let told = two.submit(&id("r"), request.clone(), ada(), Some("k".into())).await.unwrap();
    assert!(!told.duplicate);
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    let journal = run.journal().await.unwrap();
    assert!(format!("{journal:?}").contains("ada"), "every input carries its principal");
    let late = two.submit(&id("r"), request, ada(), None).await.unwrap_err();
    assert_eq!(late.to_string(), "r: cannot signal: it has succeeded");
    let missing = two.submit(&id("q"), Request::Resume, ada(), None).await.unwrap_err();
    assert!(matches!(missing, SubmitError::NotFound { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_stops_what_runs_and_ends_the_run() {
    let (store, count) = (MemoryStore::new(), Arc::default());
    let engine = engine(&store, &count).build();
    let run = engine.start(gate("hang"), json!(null)).await.unwrap();
    engine.submit(run.id(), Request::Cancel { reason: "enough".into() }, ada(), None).await.unwrap();
    let report = run.wait().await.unwrap();
    assert_eq!((report.state, report.leftovers.len()), (RunState::Cancelled, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_shutdown_another_engine_goes_on_and_a_shutdown_is_no_crash() {
    let (store, count) = (MemoryStore::new(), Arc::default());
    let one = engine(&store, &count).grace(Duration::from_secs(5)).build();
    let run = one.start_with(gate("hang"), json!(null), StartOptions::default().run(id("r"))).await.unwrap();
    let mut events = run.subscribe(Seq(0));
    while events.next().await.unwrap().unwrap().event.kind() != "started" {}
    one.shutdown().await;
    assert!(matches!(one.start(echo(), json!({"x": 1})).await, Err(StartError::Closing)));
    let kinds: Vec<&str> = run.journal().await.unwrap().iter().map(|recorded| recorded.event.kind()).collect();
    assert_eq!(kinds, ["created", "started", "released"]);
    let two = engine(&store, &count).drive(Drive::All).build();
    let handle = two.handle(id("r"));
    let mut events = handle.subscribe(Seq(3));
    let mut kinds = Vec::new();
    while kinds.last() != Some(&"started") {
        kinds.push(events.next().await.unwrap().unwrap().event.kind());
    }
    assert_eq!(kinds, ["claimed", "observed", "started"]);
    two.submit(&id("r"), Request::Cancel { reason: "done".into() }, ada(), None).await.unwrap();
    assert_eq!(handle.wait().await.unwrap().state, RunState::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_branches_run_at_the_same_time() {
    // Each waits for the other: they end only if both run at once.
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    let meet = action_fn(move |_cx: StepContext, (): ()| {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            Ok::<_, StepError>(())
        }
    });
    let engine = Engine::builder(MemoryStore::new()).action("meet", meet.pure()).build();
    let workflow = Workflow::builder("two").node(Node::new("a", "meet")).node(Node::new("b", "meet")).build().unwrap();
    let run = engine.start(workflow, json!(null)).await.unwrap();
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_and_an_output_too_large_are_failures_of_the_step_alone() {
    let boom = action_fn(|_cx: StepContext, (): ()| async move {
        if true {
            panic!("boom");
        }
        Ok::<_, StepError>(())
    });
    let large = action_fn(|_cx: StepContext, (): ()| async move { Ok::<_, StepError>("x".repeat(2_000_000)) });
    let engine = Engine::builder(MemoryStore::new()).action("boom", boom.pure()).action("large", large.pure()).build();
    for (action, problem) in [("boom", "the action panicked: boom"), ("large", "larger than 1048576 bytes")] {
        let node = Node::new("a", action).retry(Retry::never());
        let workflow = Workflow::builder("w").node(node).on_failure(OnFailure::Stop).build().unwrap();
        let report = engine.start(workflow, json!(null)).await.unwrap().wait().await.unwrap();
        assert_eq!(report.state, RunState::Failed);
        assert!(report.problem.as_ref().unwrap().contains(problem), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_while_nobody_drove_comes_before_anything_that_is_due() {
    let (store, count) = (MemoryStore::new(), Arc::default());
    let one = engine(&store, &count).build();
    let workflow = Workflow::builder("w")
        .node(Node::new("a", "gate"))
        .node(Node::new("b", "echo").needs(["a"]).input(json!(1)))
        .build()
        .unwrap();
    let run = one.start_with(workflow, json!(null), StartOptions::default().run(id("r"))).await.unwrap();
    let mut events = run.subscribe(Seq(0));
    while events.next().await.unwrap().unwrap().event.kind() != "parked" {}
    one.shutdown().await;
    // Nobody drives it: the signal that would let it go on, and then the pause that must keep it.
    for request in [
        Request::Pause { reason: "wait".into() },
        Request::Signal { name: SignalName::new("go").unwrap(), payload: json!(1) },
    ] {
        one.submit(&id("r"), request, ada(), None).await.unwrap();
    }
    let two = engine(&store, &count).drive(Drive::All).build();
    let report = two.handle(id("r")).wait().await.unwrap();
    assert_eq!(report.state, RunState::Paused);
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing started after the pause");
    two.submit(&id("r"), Request::Resume, ada(), None).await.unwrap();
    let over = two.handle(id("r"));
    while !over.summary().await.unwrap().state.is_final() {
        tokio::task::yield_now().await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
