//! Statements over many rows, in a few fixed sizes so that each is prepared once.
//!
//! A statement of size `n` takes up to `n` rows; the rest are bound as nulls and left out by its `WHERE`. The driver
//! hands every statement to another thread and waits, so that few statements matter more than small ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, Encode, Sqlite, Type};

/// The largest size: SQLite binds at most 32,766 values in one statement.
pub(super) const MOST: usize = 512;

const RUN_COLUMNS: usize = 13;
const JOURNAL_COLUMNS: usize = 6;
const HEAD_COLUMNS: usize = 4;

/// Opens a transaction and tells whether another process has written since.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE; PRAGMA data_version";

/// The size that takes this many rows.
fn size(rows: usize) -> usize {
    rows.next_power_of_two().min(MOST)
}

fn rows(columns: usize, size: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL", vec![row; size].join(","))
}

fn upsert_runs(size: usize) -> String {
    format!(
        "INSERT INTO runs (id, run, namespace, key, fingerprint, workflow, state, wake_at, created_at, epoch, worker, \
         until, summary) {} ON CONFLICT (id) DO UPDATE SET state = excluded.state, wake_at = excluded.wake_at, \
         epoch = excluded.epoch, worker = excluded.worker, until = excluded.until, summary = excluded.summary",
        rows(RUN_COLUMNS, size)
    )
}

fn append(size: usize, commit: bool) -> String {
    format!(
        "INSERT INTO journal (id, last, count, at, epoch, events) {}; \
         REPLACE INTO heads (id, seq, updated_at, finished) {}{}",
        rows(JOURNAL_COLUMNS, size),
        rows(HEAD_COLUMNS, size),
        if commit { "; COMMIT" } else { "" }
    )
}

/// The statements, written when first wanted.
#[derive(Debug, Default)]
pub(super) struct Statements {
    runs: BTreeMap<usize, Arc<str>>,
    appends: BTreeMap<(usize, bool), Arc<str>>,
}

impl Statements {
    /// Writes or changes rows of `runs`; at most [`MOST`].
    pub(super) fn upsert_runs(&mut self, rows: usize) -> (AssertSqlSafe<Arc<str>>, Values) {
        let size = size(rows);
        let text = self.runs.entry(size).or_insert_with(|| upsert_runs(size).into());
        (AssertSqlSafe(Arc::clone(text)), Values::new(size * RUN_COLUMNS))
    }

    /// Adds rows to `journal` and replaces rows of `heads`, at most [`MOST`] of each, and perhaps commits.
    pub(super) fn append(
        &mut self,
        journal: usize,
        heads: usize,
        commit: bool,
    ) -> (AssertSqlSafe<Arc<str>>, Values, Padding) {
        let size = size(journal.max(heads));
        let text = self.appends.entry((size, commit)).or_insert_with(|| append(size, commit).into());
        let values = Values::new(size * (JOURNAL_COLUMNS + HEAD_COLUMNS));
        (AssertSqlSafe(Arc::clone(text)), values, Padding { journal: (size - journal) * JOURNAL_COLUMNS })
    }
}

/// How many nulls stand for the rows that are not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Padding {
    /// After the rows of `journal`; those after `heads` are left unbound.
    pub journal: usize,
}

/// Values for a statement, in order.
#[derive(Debug, Default)]
pub(super) struct Values {
    arguments: SqliteArguments,
    failed: Option<String>,
}

impl Values {
    fn new(capacity: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(capacity, 0);
        Self { arguments, failed: None }
    }

    /// One more.
    pub(super) fn push<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.failed = Some(error.to_string());
        }
        self
    }

    /// So many nulls.
    pub(super) fn pad(&mut self, nulls: usize) {
        for _ in 0..nulls {
            self.push(None::<i64>);
        }
    }

    /// All of them.
    pub(super) fn done(self) -> Result<SqliteArguments, sqlx::Error> {
        match self.failed {
            None => Ok(self.arguments),
            Some(error) => Err(sqlx::Error::Protocol(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_few() {
        let sizes: std::collections::BTreeSet<usize> = (1..=MOST).map(size).collect();
        assert_eq!(sizes.len(), 10);
        assert!((1..=MOST).all(|rows| size(rows) >= rows && size(rows) < 2 * rows));
        assert!(MOST * RUN_COLUMNS.max(JOURNAL_COLUMNS + HEAD_COLUMNS) < 32_766);
    }
}
