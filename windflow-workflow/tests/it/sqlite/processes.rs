//! Two stores on one file, as two processes have them.

use std::sync::Arc;
use std::time::Duration;

use windflow_core::conformance::store::{batch, new_run, own_namespace, signal, started};
use windflow_core::store::{Claim, Created, Fault, WorkerId};
use windflow_core::{RunId, Seq, Store, Timestamp};
use windflow_workflow::{SqliteOptions, SqliteStore};

async fn two() -> (tempfile::TempDir, SqliteStore, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/windflow.db");
    let one = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    let other = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    (folder, one, other)
}

#[test]
fn many_that_open_a_new_file_at_once_all_get_it() {
    for round in 0..25 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/windflow.db");
        let all_here = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        all_here.wait();
                        let store = SqliteStore::open(&path, SqliteOptions::default()).await;
                        let store = store.unwrap_or_else(|error| panic!("round {round}: {error}"));
                        let new = new_run(&RunId::generate(), &own_namespace(), &WorkerId::generate());
                        store.create(new).await.unwrap();
                        // Whoever closes it last tidies up while others may still be opening it.
                        store.close().await;
                    });
                });
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_from_another_process_wakes_the_owner() {
    let (_folder, owner, other) = two().await;
    let (run, namespace, worker) = (RunId::generate(), own_namespace(), WorkerId::generate());
    let Created::New(lease) = owner.create(new_run(&run, &namespace, &worker)).await.unwrap() else { panic!() };
    let waits = {
        let (owner, namespace) = (owner.clone(), namespace.clone());
        tokio::spawn(async move { owner.news(&namespace, 0).await })
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut waits = waits;
    // The owner may not have begun to look when the first comes: news is a hint.
    loop {
        other.submit(signal(&run, None, 1)).await.unwrap();
        if tokio::time::timeout(Duration::from_secs(1), &mut waits).await.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no news in ten seconds");
    }
    let entries = owner.inbox(&run).await.unwrap();
    assert!(!entries.is_empty());
    let mut taking = batch(&lease, &new_run(&run, &namespace, &worker).summary, 2, vec![started(1)]);
    taking.consumed = entries.iter().map(|entry| entry.id).collect();
    owner.append(taking).await.unwrap();
    assert_eq!(other.journal(&run, Seq(1)).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_ends_with_its_process_and_fences_what_comes_late() {
    let (_folder, one, other) = two().await;
    let (run, namespace, worker, heir) =
        (RunId::generate(), own_namespace(), WorkerId::generate(), WorkerId::generate());
    let Created::New(lease) = one.create(new_run(&run, &namespace, &worker)).await.unwrap() else { panic!() };
    let (now, until) = (Timestamp(5), Timestamp(2_000));
    let held = Claim::Held { by: worker.clone(), until: Timestamp(1_000) };
    assert_eq!(other.claim(&run, &heir, now, until).await.unwrap(), held);
    assert!(other.due(&namespace, now, 10).await.unwrap().is_empty());
    // A lease that ran out is free although its holder lives, or a frozen process would keep its runs for ever.
    let Claim::Taken(newer) = other.claim(&run, &heir, Timestamp(1_000), until).await.unwrap() else { panic!() };
    let head = new_run(&run, &namespace, &worker).summary;
    let late = one.append(batch(&lease, &head, 6, vec![started(1)])).await.unwrap_err();
    assert_eq!(late.fault, Fault::Fenced, "the cache of the other process must not let it pass");
    other.append(batch(&newer, &head, 6, vec![started(2)])).await.unwrap();

    other.close().await;
    let due = one.due(&namespace, now, 10).await.unwrap();
    assert!(due.iter().eq([&run]), "the lease went with its process");
    assert_eq!(one.next_wake(&namespace, Timestamp(0)).await.unwrap(), Some(Timestamp(1)));
    let taken = one.claim(&run, &worker, now, until).await.unwrap();
    assert!(matches!(taken, Claim::Taken(lease) if lease.epoch.0 == 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_append_to_their_own_runs_and_fight_for_shared_keys() {
    let (_folder, one, other) = two().await;
    let namespace = own_namespace();
    let stores = [Arc::new(one), Arc::new(other)];
    let tasks: Vec<_> = (0..8_usize)
        .map(|task| {
            let (store, namespace) = (Arc::clone(&stores[task % 2]), namespace.clone());
            tokio::spawn(async move {
                let (mut won, mut runs) = (0, Vec::new());
                for round in 0..10 {
                    let (run, worker) = (RunId::generate(), WorkerId("shared".into()));
                    let mut new = new_run(&run, &namespace, &worker);
                    new.key = Some(format!("key-{round}"));
                    let mut head = new.summary.clone();
                    let Created::New(lease) = store.create(new).await.unwrap() else { continue };
                    won += 1;
                    for attempt in 0..10 {
                        let next = batch(&lease, &head, 3, vec![started(attempt)]);
                        store.append(next.clone()).await.unwrap();
                        head = next.summary;
                    }
                    runs.push(run);
                }
                (won, runs)
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        let (number, runs) = task.await.unwrap();
        won += number;
        for run in runs {
            assert_eq!(stores[0].journal(&run, Seq(0)).await.unwrap().len(), 11);
        }
    }
    assert_eq!(won, 10, "each key makes one run");
}
