//! What is measured of a whole process, in a process of its own: this program again, told by its arguments.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::runtime::Runtime;
use windflow_core::{
    Action, Drive, Engine, EngineBuilder, Guarantee, Node, Outcome, Resumed, Reversal, RunState, Seen, SignalName,
    StepContext, StepError, Undone, Until, Workflow,
};
use windflow_workflow::{SqliteOptions, SqliteStore};

use crate::schedulers::{Step, windflow};
use crate::shape::{Graph, Shape, Work};

/// Parts of a process's size, in KiB.
pub struct Size {
    pub now: f64,
    pub peak: f64,
}

impl Size {
    fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self { now: of("VmRSS"), peak: of("VmHWM") }
    }
}

/// Runs this program as `child` with `arguments`, and answers the numbers it prints and when each came.
pub fn measure(arguments: &[&str]) -> Vec<(f64, Duration)> {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers = lines.map(|line| (line.unwrap().parse().unwrap(), began.elapsed())).collect();
    assert!(child.wait().unwrap().success(), "child {arguments:?}");
    numbers
}

/// The other side of [`measure`].
pub fn child(runtime: &Runtime, arguments: &[String]) {
    match arguments {
        [what, layers, width] if what == "nodes" => nodes(runtime, layers.parse().unwrap(), width.parse().unwrap()),
        [what, folder] if what == "idle" => runtime.block_on(idle(Path::new(folder))),
        [what, folder, runs] if what == "park" => runtime.block_on(park(Path::new(folder), runs.parse().unwrap())),
        [what, folder, runs] if what == "accept" => runtime.block_on(accept(Path::new(folder), runs.parse().unwrap())),
        other => panic!("no such measurement: {other:?}"),
    }
}

/// Prints how much a run in memory adds to the process, workflow and journal included, in bytes a node; then how much
/// of that was there when the workflow had been built.
fn nodes(runtime: &Runtime, layers: u32, width: u32) {
    // What every run needs once must not be counted to the nodes.
    windflow(runtime, &Graph::new(Shape::Chain(10)).workflow(), Duration::ZERO);
    let before = Size::read().now;
    let workflow = Graph::new(Shape::Layered(layers, width)).workflow();
    let built = Size::read().now;
    windflow(runtime, &workflow, Duration::ZERO);
    let nodes = f64::from(layers * width);
    println!("{}\n{}", (Size::read().peak - before) * 1024.0 / nodes, (built - before) * 1024.0 / nodes);
}

async fn builder(folder: &Path) -> EngineBuilder {
    let store = SqliteStore::open(folder.join("runs.db"), SqliteOptions::default()).await.unwrap();
    Engine::builder(store).action("step", Step(Work::new(1, Duration::ZERO))).action("wait", Wait).drive(Drive::All)
}

/// Says when an engine over SQLite is ready, and its size a second later.
async fn idle(folder: &Path) {
    let engine = builder(folder).await.build();
    println!("0");
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("{}", Size::read().now);
    engine.shutdown().await;
}

/// Starts runs that wait for a signal, and prints the size of the process before and after.
async fn park(folder: &Path, runs: usize) {
    let engine = builder(folder).await.build();
    let workflow = Workflow::builder("wait").node(Node::new("wait", "wait")).build().unwrap();
    engine.start(Arc::clone(&workflow), Value::Null).await.unwrap();
    let before = Size::read().now;
    for chunk in (0..runs).collect::<Vec<_>>().chunks(500) {
        let starts: Vec<_> = chunk
            .iter()
            .map(|_| {
                let (engine, workflow) = (engine.clone(), Arc::clone(&workflow));
                tokio::spawn(async move { engine.start(workflow, Value::Null).await.unwrap() })
            })
            .collect();
        for start in starts {
            start.await.unwrap();
        }
        while engine.active() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    println!("{before}\n{}", Size::read().now);
    engine.shutdown().await;
}

/// Opens a store in which `runs` wait, does one run of one step, and says so; then prints the size of the process.
async fn accept(folder: &Path, runs: usize) {
    let engine = builder(folder).await.build();
    let run = engine.start(Graph::new(Shape::Chain(1)).workflow(), Value::Null).await.unwrap();
    assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
    println!("0");
    let query =
        windflow_core::store::RunQuery { limit: u32::MAX, states: vec![RunState::Waiting], ..Default::default() };
    let waiting = engine.store().list(&query).await.unwrap().len();
    assert!(waiting > runs, "only {waiting} runs wait");
    println!("{}", Size::read().now);
    engine.shutdown().await;
}

/// Waits for a signal.
#[derive(Debug)]
struct Wait;

#[async_trait]
impl Action for Wait {
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
            Some(Resumed::Signal { payload, .. }) => Outcome::Done(payload.clone()),
            _ => Outcome::Parked(Until::Signal { name: SignalName::new("go").unwrap(), deadline: None }),
        })
    }
    async fn observe(&self, _: &StepContext, _: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
