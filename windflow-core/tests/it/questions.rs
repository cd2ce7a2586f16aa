//! Observations and evaluations change nothing: they are dropped when they are not wanted, asked again when they are,
//! and what becomes of them never touches the attempts that run beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Notify;
use windflow_core::{
    Action, Clock, Engine, EvaluateError, Evaluator, Guarantee, ManualClock, MemoryStore, Node, OnFailure, Outcome,
    Principal, Request, Reversal, RunHandle, RunState, Scope, Seen, Seq, StepContext, StepError, Subscription,
    Timestamp, Undone, Workflow, action_fn,
};

/// Hangs in the first performance until its engine is gone; what becomes of it is known from the second look on.
#[derive(Debug, Default)]
struct Lost {
    performed: Arc<Notify>,
    looked: Arc<AtomicU32>,
    looking: Arc<Notify>,
}

#[async_trait]
impl Action for Lost {
    fn guarantee(&self, _: &Value) -> Guarantee {
        Guarantee::AtLeastOnce
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, _: &StepContext, _: Value) -> Result<Outcome, StepError> {
        self.performed.notify_one();
        std::future::pending().await
    }
    async fn observe(&self, cx: &StepContext, _: &Value) -> Result<Seen, StepError> {
        if self.looked.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(Seen::Happened(json!("seen")));
        }
        self.looking.notify_one();
        cx.cancelled().await;
        Err(cx.cancelled_error())
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}

/// A run of which nobody saw how its only attempt ended; the engine that looks now, for the first time, in vain; and how
/// often it has looked.
async fn observed(store: &MemoryStore) -> (Engine, RunHandle, Arc<AtomicU32>) {
    let build =
        |action| Engine::builder(store.clone()).lease(Duration::from_millis(200)).action("lost", action).build();
    let action = Lost::default();
    let (performed, looked, looking) = (action.performed.clone(), action.looked.clone(), action.looking.clone());
    let second = Lost { looked: looked.clone(), looking: looking.clone(), ..Lost::default() };
    let workflow = Workflow::builder("lost").node(Node::new("a", "lost")).build().unwrap();
    let engine = build(action);
    let run = engine.start(workflow, Value::Null).await.unwrap().id().clone();
    performed.notified().await;
    drop(engine);
    let engine = build(second);
    engine.drive(&run).await.unwrap();
    looking.notified().await;
    let run = engine.handle(run);
    (engine, run, looked)
}

/// Follows a run until an event of this kind.
async fn follow(events: &mut Subscription, kind: &str) {
    while let Some(recorded) = events.next().await.unwrap() {
        if recorded.event.kind() == kind {
            return;
        }
    }
    panic!("the run ended without {kind}");
}

async fn ask(engine: &Engine, run: &RunHandle, request: Request) {
    engine.submit(run.id(), request, Principal::system(), None).await.unwrap();
}

fn pause() -> Request {
    Request::Pause { reason: "lunch".to_owned() }
}

