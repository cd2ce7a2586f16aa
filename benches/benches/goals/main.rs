//! The numbers WindFlow promises, each beside its limit and what others take, in one run: `cargo bench -p
//! windflow-benches`; `-- --quick` takes seconds, fewer readings and smaller numbers of runs, and is good for no claim.
//! `-- memory`, `-- durable` or `-- start` measures one part, `-- durable 64` one concurrency.
//!
//! Readings that are compared are taken in turns, so that a slow moment of the machine meets all of them, and each is
//! the median of its rounds. Every reading checks that each node ran exactly as often as it should.

#![expect(clippy::print_stdout, reason = "a bench prints its readings")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench stops where something is wrong")]

mod durable;
mod process;
mod schedulers;
mod shape;

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use shape::{Graph, Shape};
use windflow_benches::table::{Goal, Table, count, median};

/// The allocator of the `windflow` command, for WindFlow and for all it is held against alike. An append is allocated by a
/// task and freed by the thread that writes, which is where allocators differ most.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SPIN: Duration = Duration::from_micros(20);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(("child", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        process::child(&runtime, rest);
        return ExitCode::SUCCESS;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    // Cargo adds words of its own.
    let named = |part: &str| arguments.iter().any(|argument| argument == part);
    let all = !["memory", "durable", "start"].into_iter().any(named);
    let mut table = Table::default();
    if all || named("memory") {
        in_memory(&runtime, &mut table, if quick { 1 } else { 5 });
    }
    if all || named("durable") {
        let one = arguments.iter().find_map(|argument| argument.parse().ok());
        on_disk(&runtime, &mut table, one, quick);
    }
    if all || named("start") {
        start(&mut table, quick);
    }
    table.end()
}

type Scheduler<'a> = (&'static str, Box<dyn Fn() -> Duration + 'a>);

fn in_memory(runtime: &Runtime, table: &mut Table, rounds: usize) {
    Table::head("In memory, steps that do nothing (medians; 'against' and 'ratio': the same shape in the same rounds)");
    let shapes = [Shape::Chain(10_000), Shape::Fan(10_000), Shape::Layered(100, 100), Shape::Layered(1_000, 100)];
    let mut per_node = Vec::new();
    for shape in shapes {
        let readings = compare(runtime, shape, Duration::ZERO, rounds, true);
        let nodes = Graph::new(shape).len() as f64;
        let rates: Vec<(&str, f64)> = readings.iter().map(|(name, seconds)| (*name, nodes / seconds)).collect();
        let ours = rates[0].1;
        per_node.push(1.0 / ours);
        let shown = format!("{} nodes/s", count(ours));
        table.row(&format!("{shape}: nodes/s, from"), &shown, None, ours, Goal::Least(500_000.0));
        for (name, theirs) in &rates[1..] {
            let goal = if *name == "task a node" { Goal::None } else { Goal::Least(1.0) };
            table.row(&shape.to_string(), &shown, Some((name, count(*theirs))), ours / theirs, goal);
        }
    }
    let (small, large) = (per_node[2], per_node[3]);
    let nanos = |seconds: f64| format!("{:.0} ns/node", seconds * 1e9);
    table.row("100,000 nodes", &nanos(large), Some(("10,000 nodes", nanos(small))), large / small, Goal::Most(1.5));

    Table::head("In memory, steps that compute for 20 us");
    for shape in [Shape::Fan(10_000), Shape::Layered(100, 100)] {
        let readings = compare(runtime, shape, SPIN, rounds, false);
        let millis = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        let ours = readings[0].1;
        for (name, theirs) in &readings[1..] {
            let goal = Goal::Most(1.15);
            table.row(&shape.to_string(), &millis(ours), Some((name, millis(*theirs))), ours / theirs, goal);
        }
    }

    Table::head("Memory, layered 1000x100, the growth of a process of its own at its highest");
    let numbers = process::measure(&["nodes", "1000", "100"]);
    let (whole, workflow) = (numbers[0].0, numbers[1].0);
    let shown = format!("{whole:.0} bytes/node");
    table.row("workflow, run and journal", &shown, None, whole / 1024.0, Goal::Most(1.5));
    table.row("of it the workflow", &format!("{workflow:.0} bytes/node"), None, workflow / 1024.0, Goal::None);
}

