//! Opening a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, watch};
use windflow_core::StoreError;
use windflow_core::store::{Bell, Fault, WorkerId};

use super::fault::{Moment, store_error};
use super::liveness::Liveness;
use super::store::{Shared, SqliteStore};
use super::{place, schema, writer};

/// How a file is opened. The defaults lose nothing that was acknowledged, not even when the power fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// How long a write waits for another process's.
    pub busy_timeout: Duration,
    /// How many connections serve readers.
    pub readers: u32,
    /// Whether a network file system is accepted. SQLite's locks fail on most of them, and data is lost.
    pub allow_network: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5), readers: 4, allow_network: false }
    }
}

impl SqliteOptions {
    /// Accepts a network file system, at one's own risk.
    #[must_use]
    pub fn allow_network(mut self) -> Self {
        self.allow_network = true;
        self
    }

    fn connect(&self, path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true)
            // Statements carry journals.
            .disable_statement_logging()
    }
}

/// How soon a file that is locked is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// Opens the file, which is made when it is missing.
pub(super) async fn open(path: &Path, options: &SqliteOptions) -> Result<SqliteStore, StoreError> {
    let began = Instant::now();
    loop {
        match open_once(path, options).await {
            // Whoever makes the file or closes it as the last one has it to itself for an instant, and SQLite then
            // turns others away at once, however patient they are.
            Err(error) if error.fault == Fault::Unavailable && began.elapsed() < options.busy_timeout => {
                tokio::time::sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

async fn open_once(path: &Path, options: &SqliteOptions) -> Result<SqliteStore, StoreError> {
    let asked = path.to_path_buf();
    let network = options.allow_network;
    let path: PathBuf = tokio::task::spawn_blocking(move || place::prepare(&asked, network))
        .await
        .map_err(|error| StoreError::new(Fault::Unavailable, error))??;
    let failed = |error: sqlx::Error| store_error(&path, &error, Moment::Before);
    let options_of = options.connect(&path);

    // Opened as it is first: a file that is not ours must not be changed by setting its journal mode.
    let mut connection = SqliteConnection::connect_with(&options_of).await.map_err(failed)?;
    schema::migrate(&path, &mut connection).await?;
    connection.close().await.map_err(failed)?;

    let (file, patience) = (path.clone(), options.busy_timeout);
    let writing = tokio::task::spawn_blocking(move || connect(&file, patience));
    let writing = writing.await.map_err(|error| StoreError::new(Fault::Unavailable, error))?;
    let connection = writing.map_err(|error| store_error(&path, &error, Moment::Before))?;
    let pool = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .test_before_acquire(false)
        .connect_with(options_of.read_only(true))
        .await
        .map_err(failed)?;

    let folder = path.with_file_name("workers");
    let liveness = Liveness::open(folder.clone()).map_err(|error| {
        StoreError::new(Fault::Unusable, format_args!("{}: cannot keep locks there: {error}", folder.display()))
            .with_hint("make the folder writable")
    })?;
    forget_the_dead(&liveness, &connection).map_err(|error| store_error(&path, &error, Moment::Before))?;
    let (requests, inbox) = mpsc::channel(4_096);
    let inode = place::inode(&path).map_err(|error| {
        StoreError::new(Fault::Unusable, format_args!("{}: cannot look at the file: {error}", path.display()))
    })?;
    let shared = Arc::new(Shared { path, inode, bell: Bell::new(), liveness, closed: watch::Sender::new(false) });
    let of = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("windflow-sqlite".to_owned())
        .spawn(move || writer::write(&of, connection, inbox))
        .map_err(|error| StoreError::new(Fault::Unavailable, format_args!("cannot start the writer: {error}")))?;
    Ok(SqliteStore::new(shared, pool, requests))
}

/// The writer's connection.
fn connect(path: &Path, patience: Duration) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 2000",
    )?;
    Ok(connection)
}

/// Removes the rows of workers whose process has gone: their leases are free without them.
fn forget_the_dead(liveness: &Liveness, connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare("SELECT worker FROM workers")?;
    let workers: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let dead: Vec<&String> =
        workers.iter().filter(|worker| !liveness.lives(&WorkerId(worker.as_str().into()))).collect();
    if !dead.is_empty() {
        let delete = "DELETE FROM workers WHERE worker IN (SELECT value FROM json_each(?1))";
        connection.execute(delete, [serde_json::to_string(&dead).unwrap_or_default()])?;
    }
    Ok(())
}
