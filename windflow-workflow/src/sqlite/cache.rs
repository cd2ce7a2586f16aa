//! What the writer knows of runs without asking the file: true while no other process has written.

use std::path::Path;

use foldhash::{HashMap, HashSet};
use rusqlite::Row;
use windflow_core::store::{Created, WorkerId};
use windflow_core::{ContentHash, Epoch, Namespace, RunId, StoreError, Summary, Timestamp};

use super::fault::{Failure, corrupt};

/// One run as the file has it, with what this group of writes has changed.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub id: i64,
    pub fingerprint: ContentHash,
    pub key: Option<String>,
    pub epoch: Epoch,
    pub lease: Option<(WorkerId, Timestamp)>,
    pub summary: Summary,
    /// Whether its inbox may have something.
    pub asked: bool,
    /// Whether its row in `runs` is not there yet.
    pub row_missing: bool,
    /// Whether that row must be written: then the group lists the run.
    pub row_changed: bool,
}

impl Known {
    /// Reads what [`Group`](super::group::Group) selects.
    pub(super) fn read(path: &Path, row: &Row<'_>) -> Result<Self, Failure> {
        let fingerprint: String = row.get(1)?;
        let worker: Option<String> = row.get(4)?;
        let until: Option<i64> = row.get(5)?;
        let text: String = row.get(6)?;
        Ok(Self {
            id: row.get(0)?,
            fingerprint: fingerprint.parse().map_err(|error| corrupt(path, format_args!("a run's row: {error}")))?,
            key: row.get(2)?,
            epoch: Epoch(unsigned(row.get(3)?)),
            lease: worker.map(|worker| (WorkerId(worker.into()), Timestamp(unsigned(until.unwrap_or_default())))),
            summary: summary(path, &text)?,
            asked: row.get(7)?,
            row_missing: false,
            row_changed: false,
        })
    }

    pub(super) fn exists(&self) -> Created {
        Created::Exists { summary: self.summary.clone(), fingerprint: self.fingerprint }
    }

    /// Takes a newer summary, and notes whether its row must say so: how far the run is, the journal says, too.
    pub(super) fn take(&mut self, summary: Summary) {
        let mut old = std::mem::replace(&mut self.summary, summary);
        let new = &self.summary;
        if new.seq > old.seq {
            (old.seq, old.updated_at, old.finished) = (new.seq, new.updated_at, new.finished);
        }
        self.row_changed |= old != *new;
    }

    /// Ends the lease, and answers whom to tell. Only a run that wants to be driven, or was asked something, is news:
    /// every run that ends is given back, too.
    pub(super) fn give_back(&mut self) -> Option<Namespace> {
        self.lease = None;
        self.row_changed = true;
        (self.asked || self.summary.wake_at.is_some()).then(|| self.summary.namespace.clone())
    }
}

/// A summary from its row.
pub(super) fn summary(path: &Path, text: &str) -> Result<Summary, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(path, format_args!("a run's row: {error}")))
}

/// A number as SQLite keeps it: the end of time is as far as it goes.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as it was.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The `data_version` under which it was read.
    pub version: Option<i64>,
    pub runs: HashMap<RunId, Known>,
    /// The highest id given to a run.
    pub last_id: Option<i64>,
    /// Until when workers have renewed their leases.
    pub workers: Option<HashMap<WorkerId, Timestamp>>,
    /// Pinned bytes that are there for sure.
    pub blobs: HashSet<ContentHash>,
}

impl Cache {
    /// At most so many runs are remembered.
    const MOST: usize = 65_536;

    /// Forgets all that another process may have changed.
    pub(super) fn forget(&mut self) {
        self.runs.clear();
        self.last_id = None;
        self.workers = None;
        self.version = None;
    }

    /// Keeps the memory it takes within bounds.
    pub(super) fn trim(&mut self) {
        if self.runs.len() > Self::MOST {
            self.runs.clear();
        }
        if self.blobs.len() > Self::MOST {
            self.blobs.clear();
        }
    }
}
