//! The one thread that writes: it takes what waits, and commits it together.
//!
//! It is a thread, and calls SQLite itself, because every hop to another thread and back costs a commit about as much
//! as a fast disk does.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc;
use windflow_core::StoreError;
use windflow_core::store::Fault;

use super::cache::Cache;
use super::group::Group;
use super::request::Request;
use super::sql;
use super::store::Shared;

/// At most so many calls share a commit.
const MOST: usize = 4_096;

/// How long the lock is left to others that write to the same file.
const TURN: Duration = Duration::from_millis(5);

/// So many calls in one commit are a burst.
const BURST: usize = 100;

/// After how many pages the log is taken into the file. A short log is written over again and again, which a disk does
/// faster than to make it longer; a long one is taken in less often, and that takes longer than the commits of a burst.
const SHORT_LOG: &str = "PRAGMA wal_autocheckpoint = 2000";
const LONG_LOG: &str = "PRAGMA wal_autocheckpoint = 8000";

/// A log of this size is worth a warning; it should have been taken into the file long before.
const LARGE_LOG: u64 = 64 * 1024 * 1024;

/// Serves requests until nobody can ask any more, then closes the file.
pub(super) fn write(shared: &Shared, connection: Connection, mut requests: mpsc::Receiver<Request>) {
    let mut cache = Cache::default();
    let mut broken: Option<StoreError> = None;
    let mut warned_at = LARGE_LOG;
    let mut commits = 0_u64;
    let (mut burst, mut recent) = (false, 0_usize);
    let mut group = Vec::new();
    while requests.blocking_recv_many(&mut group, MOST) > 0 {
        let mut group = std::mem::take(&mut group);
        let all = group.len();
        group.retain(|request| !matches!(request, Request::Look));
        if group.len() < all && broken.is_none() {
            look(shared, &connection, &mut cache);
        }
        if group.is_empty() {
            continue;
        }
        if let Some(error) = &broken {
            group.into_iter().for_each(|request| request.fail(error.clone()));
            continue;
        }
        // A small commit between large ones ends no burst.
        recent = group.len().max(recent - recent.div_ceil(16));
        if std::mem::replace(&mut burst, recent > BURST) != burst {
            // It changes when, and not whether. Not from the cache of statements: it is done when it is prepared.
            let _ = connection.query_row(if burst { LONG_LOG } else { SHORT_LOG }, [], |_| Ok(()));
        }
        let done = Group::new(shared, &connection, &mut cache).run(group);
        if done.foreign {
            // SQLite's lock has no queue: whoever waits for it looks now and then, and must find it free at times.
            std::thread::sleep(TURN);
        }
        done.news.iter().for_each(|namespace| shared.bell.ring(namespace));
        if done.failure.is_some_and(|failure| failure.fault == Fault::Unknown) {
            // A commit that failed on the disk is never tried again in place: what the page cache says then need not
            // be what the disk has.
            let what = format_args!("{}: writing has stopped after a failed commit", shared.path.display());
            broken = Some(StoreError::new(Fault::Unavailable, what).with_hint("restart the process"));
        }
        commits += 1;
        if commits.is_multiple_of(1_024) {
            watch_log(&shared.path, &mut warned_at);
        }
    }
    // Readers may still be about, and SQLite would then leave that to whoever closes the file last, who cannot do it.
    if broken.is_none()
        && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    {
        tracing::warn!(file = %shared.path.display(), %error, "the log stays beside the file");
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(file = %shared.path.display(), %error, "the store was not closed cleanly");
    }
    shared.liveness.let_go();
    shared.closed.send_replace(true);
}

/// Rings for everybody when another process has written.
fn look(shared: &Shared, connection: &Connection, cache: &mut Cache) {
    let Ok(version) = sql::number(connection, sql::VERSION) else { return };
    let before = cache.version;
    if before != Some(version) {
        cache.forget();
        cache.version = Some(version);
        // The first look has nothing to compare with.
        if before.is_some() {
            shared.bell.ring_all();
        }
    }
}

/// Warns, once for every doubling, of a log that does not shrink: a reader holds a snapshot open.
fn watch_log(path: &Path, warned_at: &mut u64) {
    let mut log = path.to_path_buf().into_os_string();
    log.push("-wal");
    let size = std::fs::metadata(&log).map_or(0, |found| found.len());
    if size > *warned_at {
        *warned_at = size * 2;
        tracing::warn!(
            file = %Path::new(&log).display(),
            mib = size / 1024 / 1024,
            "the log grows: some process has had a read of this file open for long"
        );
    } else if size < LARGE_LOG {
        *warned_at = LARGE_LOG;
    }
}
