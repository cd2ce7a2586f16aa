//! Runs of ten steps over SQLite, beside what the same file system takes from a bare writer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use windflow_core::{Engine, RunState};
use windflow_workflow::{SqliteOptions, SqliteStore};

use crate::schedulers::Step;
use crate::shape::{Graph, Shape, Work};

pub const STEPS: usize = 10;

type Record = (i64, i64, oneshot::Sender<()>);

/// One thread that commits whatever waits: a 64-byte record for each step, `synchronous=FULL`, nothing else.
pub fn limit(runtime: &Runtime, runs: usize, concurrency: usize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(folder.path().join("limit.db")).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE journal (run INTEGER NOT NULL, \
         seq INTEGER NOT NULL, kind INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;",
    )
    .unwrap();
    let (records, mut inbox) = mpsc::channel::<Record>(4 * concurrency.max(16));
    let writer = std::thread::spawn(move || {
        let mut insert = db.prepare("INSERT INTO journal VALUES (?1, ?2, 1, ?3)").unwrap();
        let mut waiting = Vec::new();
        while inbox.blocking_recv_many(&mut waiting, 4_096) > 0 {
            let several = waiting.len() > 1;
            if several {
                db.execute_batch("BEGIN IMMEDIATE").unwrap();
            }
            for (run, seq, _) in &waiting {
                insert.execute(rusqlite::params![run, seq, &[b'x'; 64][..]]).unwrap();
            }
            if several {
                db.execute_batch("COMMIT").unwrap();
            }
            for (_, _, done) in waiting.drain(..) {
                done.send(()).unwrap();
            }
        }
    });
    let took = drive(runtime, runs, concurrency, move |run| {
        let records = records.clone();
        async move {
            for seq in 0..STEPS {
                let (done, durable) = oneshot::channel();
                records.send((run as i64, seq as i64, done)).await.unwrap();
                durable.await.unwrap();
            }
        }
    });
    writer.join().unwrap();
    took
}

/// The engine over its store, opened as everybody opens it.
pub fn windflow(runtime: &Runtime, runs: usize, concurrency: usize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let work = Work::new(STEPS, Duration::ZERO);
    let engine = runtime.block_on(open(&folder.path().join("runs.db"), Step(Arc::clone(&work))));
    let workflow = Graph::new(Shape::Chain(STEPS as u32)).workflow();
    let of = engine.clone();
    let took = drive(runtime, runs, concurrency, move |_| {
        let (engine, workflow) = (of.clone(), Arc::clone(&workflow));
        async move {
            let run = engine.start(workflow, Value::Null).await.unwrap();
            assert_eq!(run.wait().await.unwrap().state, RunState::Succeeded);
        }
    });
    runtime.block_on(engine.shutdown());
    work.check(runs as u32);
    took
}

async fn open(path: &Path, step: Step) -> Engine {
    let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
    Engine::builder(store).action("step", step).build()
}

/// Does so many runs, so many at a time.
fn drive<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    runs: usize,
    concurrency: usize,
    run: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Duration {
    let next = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async move {
        let began = Instant::now();
        let one = || {
            let (next, run) = (Arc::clone(&next), run.clone());
            async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    run(number).await;
                }
            }
        };
        let drivers: Vec<_> = (0..concurrency).map(|_| tokio::spawn(one())).collect();
        for driver in drivers {
            driver.await.unwrap();
        }
        drop(run);
        began.elapsed()
    })
}
