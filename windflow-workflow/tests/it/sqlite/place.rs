//! Files and folders that cannot be used, or can no longer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use windflow_core::conformance::store::{batch, new_run, started};
use windflow_core::store::{Created, Fault, Kinship, RunQuery, WorkerId};
use windflow_core::{Event, Namespace, NodeIndex, RunId, Seq, Store, StoreError};
use windflow_workflow::{SqliteOptions, SqliteStore};

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions::default()).await
}

#[tokio::test]
async fn file_and_folders_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/windflow.db");
    let store = open(&path).await.unwrap();
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    store.create(new_run(&run, &Namespace::default(), &worker)).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let lock = path.with_file_name("workers").join(format!("{worker}.lock"));
    for file in [path.clone(), path.with_file_name("windflow.db-wal"), path.with_file_name("windflow.db-shm")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(&lock), 0o600);
    store.close().await;
    assert!(!lock.exists(), "a store that was closed leaves no lock");
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text.db"), "not a database at all, but long enough to be looked at as one\n".repeat(40)).unwrap();
    let before = fs::read(at("text.db")).unwrap();
    let error = open(&at("text.db")).await.unwrap_err();
    assert_eq!(error.fault, Fault::Corrupt, "{error}");
    assert!(error.to_string().contains("text.db") && error.to_string().contains("move"), "{error}");
    assert_eq!(fs::read(at("text.db")).unwrap(), before);

    fs::write(at("real"), "").unwrap();
    symlink(at("real"), at("link.db")).unwrap();
    let error = open(&at("link.db")).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unusable, "{error}");
    assert!(error.to_string().contains("is a link"), "{error}");
    assert_eq!(open(folder.path()).await.unwrap_err().fault, Fault::Unusable, "a folder");
    fs::write(at("file"), "").unwrap();
    assert_eq!(open(&at("file/windflow.db")).await.unwrap_err().fault, Fault::Unusable, "below a file");
}

#[tokio::test]
async fn a_file_of_another_shape_is_refused_by_name_and_what_was_added_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    open(&path).await.unwrap().close().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("CREATE INDEX mine ON runs (workflow); CREATE TRIGGER journal AFTER DELETE ON runs BEGIN SELECT 1; END; ANALYZE").unwrap();
    open(&path).await.unwrap().close().await;
    file.execute_batch("ALTER TABLE journal RENAME COLUMN finished TO done").unwrap();
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unusable);
    let told = format!("{}: table journal is not as version 2 of this file has it", path.display());
    assert!(error.to_string().starts_with(&told) && error.hint.is_some(), "{error}");
}

#[tokio::test]
async fn a_log_whose_file_is_gone_is_not_wiped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    fs::write(folder.path().join("w.db-wal"), "what was acknowledged").unwrap();
    for empty in [false, true] {
        if empty {
            fs::write(&path, "").unwrap();
        }
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.fault, Fault::Corrupt);
        assert!(error.to_string().contains("w.db-wal is not (put a backup in its place"), "{error}");
        assert_eq!(path.exists(), empty, "nothing is made beside it");
        assert_eq!(fs::read_to_string(folder.path().join("w.db-wal")).unwrap(), "what was acknowledged");
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    let store = open(&path).await.unwrap();
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    fs::remove_file(&path).unwrap();
    let error = store.create(new_run(&run, &Namespace::default(), &worker)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unusable);
    assert!(error.to_string().contains("was removed or replaced while it was open"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windflow.db");
    let store = open(&path).await.unwrap();
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    store.create(new_run(&run, &Namespace::default(), &worker)).await.unwrap();
    store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 8;
    bytes[half..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let error = match open(&path).await {
        Err(error) => error,
        Ok(store) => store.journal(&run, Seq(0)).await.unwrap_err(),
    };
    assert_eq!(error.fault, Fault::Corrupt, "{error}");
    assert!(error.to_string().contains("windflow.db"), "{error}");
}

/// A small file system of its own, unmounted when it goes. Needs to be root.
struct Small(PathBuf, tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("small");
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "windflow-test"]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            println!("NOT PROVED: a tmpfs cannot be mounted here, so that a full disk was not tried");
        }
        mounted.then(|| Self(at, folder))
    }

    fn remount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(&self.0);
        mount.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = self.1.path();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let Some(small) = Small::mount() else { return };
    let path = small.0.join("windflow.db");
    let store = open(&path).await.unwrap();
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    let new = new_run(&run, &Namespace::default(), &worker);
    let mut head = new.summary.clone();
    let Created::New(lease) = store.create(new).await.unwrap() else { panic!() };
    let big = Event::Succeeded { node: NodeIndex(0), output: json!("x".repeat(200_000)) };
    let mut written = 1;
    let error = loop {
        let next = batch(&lease, &head, 2, vec![big.clone()]);
        match store.append(next.clone()).await {
            Ok(()) => (head, written) = (next.summary, written + 1),
            Err(error) => break error,
        }
        assert!(written < 100, "4 MiB hold no 20 MB");
    };
    assert_eq!(error.fault, Fault::Full, "{error}");
    assert_eq!(store.journal(&run, Seq(0)).await.unwrap().len(), written, "what was acknowledged can be read");
    assert_eq!(store.summary(&run).await.unwrap(), Some(head.clone()));
    assert!(small.remount("size=16m"));
    store.append(batch(&lease, &head, 3, vec![big])).await.unwrap();
    assert_eq!(store.journal(&run, Seq(0)).await.unwrap().len(), written + 1);
    store.close().await;

    assert!(small.remount("ro"));
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Unusable | Fault::Full), "{error:?}");
    let error = open(&small.0.join("new/windflow.db")).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unusable, "{error}");
}

#[tokio::test]
async fn an_append_that_was_refused_leaves_nothing_behind_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windflow.db");
    let store = open(&path).await.unwrap();
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    let new = new_run(&run, &Namespace::default(), &worker);
    let Created::New(lease) = store.create(new.clone()).await.unwrap() else { panic!() };
    let mut wrong = batch(&lease, &new.summary, 2, vec![started(1)]);
    wrong.after = Seq(7);
    assert_eq!(store.append(wrong).await.unwrap_err().fault, Fault::Conflict);
    store.close().await;
    let store = open(&path).await.unwrap();
    assert_eq!(store.journal(&run, Seq(0)).await.unwrap().len(), 1);
    assert_eq!(store.summary(&run).await.unwrap(), Some(new.summary));
}

#[tokio::test]
async fn a_file_of_the_version_before_is_taken_over_with_its_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    let (run, namespace) = (RunId::generate(), Namespace::default());
    let store = open(&path).await.unwrap();
    store.create(new_run(&run, &namespace, &WorkerId::generate())).await.unwrap();
    let before = store.summary(&run).await.unwrap();
    store.close().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    let version_1 =
        "DROP INDEX runs_by_parent; ALTER TABLE runs DROP COLUMN parent; PRAGMA user_version = 1; PRAGMA optimize";
    file.execute_batch(version_1).unwrap();
    drop(file);
    let store = open(&path).await.unwrap();
    assert_eq!(store.summary(&run).await.unwrap(), before);
    let roots = RunQuery { kinship: Kinship::Roots, ..RunQuery::default() };
    assert_eq!(store.list(&roots).await.unwrap().len(), 1);
    store.close().await;
}
