//! Who runs a graph: WindFlow, a bare task for each node, and other crates. Each answers how long it took, from the
//! first start to the end of the last node; building the graph is not counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use windflow_core::{
    Action, Engine, Guarantee, MemoryStore, Outcome, Reversal, RunState, Seen, StepContext, StepError, Undone, Workflow,
};

use crate::shape::{Graph, Work};

/// An action that does a node's work and nothing else.
#[derive(Debug)]
pub struct Step(pub Arc<Work>);

#[async_trait]
impl Action for Step {
    fn guarantee(&self, _: &Value) -> Guarantee {
        Guarantee::Convergent
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, _: &StepContext, input: Value) -> Result<Outcome, StepError> {
        self.0.step(usize::try_from(input.as_u64().unwrap()).unwrap());
        Ok(Outcome::Done(Value::Null))
    }
    async fn observe(&self, _: &StepContext, _: &Value) -> Result<Seen, StepError> {
        Ok(Seen::CannotTell)
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}

/// The engine as everybody uses it, over the store in memory.
pub fn windflow(runtime: &Runtime, workflow: &Arc<Workflow>, computes: Duration) -> Duration {
    let work = Work::new(workflow.len(), computes);
    let action = Step(Arc::clone(&work));
    let took = runtime.block_on(async {
        let engine = Engine::builder(MemoryStore::new()).action("step", action).build();
        let workflow = Arc::clone(workflow);
        let began = Instant::now();
        let run = engine.start(workflow, Value::Null).await.unwrap();
        let report = run.wait().await.unwrap();
        let took = began.elapsed();
        assert_eq!(report.state, RunState::Succeeded);
        engine.shutdown().await;
        took
    });
    work.check(1);
    took
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Raw {
    children: Vec<Vec<u32>>,
    unmet: Vec<AtomicU32>,
    left: AtomicUsize,
    done: Notify,
    steps: Vec<Box<dyn Fn() -> Boxed + Send + Sync>>,
}

/// One tokio task for each node, counters for its parents, and no engine.
pub fn raw(runtime: &Runtime, graph: &Graph, computes: Duration) -> Duration {
    let work = Work::new(graph.len(), computes);
    let step = |node: usize| {
        let work = Arc::clone(&work);
        let step = move || -> Boxed {
            let work = Arc::clone(&work);
            Box::pin(async move { work.step(node) })
        };
        Box::new(step) as Box<dyn Fn() -> Boxed + Send + Sync>
    };
    let raw = Arc::new(Raw {
        children: graph.children(),
        unmet: graph.0.iter().map(|parents| AtomicU32::new(parents.len() as u32)).collect(),
        left: AtomicUsize::new(graph.len()),
        done: Notify::new(),
        steps: (0..graph.len()).map(step).collect(),
    });
    let roots: Vec<u32> = (0..).zip(&graph.0).filter(|(_, parents)| parents.is_empty()).map(|(node, _)| node).collect();
    let took = runtime.block_on(async {
        let began = Instant::now();
        let all = Arc::clone(&raw);
        // From within a worker, so that tasks go to its own queue.
        let wait = tokio::spawn(async move {
            roots.into_iter().for_each(|node| spawn(&all, node));
            all.done.notified().await;
        });
        wait.await.unwrap();
        began.elapsed()
    });
    work.check(1);
    took
}

fn spawn(raw: &Arc<Raw>, node: u32) {
    let raw = Arc::clone(raw);
    tokio::spawn(async move {
        (raw.steps[node as usize])().await;
        for child in &raw.children[node as usize] {
            if raw.unmet[*child as usize].fetch_sub(1, Ordering::AcqRel) == 1 {
                spawn(&raw, *child);
            }
        }
        if raw.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            raw.done.notify_one();
        }
    });
}

#[cfg(feature = "peers")]
pub fn dagx(runtime: &Runtime, graph: &Graph, computes: Duration) -> Duration {
    use dagx::{DagRunner, TaskHandle, task_fn};
    // Its nodes take what they need as a tuple of at most eight.
    let graph = graph.with_fan_in(8);
    let work = Work::new(graph.len(), computes);
    let runner = DagRunner::new();
    let mut handles: Vec<TaskHandle<()>> = Vec::with_capacity(graph.len());
    for (node, p) in graph.0.iter().enumerate() {
        type U = ();
        let work = Arc::clone(&work);
        let h = |k: usize| &handles[p[k] as usize];
        macro_rules! add {
            ($inputs:ty, $parents:expr) => {{
                let task = task_fn(move |_: $inputs| {
                    let work = Arc::clone(&work);
                    async move { work.step(node) }
                });
                runner.add_task(task).depends_on($parents)
            }};
        }
        let handle: TaskHandle<()> = match p.len() {
            0 => add!(U, ()),
            1 => add!(U, h(0)),
            2 => add!((U, U), (h(0), h(1))),
            3 => add!((U, U, U), (h(0), h(1), h(2))),
            4 => add!((U, U, U, U), (h(0), h(1), h(2), h(3))),
            5 => add!((U, U, U, U, U), (h(0), h(1), h(2), h(3), h(4))),
            6 => add!((U, U, U, U, U, U), (h(0), h(1), h(2), h(3), h(4), h(5))),
            7 => add!((U, U, U, U, U, U, U), (h(0), h(1), h(2), h(3), h(4), h(5), h(6))),
            _ => add!((U, U, U, U, U, U, U, U), (h(0), h(1), h(2), h(3), h(4), h(5), h(6), h(7))),
        };
        handles.push(handle);
    }
    let began = Instant::now();
    let run = runner.run(|future| {
        tokio::spawn(future);
    });
    runtime.block_on(run).unwrap();
    let took = began.elapsed();
    work.check(1);
    took
}

#[cfg(feature = "peers")]
pub fn dagrs(runtime: &Runtime, graph: &Graph, computes: Duration) -> Duration {
    use dagrs::{
        Action, Content, DefaultNode, EnvVar, Graph as Dag, InChannels, Node as _, NodeTable, OutChannels, Output,
    };
    struct Mark(Arc<Work>, usize);
    #[async_trait]
    impl Action for Mark {
        async fn run(&self, inputs: &mut InChannels, outputs: &mut OutChannels, _: Arc<EnvVar>) -> Output {
            inputs.map(drop).await;
            self.0.step(self.1);
            outputs.broadcast(Content::new(())).await;
            Output::empty()
        }
    }
    let work = Work::new(graph.len(), computes);
    let mut table = NodeTable::default();
    let node = |i: usize| DefaultNode::with_action(format!("n{i}"), Mark(Arc::clone(&work), i), &mut table);
    let nodes: Vec<_> = (0..graph.len()).map(node).collect();
    let ids: Vec<_> = nodes.iter().map(|node| node.id()).collect();
    let mut dag = Dag::new();
    for node in nodes {
        dag.add_node(node).unwrap();
    }
    for (node, children) in graph.children().into_iter().enumerate().filter(|(_, children)| !children.is_empty()) {
        dag.add_edge(ids[node], children.into_iter().map(|child| ids[child as usize])).unwrap();
    }
    dag.set_env(EnvVar::new(table));
    let began = Instant::now();
    runtime.block_on(dag.async_start()).unwrap();
    let took = began.elapsed();
    work.check(1);
    took
}
