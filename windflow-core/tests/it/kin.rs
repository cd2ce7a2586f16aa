//! Runs within runs, as an embedder sees them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use windflow_core::engine::StartError;
use windflow_core::store::{Kinship, RunQuery};
use windflow_core::workflow::{Body, OnItemFailure, WorkflowSpec};
use windflow_core::{
    Drive, Engine, EngineBuilder, MemoryStore, Node, OnFailure, Principal, Request, Retry, RunId, RunState,
    StartOptions, StepContext, StepError, Store, Workflow, action_fn,
};

/// What is there, by the run and node that made it.
type Made = Arc<Mutex<BTreeSet<String>>>;

fn builder(store: &MemoryStore, made: &Made) -> EngineBuilder {
    let (make, unmake) = (Arc::clone(made), Arc::clone(made));
    let key = |cx: &StepContext| format!("{}/{}", cx.run_id(), cx.node());
    let act = action_fn(move |cx: StepContext, input: Value| {
        let made = Arc::clone(&make);
        async move {
            if input == json!("bad") {
                return Err(StepError::terminal("test", "it is bad"));
            }
            made.lock().unwrap().insert(key(&cx));
            Ok(input)
        }
    });
    let act = act.compensate_with(move |cx: StepContext, _input: Value, _output: Option<Value>| {
        let made = Arc::clone(&unmake);
        async move {
            made.lock().unwrap().remove(&key(&cx));
            Ok(())
        }
    });
    Engine::builder(store.clone()).action("act", act)
}

fn block(input: Value) -> Box<WorkflowSpec> {
    let spec = Workflow::builder("block").node(Node::new("do", "act").input(input).retry(Retry::never()));
    Box::new(spec.outputs(json!("${{ nodes.do.output }}")).spec().unwrap())
}

fn each(items: Value) -> Node {
    let body =
        Body::ForEach { block: block(json!("${{ item }}")), max_parallel: 2, on_item_failure: OnItemFailure::Stop };
    Node::with_body("each", body).input(items)
}

fn id(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

#[tokio::test]
async fn a_run_for_each_item_and_what_they_made_is_undone_with_the_rest() {
    let (store, made) = (MemoryStore::new(), Made::default());
    let engine = builder(&store, &made).build();
    let workflow = |last: &str| {
        Workflow::builder("fan")
            .node(each(json!("${{ inputs.items }}")))
            .node(Node::new("last", "act").input(json!(last)).needs(["each"]).retry(Retry::never()))
            .outputs(json!("${{ nodes.each.output }}"))
            .build()
            .unwrap()
    };
    let input = json!({ "items": ["a", "b", "c"] });
    let good =
        engine.start_with(workflow("good"), input.clone(), StartOptions::default().run(id("good"))).await.unwrap();
    let report = good.wait().await.unwrap();
    assert_eq!((report.state, &report.output), (RunState::Succeeded, &json!(["a", "b", "c"])));
    let there = ["good/last", "good~each~0/do", "good~each~1/do", "good~each~2/do"].map(str::to_owned);
    assert_eq!(*made.lock().unwrap(), there.clone().into());

    let bad = engine.start_with(workflow("bad"), input, StartOptions::default().run(id("bad"))).await.unwrap();
    assert_eq!(bad.wait().await.unwrap().state, RunState::Compensated);
    assert_eq!(*made.lock().unwrap(), there.into(), "and nothing of what was there before");
    let query = |kinship| RunQuery { kinship, ..RunQuery::default() };
    let of = store.list(&query(Kinship::ChildrenOf(id("bad")))).await.unwrap();
    assert_eq!(of.iter().map(|run| run.state).collect::<Vec<_>>(), [RunState::Compensated; 3]);
    assert_eq!(store.list(&query(Kinship::Roots)).await.unwrap().len(), 2);
    engine.shutdown().await;
}

#[tokio::test]
async fn workflows_within_workflows_hand_on_inputs_and_outputs() {
    let (store, made) = (MemoryStore::new(), Made::default());
    let engine = builder(&store, &made).build();
    let called = Workflow::builder("called")
        .node(each(json!("${{ inputs.items }}")))
        .outputs(json!({ "all": "${{ nodes.each.output }}" }))
        .spec()
        .unwrap();
    let scope = Workflow::builder("scope")
        .node(Node::new("x", "act").input(json!("${{ inputs.name }}/${{ nodes.first.output }}")))
        .outputs(json!("${{ nodes.x.output }}"))
        .spec()
        .unwrap();
    let workflow = Workflow::builder("outer")
        .node(Node::new("first", "act").input(json!("f")))
        .node(Node::with_body("in", Body::Scope { block: Box::new(scope) }).needs(["first"]))
        .node(
            Node::with_body("call", Body::Call { workflow: Box::new(called) })
                .input(json!({ "items": { "k": "${{ nodes.in.output }}" } }))
                .needs(["in"]),
        )
        .outputs(json!("${{ nodes.call.output }}"))
        .build()
        .unwrap();
    let run = engine.start(workflow, json!({ "name": "n" })).await.unwrap();
    assert_eq!(run.wait().await.unwrap().output, json!({ "all": { "k": "n/f" } }));
    engine.shutdown().await;
}

#[tokio::test]
async fn names_of_runs_within_runs_are_nobody_elses_and_they_hear_only_their_parent() {
    let (store, made) = (MemoryStore::new(), Made::default());
    let engine = builder(&store, &made).build();
    let workflow = Workflow::builder("w").node(each(json!(["a", "bad"]))).on_failure(OnFailure::Stop).build().unwrap();
    let taken = engine.start_with(workflow.clone(), json!({}), StartOptions::default().run(id("w~each~0"))).await;
    assert!(matches!(taken, Err(StartError::Id { .. })), "{taken:?}");
    let run = engine.start_with(workflow, json!({}), StartOptions::default().run(id("w"))).await.unwrap();
    let report = run.wait().await.unwrap();
    assert_eq!(report.state, RunState::Failed);
    let problem = run.summary().await.unwrap().problem.unwrap();
    assert_eq!(problem, "each: its run 'w~each~1' is compensated: do: it is bad");
    let refused = engine.submit(&id("w~each~0"), Request::Compensate, Principal::unverified("ada"), None).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "w~each~0: cannot compensate: it is over, and a part of run 'w'; ask that one"
    );
    engine.submit(&id("w"), Request::Compensate, Principal::unverified("ada"), None).await.unwrap();
    engine.drive(&id("w")).await.unwrap();
    let over = async {
        while run.summary().await.unwrap().state != RunState::Compensated {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), over).await.unwrap();
    assert_eq!(*made.lock().unwrap(), BTreeSet::new());
    engine.shutdown().await;
}

