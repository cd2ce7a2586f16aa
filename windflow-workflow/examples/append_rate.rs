//! How many durable appends a second a SQLite store takes: `append_rate FILE RUNS CONCURRENCY` drives runs of ten
//! steps, so many at a time, each step one append of a completion and the next start. Prints one line of JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;
use windflow_core::conformance::store::{batch, new_run, started};
use windflow_core::store::{Created, WorkerId};
use windflow_core::{Event, Namespace, NodeIndex, RunId, RunState, Store};
use windflow_workflow::{SqliteOptions, SqliteStore};

const STEPS: u32 = 10;

async fn drive(
    store: SqliteStore,
    worker: WorkerId,
    next: Arc<AtomicU64>,
    runs: u64,
) -> Result<(), windflow_core::StoreError> {
    while next.fetch_add(1, Ordering::Relaxed) < runs {
        let run = RunId::generate();
        let new = new_run(&run, &Namespace::default(), &worker);
        let mut head = new.summary.clone();
        let Created::New(lease) = store.create(new).await? else { continue };
        for step in 1..=STEPS {
            let done = Event::Succeeded { node: NodeIndex(step - 1), output: json!({"n": step}) };
            let mut append = batch(&lease, &head, 2, vec![done, started(step)]);
            append.summary.finished = step;
            if step == STEPS {
                (append.summary.state, append.summary.wake_at) = (RunState::Succeeded, None);
            }
            head = append.summary.clone();
            store.append(append).await?;
        }
        store.release(&lease).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, runs, concurrency] = arguments.as_slice() else {
        return Err("append_rate FILE RUNS CONCURRENCY".into());
    };
    let (runs, concurrency): (u64, u64) = (runs.parse()?, concurrency.parse()?);
    let store = SqliteStore::open(file, SqliteOptions::default()).await?;
    let (worker, next) = (WorkerId::generate(), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let tasks: Vec<_> =
        (0..concurrency).map(|_| tokio::spawn(drive(store.clone(), worker.clone(), Arc::clone(&next), runs))).collect();
    for task in tasks {
        task.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let appends = runs * u64::from(STEPS);
    println!(
        "{}",
        json!({
            "what": "sqlite store", "concurrency": concurrency, "appends": appends, "seconds": seconds,
            "appends_per_second": (appends as f64 / seconds).round(), "runs_per_second": (runs as f64 / seconds).round(),
        })
    );
    Ok(())
}
