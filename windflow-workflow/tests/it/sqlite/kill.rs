//! What was acknowledged is found again after `kill -9`, position by position.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use windflow_core::conformance::store::{batch, new_run, started};
use windflow_core::store::{Claim, Created, WorkerId};
use windflow_core::{Event, Namespace, RunId, Seq, Store, Timestamp};
use windflow_workflow::{SqliteOptions, SqliteStore};

/// Names the file in the environment of a child that this test starts from its own program.
const CHILD: &str = "WINDFLOW_KILL_TEST";
const RUNS: u32 = 4;

fn run_id(number: u32) -> RunId {
    RunId::new(format!("run-{number}")).unwrap()
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).await.unwrap()
}

/// Takes one run up where its journal ends, and appends for ever, telling each acknowledged position.
async fn append_for_ever(store: SqliteStore, number: u32) {
    let (run, worker) = (run_id(number), WorkerId::generate());
    let (lease, mut head) = match store.create(new_run(&run, &Namespace::default(), &worker)).await.unwrap() {
        Created::New(lease) => (lease, new_run(&run, &Namespace::default(), &worker).summary),
        // The former holder was killed: its lease is free at once, long before it runs out.
        Created::Exists { summary, .. } => {
            let Claim::Taken(lease) = store.claim(&run, &worker, Timestamp(0), Timestamp(u64::MAX)).await.unwrap()
            else {
                panic!("the run of a killed process is held");
            };
            (lease, summary)
        }
    };
    loop {
        let next = u32::try_from(head.seq.0).unwrap() + 1;
        let appended = batch(&lease, &head, 2, vec![started(next), started(next + 1)]);
        store.append(appended.clone()).await.unwrap();
        head = appended.summary;
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {number} {}", head.seq).unwrap();
        out.flush().unwrap();
    }
}

/// The child's part; does nothing in an ordinary run of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&path)).await;
    let tasks: Vec<_> = (0..RUNS).map(|number| tokio::spawn(append_for_ever(store.clone(), number))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn acknowledged_records_survive_kill_9() {
    let kills: u32 = std::env::var("WINDFLOW_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windflow.db");
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    let (mut acks, began) = (0_u64, Instant::now());
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["sqlite::kill::killed_child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after a different number of acknowledgements each time, at whatever instruction that is.
        let mut left = 1 + kill * 7 % 40;
        while let Some(Ok(line)) = lines.next() {
            // The harness may have written the beginning of a line.
            let Some(at) = line.find("ack ") else { continue };
            let mut words = line[at + 4..].split(' ');
            let number: u32 = words.next().unwrap().parse().unwrap();
            let seq: u64 = words.next().unwrap().parse().unwrap();
            let last = acknowledged.entry(number).or_default();
            assert!(seq > *last, "position {seq} after {last}");
            *last = seq;
            acks += 1;
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
    }
    assert!(acks >= u64::from(kills), "{acks} acknowledgements in {kills} kills");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&path).await;
        for (number, acknowledged) in acknowledged {
            let journal = store.journal(&run_id(number), Seq(0)).await.unwrap();
            assert!(
                journal.len() as u64 >= acknowledged,
                "{acknowledged} were acknowledged, {} are there",
                journal.len()
            );
            for (position, record) in (1..).zip(&journal) {
                assert_eq!(record.seq, Seq(position));
                if position > 1 {
                    let attempt = u32::try_from(position).unwrap();
                    assert!(matches!(record.event, Event::Started { attempt: found, .. } if found == attempt));
                }
            }
            assert!(journal.windows(2).all(|pair| pair[0].epoch <= pair[1].epoch));
        }
    });
    println!("{kills} kills, {acks} acknowledged appends, {:.1?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(120));
}
