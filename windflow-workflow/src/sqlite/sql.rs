//! The writer's statements. Each is prepared once and run for each row.

use rusqlite::Connection;

/// Opens a transaction.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// Grows when another process has written; asked within a transaction, so that nobody writes meanwhile.
pub(super) const VERSION: &str = "PRAGMA data_version";

pub(super) const INSERT_RUN: &str = "INSERT INTO runs (id, state, updated_at, wake_at, problem, version, build, epoch, worker, until, run, namespace, key, \
     fingerprint, workflow, hash, total, created_at, parent) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

pub(super) const UPDATE_RUN: &str = "UPDATE runs SET state = ?2, updated_at = ?3, wake_at = ?4, problem = ?5, version = ?6, build = ?7, epoch = ?8, \
     worker = ?9, until = ?10 WHERE id = ?1";

pub(super) const APPEND: &str =
    "INSERT INTO journal (id, last, count, at, epoch, finished, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// How far a run `r` is: its last row `h` in the journal.
macro_rules! join_head {
    () => {
        "JOIN journal AS h ON h.id = r.id AND h.last = (SELECT max(last) FROM journal WHERE id = r.id)"
    };
}
pub(super) use join_head;

/// A run's row as JSON, from `r` and `h`.
macro_rules! summary_json {
    () => {
        "json_object('run', r.run, 'namespace', r.namespace, 'workflow', r.workflow, \
         'hash', 'sha256:' || lower(hex(r.hash)), 'state', r.state, 'seq', h.last, 'created_at', r.created_at, \
         'updated_at', max(r.updated_at, h.at), 'wake_at', r.wake_at, 'finished', h.finished, 'total', r.total, \
         'problem', r.problem, 'version', r.version, 'build', r.build, 'parent', r.parent)"
    };
}
pub(super) use summary_json;

/// What [`Known::read`](super::cache::Known::read) takes.
macro_rules! known {
    () => {
        concat!(
            "SELECT r.id, 'sha256:' || lower(hex(r.fingerprint)), r.key, r.epoch, r.worker, r.until, ",
            summary_json!(),
            ", EXISTS (SELECT 1 FROM inbox WHERE id = r.id AND request IS NOT NULL)"
        )
    };
}

/// Runs that are named in a list.
pub(super) const FIND_RUNS: &str =
    concat!(known!(), " FROM json_each(?1) AS wanted CROSS JOIN runs AS r ON r.run = wanted.value ", join_head!());

/// Runs by namespace and key.
pub(super) const FIND_KEYS: &str = concat!(
    known!(),
    " FROM json_each(?1) AS wanted CROSS JOIN runs AS r ON r.namespace = wanted.value ->> 0 \
     AND r.key = wanted.value ->> 1 ",
    join_head!()
);

/// Whether a run's inbox has something.
pub(super) const IS_ASKED: &str = "SELECT EXISTS (SELECT 1 FROM inbox WHERE id = ?1 AND request IS NOT NULL)";

/// Runs a statement that answers nothing.
pub(super) fn execute(
    connection: &Connection,
    text: &str,
    values: impl rusqlite::Params,
) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached(text)?.execute(values)
}

/// Asks for one number.
pub(super) fn number(connection: &Connection, text: &str) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached(text)?.query_row([], |row| row.get(0))
}