/// Seconds for each scheduler, WindFlow first.
fn compare(
    runtime: &Runtime,
    shape: Shape,
    computes: Duration,
    rounds: usize,
    peers: bool,
) -> Vec<(&'static str, f64)> {
    let graph = &Graph::new(shape);
    let workflow = &graph.workflow();
    let mut schedulers: Vec<Scheduler<'_>> = vec![
        ("windflow", Box::new(move || schedulers::windflow(runtime, workflow, computes))),
        ("task a node", Box::new(move || schedulers::raw(runtime, graph, computes))),
    ];
    #[cfg(feature = "peers")]
    if peers {
        schedulers.push(("dagx", Box::new(move || schedulers::dagx(runtime, graph, computes))));
        schedulers.push(("dagrs", Box::new(move || schedulers::dagrs(runtime, graph, computes))));
    }
    #[cfg(not(feature = "peers"))]
    let _ = (peers, &mut schedulers);
    in_turns(&schedulers, rounds)
}

/// The median of each, taken in turns after one round that is not counted.
fn in_turns(schedulers: &[Scheduler<'_>], rounds: usize) -> Vec<(&'static str, f64)> {
    let mut readings = vec![Vec::new(); schedulers.len()];
    for round in 0..=rounds {
        for ((_, run), readings) in schedulers.iter().zip(&mut readings) {
            let took = run();
            if round > 0 {
                readings.push(took.as_secs_f64());
            }
        }
    }
    schedulers.iter().zip(readings).map(|((name, _), readings)| (*name, median(readings))).collect()
}

fn on_disk(runtime: &Runtime, table: &mut Table, one: Option<usize>, quick: bool) {
    Table::head(
        "SQLite, synchronous=FULL, runs of 10 steps, beside a bare writer of one record a step (ratio: median of pairs)",
    );
    let rounds = if quick { 1 } else { 5 };
    let all = [(1, 300, 0.6), (64, 5_000, 0.5), (1_000, 10_000, 0.4)];
    for (concurrency, runs, least) in
        all.into_iter().filter(|(concurrency, ..)| one.is_none_or(|one| one == *concurrency))
    {
        let runs = if quick { (runs / 10).max(concurrency) } else { runs };
        let mut pairs = Vec::new();
        for round in 0..=rounds {
            let limit = durable::limit(runtime, runs, concurrency).as_secs_f64();
            let ours = durable::windflow(runtime, runs, concurrency).as_secs_f64();
            if round > 0 {
                pairs.push((ours, limit));
            }
        }
        let steps = |seconds: f64| (runs * durable::STEPS) as f64 / seconds;
        let ours = steps(median(pairs.iter().map(|(ours, _)| *ours).collect()));
        let limit = steps(median(pairs.iter().map(|(_, limit)| *limit).collect()));
        let ratio = median(pairs.iter().map(|(ours, limit)| limit / ours).collect());
        let shown = format!("{} steps/s", count(ours));
        let what = format!("concurrency {}", count(concurrency as f64));
        table.row(&what, &shown, Some(("bare writer", count(limit))), ratio, Goal::Least(least));
    }
}

fn start(table: &mut Table, quick: bool) {
    Table::head("Start and rest, processes of their own over SQLite");
    let mut ready = Vec::new();
    let mut size = Vec::new();
    for _ in 0..if quick { 1 } else { 5 } {
        let folder = tempfile::tempdir().unwrap();
        let numbers = process::measure(&["idle", folder.path().to_str().unwrap()]);
        ready.push(numbers[0].1.as_secs_f64() * 1e3);
        size.push(numbers[1].0 / 1024.0);
    }
    let (ready, size) = (median(ready), median(size));
    table.row("ready, from exec on, new file", &format!("{ready:.1} ms"), None, ready, Goal::Most(20.0));
    table.row("resident when idle", &format!("{size:.1} MiB"), None, size, Goal::Most(12.0));

    let runs = if quick { 1_000 } else { 10_000 };
    let folder = tempfile::tempdir().unwrap();
    let (path, many) = (folder.path().to_str().unwrap(), runs.to_string());
    let sizes = process::measure(&["park", path, &many]);
    let accepting = process::measure(&["accept", path, &many])[0].1.as_secs_f64();
    let what = format!("first new run done, {} wait", count(f64::from(runs)));
    table.row(&what, &format!("{:.0} ms", accepting * 1e3), None, accepting, Goal::Most(2.0));
    let each = (sizes[1].0 - sizes[0].0) * 1024.0 / f64::from(runs);
    table.row("a waiting run, where it started", &format!("{each:.0} bytes"), None, each, Goal::None);
}
