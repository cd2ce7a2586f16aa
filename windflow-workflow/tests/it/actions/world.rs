//! Real engines over one store and some targets in memory, in virtual time; any of them may die at any event.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use windflow_core::sink::Emitted;
use windflow_core::target::{
    Context, Desired, MEMORY_HEALTH_LABEL, MemoryTarget, Service, Stack, Target, TargetExt as _,
};
use windflow_core::{
    Clock, Drive, Engine, Event, EventSink, MemoryStore, NodeName, Report, RunHandle, RunId, StackName, TargetName,
    Timestamp, Workflow,
};
use windflow_workflow::{ActionOptions, builtin_actions};

/// Tokio's paused clock, which jumps to the next timer whenever nothing else can be done.
#[derive(Debug, Clone, Copy)]
struct Virtual(Instant);

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000).after(self.0.elapsed())
    }
    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.0 + Timestamp(1_000_000).until(at)).await;
    }
}

/// Tells when so many events have become durable.
#[derive(Debug, Default)]
struct Fuse {
    burns_at: usize,
    seen: AtomicUsize,
    burnt: Notify,
}

impl EventSink for Fuse {
    fn emit(&self, emitted: &Emitted<'_>) {
        let seen = self.seen.fetch_add(emitted.events.len(), Ordering::SeqCst) + emitted.events.len();
        if seen >= self.burns_at {
            self.burnt.notify_one();
        }
    }
    fn progress(&self, _: &RunId, _: &NodeName, _: &str) {}
}

/// What outlives an engine.
pub struct World {
    pub store: MemoryStore,
    pub targets: Vec<MemoryTarget>,
    clock: Virtual,
}

impl World {
    /// Empty targets of these names.
    pub fn of(names: &[&str]) -> Self {
        let target = |name: &&str| MemoryTarget::new(TargetName::new(name).unwrap(), "tests".parse().unwrap());
        Self { store: MemoryStore::new(), targets: names.iter().map(target).collect(), clock: Virtual(Instant::now()) }
    }

    pub fn target(&self, name: &str) -> &MemoryTarget {
        self.targets.iter().find(|target| target.name().as_str() == name).unwrap()
    }

    pub fn engine(&self, options: ActionOptions, sink: Option<Arc<dyn EventSink>>) -> Engine {
        let mut builder = Engine::builder(self.store.clone())
            .actions(builtin_actions(options))
            .clock(Arc::new(self.clock))
            .drive(Drive::All);
        for target in &self.targets {
            builder = builder.target(Arc::new(target.clone()));
        }
        match sink {
            Some(sink) => builder.sink(sink).build(),
            None => builder.build(),
        }
    }

    /// Runs a workflow until it is over or cannot go on.
    pub async fn run(&self, workflow: &Arc<Workflow>) -> (Arc<Report>, Vec<Event>) {
        self.run_with(workflow, ActionOptions::default()).await
    }

    pub async fn run_with(&self, workflow: &Arc<Workflow>, options: ActionOptions) -> (Arc<Report>, Vec<Event>) {
        let engine = self.engine(options, None);
        let handle = engine.start(Arc::clone(workflow), Value::Null).await.unwrap();
        ended(&handle).await
    }

    /// Runs a workflow in an engine that dies when so many events are durable, and then in another. Says whether the
    /// first one died.
    pub async fn killed_at(&self, workflow: &Arc<Workflow>, events: usize) -> (Arc<Report>, Vec<Event>, bool) {
        let fuse = Arc::new(Fuse { burns_at: events, ..Fuse::default() });
        let engine = self.engine(ActionOptions::default(), Some(Arc::clone(&fuse) as Arc<dyn EventSink>));
        let handle = engine.start(Arc::clone(workflow), Value::Null).await.unwrap();
        let run = handle.id().clone();
        let died = tokio::select! {
            biased;
            () = fuse.burnt.notified() => true,
            _ = handle.wait() => false,
        };
        drop((handle, engine));
        let next = self.engine(ActionOptions::default(), None);
        let (report, events) = ended(&next.handle(run)).await;
        (report, events, died)
    }

    pub async fn deploy(&self, target: &str, version: &str) {
        self.target(target).deploy(&Context::new("before"), stack(version)).await.unwrap();
    }

    /// The version that is current on a target; none when nothing is there.
    pub async fn version(&self, target: &str) -> Option<String> {
        self.target(target).faults().set_unreachable(false);
        let observed = self.target(target).observe(&Context::new("look"), &name()).await.unwrap();
        assert_eq!(observed.is_absent(), observed.services.is_empty(), "half of it is left on {target}");
        let plan = self.target(target).drift(&Context::new("look"), &name()).await.unwrap();
        assert!(plan.is_empty(), "{target} is between two versions: {:?}", plan.changes);
        let Desired::Present(stack) = plan.desired else { return None };
        stack.services.into_values().next()?.image
    }
}

async fn ended(handle: &RunHandle) -> (Arc<Report>, Vec<Event>) {
    let report = handle.wait().await.unwrap();
    let journal = handle.journal().await.unwrap();
    (report, journal.into_iter().map(|recorded| recorded.event).collect())
}

pub fn name() -> StackName {
    StackName::new("shop").unwrap()
}

/// A stack of one service, whose image is its version.
pub fn stack(version: &str) -> Stack {
    let health = if version == "broken" { "failed" } else { "healthy" };
    let labels = [(MEMORY_HEALTH_LABEL.to_owned(), health.to_owned())].into();
    let web = Service { image: Some(version.to_owned()), labels, ..Service::default() };
    Stack::new(name(), [("web".parse().unwrap(), web)].into())
}

pub fn input(target: &str, version: &str) -> Value {
    json!({ "target": target, "stack": stack(version) })
}

/// The outputs of the steps that succeeded, in their order.
pub fn outputs(events: &[Event]) -> Vec<Value> {
    let output = |event: &Event| match event {
        Event::Succeeded { output, .. } => Some(Value::clone(output)),
        _ => None,
    };
    events.iter().filter_map(output).collect()
}

/// The checkpoints, in their order.
pub fn checkpoints(events: &[Event]) -> Vec<Value> {
    let value = |event: &Event| match event {
        Event::Checkpointed { value, .. } => Some(Value::clone(value)),
        _ => None,
    };
    events.iter().filter_map(value).collect()
}
