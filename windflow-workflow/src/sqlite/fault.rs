//! What SQLite's errors mean to a caller.

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use windflow_core::StoreError;
use windflow_core::store::Fault;

/// Where in a write something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before anything was committed.
    Before,
    /// While committing.
    Commit,
}

/// What a driver of SQLite reports.
pub(super) trait Reported: std::fmt::Display {
    /// SQLite's primary result code, if SQLite said anything.
    fn code(&self) -> Option<i32>;
}

impl Reported for sqlx::Error {
    fn code(&self) -> Option<i32> {
        let code = self.as_database_error()?.code()?;
        code.parse::<i32>().ok().map(|extended| extended & 0xff)
    }
}

impl Reported for rusqlite::Error {
    fn code(&self) -> Option<i32> {
        self.sqlite_error().map(|error| error.extended_code & 0xff)
    }
}

/// The same failure in the words of the contract.
pub(super) fn store_error(path: &Path, error: &impl Reported, moment: Moment) -> StoreError {
    let say = |fault, hint: Option<String>| {
        let known = StoreError::new(fault, format_args!("{}: {error}", path.display()));
        match hint {
            Some(hint) => known.with_hint(hint),
            None => known,
        }
    };
    match error.code() {
        // BUSY and LOCKED: another process holds the write lock for longer than the timeout.
        Some(5 | 6) => say(Fault::Unavailable, Some("another process is writing; try again".into())),
        // FULL
        Some(13) => say(Fault::Full, Some("free some space; nothing was written, and all of it can be read".into())),
        // READONLY
        Some(8) => say(Fault::Full, Some("the file or its folder is read-only; make it writable".into())),
        // PERM, AUTH, CANTOPEN
        Some(3 | 23 | 14) => say(Fault::Unusable, Some("check that folder and file may be read and written".into())),
        // CORRUPT, NOTADB
        Some(11 | 26) => say(Fault::Corrupt, Some(damaged(path))),
        // IOERR: whether a commit reached the disk before it is anybody's guess.
        Some(10) if moment == Moment::Commit => {
            say(Fault::Unknown, Some("the disk failed; restart the process, which reads back what is there".into()))
        }
        Some(10) => say(Fault::Unavailable, Some("the disk failed; nothing was written".into())),
        Some(_) => say(Fault::Unavailable, None),
        None if moment == Moment::Commit => say(Fault::Unknown, None),
        None => say(Fault::Unavailable, None),
    }
}

/// What to do about a file that cannot be understood.
pub(super) fn damaged(path: &Path) -> String {
    format!(
        "move {} away together with its -wal and -shm files, and put a backup in its place; \
         without them a new, empty store is made",
        path.display()
    )
}

/// A stored value that cannot be understood.
pub(super) fn corrupt(path: &Path, what: impl std::fmt::Display) -> StoreError {
    StoreError::new(Fault::Corrupt, format_args!("{}: {what}", path.display())).with_hint(damaged(path))
}

/// What was stored as JSON. What is well-formed and not known here was written by a newer version; the rest is damage.
pub(super) fn decode<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    what: impl Fn() -> String,
) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) => {
            let message = format_args!("{}: {} is not known to this version: {error}", path.display(), what());
            StoreError::new(Fault::Newer, message)
                .with_hint("use the version of the program that wrote it; it is left as it is")
        }
        Err(_) => corrupt(path, format_args!("{}: {error}", what())),
    })
}

/// Why a group of writes came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite says so.
    Sqlite(rusqlite::Error),
    /// We do.
    Ours(StoreError),
}

impl Failure {
    /// In the words of the contract.
    pub(super) fn said(self, path: &Path, moment: Moment) -> StoreError {
        match self {
            Self::Sqlite(error) => store_error(path, &error, moment),
            Self::Ours(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Ours(error)
    }
}