#[tokio::test]
async fn a_pause_during_an_observation_is_no_answer_and_it_is_asked_again() {
    let (engine, run, looked) = observed(&MemoryStore::new()).await;
    let mut events = run.subscribe(Seq(0));
    ask(&engine, &run, pause()).await;
    follow(&mut events, "paused").await;
    ask(&engine, &run, Request::Resume).await;
    follow(&mut events, "finished").await;
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    assert_eq!(looked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_shutdown_during_an_observation_is_no_answer_and_it_is_asked_again() {
    let store = MemoryStore::new();
    let (engine, run, looked) = observed(&store).await;
    engine.shutdown().await;
    let again = Lost { looked: looked.clone(), ..Lost::default() };
    let engine = Engine::builder(store).action("lost", again).build();
    engine.drive(run.id()).await.unwrap();
    assert_eq!(engine.handle(run.id().clone()).wait().await.unwrap().state, RunState::Succeeded);
    assert_eq!(looked.load(Ordering::SeqCst), 2);
}

/// Looks and looks, and gets no answer.
#[derive(Debug)]
struct Mute;

#[async_trait]
impl Action for Mute {
    fn guarantee(&self, _: &Value) -> Guarantee {
        Guarantee::AtLeastOnce
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, _: &StepContext, _: Value) -> Result<Outcome, StepError> {
        Err(StepError::unknown("mute", "the line went dead"))
    }
    async fn observe(&self, _: &StepContext, _: &Value) -> Result<Seen, StepError> {
        std::future::pending().await
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}

#[tokio::test]
async fn an_observation_that_never_answers_does_not_hold_its_run_for_ever() {
    let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
    let engine = Engine::builder(MemoryStore::new()).clock(clock.clone()).action("mute", Mute).build();
    let workflow = Workflow::builder("mute").node(Node::new("a", "mute")).build().unwrap();
    let run = engine.start(workflow, Value::Null).await.unwrap();
    let began = clock.now();
    while run.summary().await.unwrap().state != RunState::Stuck {
        assert!(clock.now() < began.after(Duration::from_secs(600)), "it still waits after ten minutes");
        clock.advance(Duration::from_secs(1));
        // Whatever that woke goes on: there is one thread.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    assert!(clock.now() > began.after(Duration::from_secs(240)), "it gave up too soon");
}

/// Hangs the first time.
#[derive(Debug, Default)]
struct Pondering {
    asked: AtomicU32,
    pondering: Arc<Notify>,
}

#[async_trait]
impl Evaluator for Pondering {
    async fn evaluate(&self, template: &Value, _: &Scope) -> Result<Value, EvaluateError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            self.pondering.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(template.clone())
    }
}

/// An engine whose action `long` ends well as soon as it may, `bad` fails as soon as it may, and whose first evaluation
/// hangs; and what lets them go on.
fn beside(store: &MemoryStore) -> (Engine, Arc<Notify>, Arc<Notify>, Arc<Notify>) {
    let (long, bad) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let evaluator = Pondering::default();
    let pondering = evaluator.pondering.clone();
    let (may_end, may_fail) = (long.clone(), bad.clone());
    let long_action = action_fn(move |cx: StepContext, _: Value| {
        let may_end = may_end.clone();
        async move {
            tokio::select! {
                () = cx.cancelled() => Err(cx.cancelled_error()),
                () = may_end.notified() => Ok(()),
            }
        }
    });
    let bad_action = action_fn(move |_: StepContext, _: Value| {
        let may_fail = may_fail.clone();
        async move {
            may_fail.notified().await;
            Err::<(), _>(StepError::terminal("bad", "as it must"))
        }
    });
    let engine = Engine::builder(store.clone())
        .evaluator(Arc::new(evaluator))
        .action("long", long_action.pure())
        .action("bad", bad_action.pure())
        .build();
    (engine, long, bad, pondering)
}

#[tokio::test]
async fn a_pause_during_an_evaluation_lets_the_steps_that_run_come_to_their_end() {
    let (engine, long, _, pondering) = beside(&MemoryStore::new());
    let workflow = Workflow::builder("beside")
        .node(Node::new("long", "long"))
        .node(Node::new("asks", "long").input(json!("${{ inputs.x }}")))
        .build()
        .unwrap();
    let run = engine.start(workflow, json!({ "x": 1 })).await.unwrap();
    let mut events = run.subscribe(Seq(0));
    pondering.notified().await;
    ask(&engine, &run, pause()).await;
    follow(&mut events, "paused").await;
    long.notify_one();
    follow(&mut events, "succeeded").await;
    ask(&engine, &run, Request::Resume).await;
    follow(&mut events, "started").await;
    long.notify_one();
    follow(&mut events, "finished").await;
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn a_failure_that_stops_what_has_not_begun_lets_the_steps_that_run_come_to_their_end() {
    let (engine, long, bad, pondering) = beside(&MemoryStore::new());
    let workflow = Workflow::builder("beside")
        .on_failure(OnFailure::Stop)
        .node(Node::new("long", "long"))
        .node(Node::new("bad", "bad"))
        .node(Node::new("asks", "long").input(json!("${{ inputs.x }}")))
        .build()
        .unwrap();
    let run = engine.start(workflow, json!({ "x": 1 })).await.unwrap();
    let mut events = run.subscribe(Seq(0));
    pondering.notified().await;
    bad.notify_one();
    follow(&mut events, "failed").await;
    long.notify_one();
    follow(&mut events, "succeeded").await;
    follow(&mut events, "finished").await;
    assert_eq!(run.wait().await.unwrap().state, RunState::Failed);
    let given_back = async {
        while engine.active() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("the evaluation nobody wants holds the run");
}

/// Nobody knows what became of it, and the first who looks gets no answer.
#[derive(Debug, Default)]
struct Doubtful(Arc<AtomicU32>, Arc<Notify>);

#[async_trait]
impl Action for Doubtful {
    fn guarantee(&self, _: &Value) -> Guarantee {
        Guarantee::Convergent
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, _: &StepContext, _: Value) -> Result<Outcome, StepError> {
        Err(StepError::unknown("doubt", "the line went dead"))
    }
    async fn observe(&self, _: &StepContext, _: &Value) -> Result<Seen, StepError> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            self.1.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(Seen::Happened(json!("seen")))
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}

#[tokio::test]
async fn a_question_that_is_still_wanted_is_asked_again_when_another_is_dropped() {
    let (doubt, bad, evaluator) = (Doubtful::default(), Arc::new(Notify::new()), Pondering::default());
    let (looked, looking, pondering) = (doubt.0.clone(), doubt.1.clone(), evaluator.pondering.clone());
    let may_fail = bad.clone();
    let bad_action = action_fn(move |_: StepContext, _: Value| {
        let may_fail = may_fail.clone();
        async move {
            may_fail.notified().await;
            Err::<(), _>(StepError::terminal("bad", "as it must"))
        }
    });
    let engine = Engine::builder(MemoryStore::new()).evaluator(Arc::new(evaluator)).action("doubt", doubt);
    let engine = engine.action("bad", bad_action.pure()).build();
    let workflow = Workflow::builder("beside")
        .on_failure(OnFailure::Stop)
        .node(Node::new("doubt", "doubt"))
        .node(Node::new("bad", "bad"))
        .node(Node::new("asks", "bad").input(json!("${{ inputs.x }}")));
    let run = engine.start(workflow.build().unwrap(), json!({ "x": 1 })).await.unwrap();
    pondering.notified().await;
    looking.notified().await;
    bad.notify_one();
    let ended = tokio::time::timeout(Duration::from_secs(10), run.wait()).await.expect("it waits for an answer");
    assert_eq!((ended.unwrap().state, looked.load(Ordering::SeqCst)), (RunState::Failed, 2));
}
