//! What the file holds, and how an older file becomes a newer one.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use windflow_core::StoreError;
use windflow_core::store::Fault;

use super::fault::{Moment, corrupt, store_error};

/// Marks the file as ours: `WFLW`.
const APPLICATION: i64 = 0x5746_4c57;

/// Each version's changes, in order; the file's version is how many were applied. Never edit one that was released.
///
/// The shape of every row is part of the version. What stands in the journal is not: a build that finds an event it does
/// not know leaves that run alone, and only that.
///
/// - `journal` has one row per append, in the order of the appends: those of many runs fill few pages, and only pages are
///   written. How far a run is stands in its last row.
/// - `runs` changes only when something about a run changes that is searched for. Its rows are small: many runs that end at
///   about the same time change few pages.
/// - An inbox entry that was taken in loses its `request`; it stays when its dedup key must be remembered.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    key TEXT,
    fingerprint BLOB NOT NULL,
    workflow TEXT NOT NULL,
    hash BLOB NOT NULL,
    total INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    wake_at INTEGER,
    problem TEXT,
    version INTEGER NOT NULL,
    build TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    worker TEXT,
    until INTEGER
) STRICT;
CREATE UNIQUE INDEX runs_by_key ON runs (namespace, key) WHERE key IS NOT NULL;
CREATE INDEX runs_by_namespace ON runs (namespace);
CREATE INDEX runs_by_wake ON runs (namespace, wake_at, worker, until) WHERE wake_at IS NOT NULL;

CREATE TABLE journal (
    id INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    events BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_by_run ON journal (id, last);

CREATE TABLE inbox (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    id INTEGER NOT NULL REFERENCES runs (id),
    dedup TEXT,
    at INTEGER NOT NULL,
    principal TEXT NOT NULL,
    request TEXT
) STRICT;
CREATE UNIQUE INDEX inbox_by_dedup ON inbox (id, dedup) WHERE dedup IS NOT NULL;
CREATE INDEX inbox_waiting ON inbox (id) WHERE request IS NOT NULL;

CREATE TABLE workers (
    worker TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
    hash TEXT NOT NULL UNIQUE,
    bytes BLOB NOT NULL
) STRICT;
",
    "
ALTER TABLE runs ADD COLUMN parent TEXT;
CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL;
",
];

/// Brings the file to this build's version, in one transaction.
pub(super) async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| store_error(path, &error, Moment::Before);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let row = sqlx::query(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), \
         (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    let (application, version, tables): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    if tables > 0 && application != APPLICATION {
        return Err(corrupt(path, "this is another program's database"));
    }
    let newest = MIGRATIONS.len() as i64;
    if version > newest {
        let what = format!("{}: schema {version} is newer than this build's {newest}", path.display());
        return Err(StoreError::new(Fault::Unusable, what).with_hint("use the version of the program that wrote it"));
    }
    if version == newest {
        // Most openings find it so, and need not write.
        expected(path, &mut transaction).await?;
        return transaction.rollback().await.map_err(failed);
    }
    let missing = MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX));
    for migration in missing {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
    }
    let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {newest}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *transaction).await.map_err(failed)?;
    expected(path, &mut transaction).await?;
    transaction.commit().await.map_err(failed)
}

/// Checks that the tables are those the migrations make: a development build, or somebody's hand, may have made others
/// under the same number. What was added beside them does no harm.
async fn expected(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // A trigger may have a table's name.
    let shape = "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
    let rows = sqlx::query(shape).fetch_all(connection).await;
    let rows = rows.map_err(|error| store_error(path, &error, Moment::Before))?;
    let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let made = || -> Result<BTreeMap<String, String>, rusqlite::Error> {
        let memory = rusqlite::Connection::open_in_memory()?;
        memory.execute_batch(&MIGRATIONS.concat())?;
        let mut statement = memory.prepare(shape)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let wanted = made().map_err(|error| StoreError::new(Fault::Unusable, error))?;
    let differs = wanted.iter().find(|(name, sql)| found.get(*name) != Some(sql));
    let Some((name, _)) = differs else { return Ok(()) };
    let what = format!("{}: {name} is not as version {} of this file has it", path.display(), MIGRATIONS.len());
    Err(StoreError::new(Fault::Unusable, what)
        .with_hint("a development build has written it: move the file away, or go on with that build"))
}