#[tokio::test]
async fn whoever_drives_a_run_drives_the_runs_it_has_started_and_that_nobody_drives() {
    let (store, made) = (MemoryStore::new(), Made::default());
    let gate = action_fn(|cx: StepContext, _input: Value| async move {
        cx.cancelled().await;
        Err::<Value, _>(cx.cancelled_error())
    });
    let first = builder(&store, &made).action("gate", gate.pure()).build();
    let block = Workflow::builder("block").node(Node::new("do", "gate")).spec().unwrap();
    let workflow = Workflow::builder("w").node(Node::with_body("in", Body::Scope { block: Box::new(block) }));
    let workflow = workflow.build().unwrap();
    first.start_with(workflow, json!({}), StartOptions::default().run(id("w"))).await.unwrap();
    let running = async {
        while store.summary(&id("w~in~0")).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), running).await.unwrap();
    first.shutdown().await;
    let open = action_fn(|_cx: StepContext, _input: Value| async move { Ok::<_, StepError>(json!("through")) });
    let second = builder(&store, &made).action("gate", open.pure()).drive(Drive::Own).build();
    second.drive(&id("w")).await.unwrap();
    let report = second.handle(id("w")).wait().await.unwrap();
    assert_eq!(report.state, RunState::Succeeded);
    second.shutdown().await;
}

/// A child that is over is asked to undo itself at the moment its own driver lets go of it: whichever comes first, it is
/// driven.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_child_that_has_just_ended_hears_what_it_is_asked() {
    let (store, made) = (MemoryStore::new(), Made::default());
    let engine = builder(&store, &made).drive(Drive::Own).build();
    let workflow = Workflow::builder("w").node(each(json!(["a", "b", "bad"]))).build().unwrap();
    let mut runs = Vec::new();
    for _ in 0..300 {
        runs.push(engine.start(workflow.clone(), json!({})).await.unwrap());
    }
    for run in runs {
        let report = tokio::time::timeout(Duration::from_secs(30), run.wait()).await.expect("it ends").unwrap();
        assert_eq!(report.state, RunState::Compensated);
    }
    assert_eq!(*made.lock().unwrap(), BTreeSet::new());
    engine.shutdown().await;
}
