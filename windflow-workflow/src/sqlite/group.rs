//! One group of writes: decided in memory under the write lock, written with a few statements, committed once.
//!
//! What a single request is refused for (an old epoch, another head) is decided before anything is written, so that it
//! fails alone. What fails while writing fails for all of the group.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use windflow_core::store::{Batch, Claim, Created, Fault, Lease, NewRun, Submission, WorkerId};
use windflow_core::{Epoch, Namespace, RunId, Seq, StoreError, Summary, Timestamp};

use super::cache::{Cache, Known, signed, unsigned};
use super::fault::{Moment, store_error};
use super::request::{Answer, Request};
use super::sql::{self, Statements};
use super::store::Shared;

/// A row of the journal to be written.
struct Appended {
    id: i64,
    last: Seq,
    count: usize,
    at: Timestamp,
    epoch: Epoch,
    events: Vec<u8>,
}

/// A group while it is worked on.
pub(super) struct Group<'a> {
    shared: &'a Shared,
    connection: &'a mut SqliteConnection,
    cache: &'a mut Cache,
    keys: HashMap<(Namespace, String), RunId>,
    journal: Vec<Appended>,
    changed: BTreeSet<RunId>,
    wrote: bool,
    answers: Vec<Answer>,
    /// Namespaces to be told once it is committed.
    pub news: BTreeSet<Namespace>,
}

impl<'a> Group<'a> {
    pub(super) fn new(shared: &'a Shared, connection: &'a mut SqliteConnection, cache: &'a mut Cache) -> Self {
        cache.trim();
        Self {
            shared,
            connection,
            cache,
            keys: HashMap::new(),
            journal: Vec::new(),
            changed: BTreeSet::new(),
            wrote: false,
            answers: Vec::new(),
            news: BTreeSet::new(),
        }
    }

    /// Does it all, and answers everyone. Tells whether the connection may be used on.
    pub(super) async fn run(mut self, statements: &mut Statements, requests: Vec<Request>) -> Done {
        let mut left = requests.into_iter();
        let worked = match self.begin(left.as_slice()).await {
            Ok(()) => self.decide(&mut left).await,
            Err(error) => Err(error),
        };
        let outcome = match worked {
            Err(error) => Err((error, Moment::Before)),
            Ok(()) => self.write(statements).await,
        };
        let failure = match outcome {
            Ok(()) => None,
            Err((error, moment)) => Some(self.abandon(error, moment).await),
        };
        for answer in self.answers {
            answer.say(failure.as_ref());
        }
        if let Some(failure) = &failure {
            left.for_each(|request| request.fail(failure.clone()));
        }
        Done { news: if failure.is_none() { self.news } else { BTreeSet::new() }, failure }
    }

    fn failed(&self, error: &sqlx::Error, moment: Moment) -> StoreError {
        store_error(&self.shared.path, error, moment)
    }

    /// Takes the write lock, and reads what the requests need and the cache does not have.
    async fn begin(&mut self, requests: &[Request]) -> Result<(), sqlx::Error> {
        let row = sqlx::query(sql::BEGIN).fetch_one(&mut *self.connection).await?;
        let version: i64 = row.get(0);
        if self.cache.version != Some(version) {
            if self.cache.version.is_some() {
                self.shared.bell.ring_all();
            }
            self.cache.forget();
            self.cache.version = Some(version);
        }
        let unknown: Vec<&RunId> =
            requests.iter().filter_map(Request::run).filter(|run| !self.cache.runs.contains_key(*run)).collect();
        if !unknown.is_empty() {
            let found = sqlx::query(
                "SELECT r.id, r.run, r.fingerprint, r.key, r.epoch, r.worker, r.until, r.summary, h.seq, \
                 h.updated_at, h.finished FROM json_each(?) AS wanted CROSS JOIN runs AS r ON r.run = wanted.value \
                 JOIN heads AS h ON h.id = r.id",
            )
            .bind(serde_json::to_string(&unknown).unwrap_or_default())
            .fetch_all(&mut *self.connection)
            .await?;
            self.learn(&found)?;
        }
        let keys: Vec<(&Namespace, &String)> = requests
            .iter()
            .filter_map(|request| match request {
                Request::Create { new, .. } => Some((&new.summary.namespace, new.key.as_ref()?)),
                _ => None,
            })
            .collect();
        if !keys.is_empty() {
            let found = sqlx::query(
                "SELECT r.id, r.run, r.fingerprint, r.key, r.epoch, r.worker, r.until, r.summary, h.seq, \
                 h.updated_at, h.finished FROM json_each(?) AS wanted CROSS JOIN runs AS r \
                 ON r.namespace = wanted.value ->> 0 AND r.key = wanted.value ->> 1 JOIN heads AS h ON h.id = r.id",
            )
            .bind(serde_json::to_string(&keys).unwrap_or_default())
            .fetch_all(&mut *self.connection)
            .await?;
            self.learn(&found)?;
        }
        if self.cache.last_id.is_none() && requests.iter().any(|request| matches!(request, Request::Create { .. })) {
            let row = sqlx::query("SELECT coalesce(max(id), 0) FROM runs").fetch_one(&mut *self.connection).await?;
            self.cache.last_id = Some(row.get(0));
        }
        if self.cache.workers.is_none() && requests.iter().any(|request| matches!(request, Request::Claim { .. })) {
            let rows = sqlx::query("SELECT worker, until FROM workers").fetch_all(&mut *self.connection).await?;
            let worker = |row: &sqlx::sqlite::SqliteRow| {
                (WorkerId(row.get::<String, _>(0).into()), Timestamp(unsigned(row.get(1))))
            };
            self.cache.workers = Some(rows.iter().map(worker).collect());
        }
        Ok(())
    }

    fn learn(&mut self, rows: &[sqlx::sqlite::SqliteRow]) -> Result<(), sqlx::Error> {
        for row in rows {
            let known = Known::read(&self.shared.path, row).map_err(|error| sqlx::Error::Decode(error.into()))?;
            if let Some(key) = &known.key {
                self.keys.insert((known.summary.namespace.clone(), key.clone()), known.summary.run.clone());
            }
            // What is there already may be newer: an earlier request of this group has changed it.
            self.cache.runs.entry(known.summary.run.clone()).or_insert(known);
        }
        Ok(())
    }

    async fn decide(&mut self, requests: &mut std::vec::IntoIter<Request>) -> Result<(), sqlx::Error> {
        for request in requests {
            match request {
                Request::Create { new, events, to } => {
                    let answer = self.create(*new, events).await;
                    self.answer(answer, |answer| Answer::Created(to, answer))?;
                }
                Request::Append { batch, events, to } => {
                    let answer = self.append(*batch, events).await;
                    self.answer(answer, |answer| Answer::Done(to, answer))?;
                }
                Request::Claim { run, worker, now, until, to } => {
                    let answer = self.claim(run, worker, now, until).await;
                    self.answer(answer, |answer| Answer::Claimed(to, answer))?;
                }
                Request::Renew { worker, until, to } => {
                    let answer = self.renew(worker, until).await;
                    self.answer(answer, |answer| Answer::Done(to, answer))?;
                }
                Request::Release { lease, to } => {
                    let answer = self.release(&lease).await;
                    self.answer(answer, |answer| Answer::Done(to, answer))?;
                }
                Request::Submit { submission, to } => {
                    let answer = self.submit(*submission).await;
                    self.answer(answer, |answer| Answer::Submitted(to, answer))?;
                }
            }
        }
        Ok(())
    }

    /// Keeps an answer for later. SQLite's failures are the whole group's, all others this request's own.
    fn answer<T>(
        &mut self,
        answer: Result<T, Trouble>,
        keep: impl FnOnce(Result<T, StoreError>) -> Answer,
    ) -> Result<(), sqlx::Error> {
        let (answer, failure) = match answer {
            Ok(answer) => (Ok(answer), None),
            Err(Trouble::Refused(error)) => (Err(error), None),
            Err(Trouble::Sqlite(error)) => (Err(self.failed(&error, Moment::Before)), Some(error)),
        };
        self.answers.push(keep(answer));
        failure.map_or(Ok(()), Err)
    }

    fn known(&mut self, run: &RunId) -> Result<&mut Known, Trouble> {
        let path = &self.shared.path;
        let known = self.cache.runs.get_mut(run);
        known.ok_or_else(|| {
            Trouble::refused(Fault::NotFound, format_args!("{}: there is no run '{run}'", path.display()))
        })
    }

    async fn create(&mut self, new: NewRun, events: Vec<u8>) -> Result<Created, Trouble> {
        let run = new.summary.run.clone();
        let key = new.key.clone().map(|key| (new.summary.namespace.clone(), key));
        let there = Some(&run).filter(|run| self.cache.runs.contains_key(*run));
        if let Some(there) = there.or_else(|| key.as_ref().and_then(|key| self.keys.get(key))).cloned() {
            return Ok(self.known(&there)?.exists());
        }
        fits(self.shared, &new.summary, &run, Seq(0), new.events.len())?;
        self.vouch(&new.worker).await?;
        for blob in new.blobs.iter().filter(|blob| !self.cache.blobs.contains(&blob.hash)) {
            sqlx::query("INSERT INTO blobs (hash, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(blob.hash.to_string())
                .bind(blob.bytes.to_vec())
                .execute(&mut *self.connection)
                .await?;
            self.wrote = true;
        }
        // Forgotten again with everything else should the commit fail.
        self.cache.blobs.extend(new.blobs.iter().map(|blob| blob.hash));
        let id = self.cache.last_id.unwrap_or_default() + 1;
        self.cache.last_id = Some(id);
        let epoch = Epoch(1);
        self.journal(id, new.summary.seq, new.events.len(), new.at, epoch, events);
        if let Some(key) = key {
            self.keys.insert(key, run.clone());
        }
        let known = Known {
            id,
            fingerprint: new.fingerprint,
            key: new.key,
            epoch,
            lease: Some((new.worker.clone(), new.until)),
            summary: new.summary,
            row_changed: true,
            head_changed: true,
        };
        self.cache.runs.insert(run.clone(), known);
        self.changed.insert(run.clone());
        Ok(Created::New(Lease { run, worker: new.worker, epoch }))
    }

    fn journal(&mut self, id: i64, last: Seq, count: usize, at: Timestamp, epoch: Epoch, events: Vec<u8>) {
        if count > 0 {
            self.journal.push(Appended { id, last, count, at, epoch, events });
        }
    }

    async fn append(&mut self, batch: Batch, events: Vec<u8>) -> Result<(), Trouble> {
        let (shared, run) = (self.shared, &batch.lease.run);
        let known = self.known(run)?;
        if known.epoch != batch.lease.epoch {
            let what = format_args!("{}: '{run}' is held under epoch {}", shared.path.display(), known.epoch);
            return Err(Trouble::refused(Fault::Fenced, what));
        }
        if known.summary.seq != batch.after {
            let what = format_args!("{}: the journal of '{run}' ends at {}", shared.path.display(), known.summary.seq);
            return Err(Trouble::refused(Fault::Conflict, what));
        }
        fits(shared, &batch.summary, run, batch.after, batch.events.len())?;
        let (id, epoch, last) = (known.id, known.epoch, batch.summary.seq);
        known.take(batch.summary);
        if batch.release {
            let news = known.give_back();
            self.news.extend(news);
        }
        self.changed.insert(run.clone());
        self.journal(id, last, batch.events.len(), batch.at, epoch, events);
        if !batch.consumed.is_empty() {
            // Entries with a dedup key stay as memories of it.
            sqlx::query(
                "UPDATE inbox SET request = NULL, principal = '' WHERE id = ?1 AND dedup IS NOT NULL \
                 AND entry IN (SELECT value FROM json_each(?2)); \
                 DELETE FROM inbox WHERE id = ?1 AND dedup IS NULL AND entry IN (SELECT value FROM json_each(?2))",
            )
            .bind(id)
            .bind(serde_json::to_string(&batch.consumed).unwrap_or_default())
            .execute(&mut *self.connection)
            .await?;
            self.wrote = true;
        }
        Ok(())
    }

    async fn claim(
        &mut self,
        run: RunId,
        worker: WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, Trouble> {
        if let Some((by, held)) = self.known(&run)?.lease.clone() {
            let renewed = self.cache.workers.as_ref().and_then(|workers| workers.get(&by)).copied();
            let held = held.max(renewed.unwrap_or_default());
            if by != worker && held > now && self.shared.liveness.lives(&by) {
                return Ok(Claim::Held { by, until: held });
            }
        }
        self.vouch(&worker).await?;
        let known = self.known(&run)?;
        known.epoch = Epoch(known.epoch.0 + 1);
        known.lease = Some((worker.clone(), until));
        known.row_changed = true;
        let epoch = known.epoch;
        self.changed.insert(run.clone());
        Ok(Claim::Taken(Lease { run, worker, epoch }))
    }

    /// Lets other processes see that a worker lives, from before its first lease on.
    async fn vouch(&mut self, worker: &WorkerId) -> Result<(), Trouble> {
        let new = self.shared.liveness.vouch(worker).map_err(|error| {
            let what = format_args!("{}: cannot lock the file of worker {worker}: {error}", self.shared.path.display());
            Trouble::refused(Fault::Unavailable, what)
        })?;
        if new { self.renew(worker.clone(), Timestamp(0)).await } else { Ok(()) }
    }

    async fn renew(&mut self, worker: WorkerId, until: Timestamp) -> Result<(), Trouble> {
        sqlx::query("INSERT INTO workers (worker, until) VALUES (?, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)")
            .bind(worker.0.to_string())
            .bind(signed(until.0))
            .execute(&mut *self.connection)
            .await?;
        if let Some(workers) = &mut self.cache.workers {
            let entry = workers.entry(worker).or_default();
            *entry = until.max(*entry);
        }
        self.wrote = true;
        Ok(())
    }

    async fn release(&mut self, lease: &Lease) -> Result<(), Trouble> {
        let known = self.known(&lease.run)?;
        if known.epoch != lease.epoch || known.lease.is_none() {
            return Ok(());
        }
        let news = known.give_back();
        self.changed.insert(lease.run.clone());
        self.news.extend(news);
        Ok(())
    }

    async fn submit(&mut self, submission: Submission) -> Result<(u64, bool), Trouble> {
        let known = self.known(&submission.run)?;
        let (id, namespace) = (known.id, known.summary.namespace.clone());
        if let Some(dedup) = &submission.dedup {
            let there = sqlx::query("SELECT entry FROM inbox WHERE id = ? AND dedup = ?")
                .bind(id)
                .bind(dedup.clone())
                .fetch_optional(&mut *self.connection)
                .await?;
            if let Some(row) = there {
                return Ok((unsigned(row.get(0)), true));
            }
        }
        let unwritable = |error: serde_json::Error| {
            Trouble::refused(Fault::Unavailable, format_args!("the submission cannot be written: {error}"))
        };
        let done = sqlx::query("INSERT INTO inbox (id, dedup, at, principal, request) VALUES (?, ?, ?, ?, ?)")
            .bind(id)
            .bind(submission.dedup)
            .bind(signed(submission.at.0))
            .bind(serde_json::to_string(&submission.principal).map_err(unwritable)?)
            .bind(serde_json::to_string(&submission.request).map_err(unwritable)?)
            .execute(&mut *self.connection)
            .await?;
        self.wrote = true;
        self.news.insert(namespace);
        Ok((unsigned(done.last_insert_rowid()), false))
    }

    /// Writes what was decided, and commits.
    async fn write(&mut self, statements: &mut Statements) -> Result<(), (sqlx::Error, Moment)> {
        let before = |error| (error, Moment::Before);
        let changed: Vec<&Known> = self.changed.iter().filter_map(|run| self.cache.runs.get(run)).collect();
        let rows: Vec<&Known> = changed.iter().copied().filter(|known| known.row_changed).collect();
        for rows in rows.chunks(sql::MOST) {
            let (text, mut values) = statements.upsert_runs(rows.len());
            for known in rows {
                let summary = &known.summary;
                let text = serde_json::to_string(summary).map_err(|error| before(sqlx::Error::Encode(error.into())))?;
                let worker = known.lease.as_ref().map(|(worker, _)| worker.0.to_string());
                values.push(known.id).push(summary.run.to_string()).push(summary.namespace.to_string());
                values.push(known.key.clone()).push(known.fingerprint.to_string()).push(summary.workflow.to_string());
                values.push(summary.state.as_str().to_owned()).push(summary.wake_at.map(|at| signed(at.0)));
                values.push(signed(summary.created_at.0)).push(signed(known.epoch.0)).push(worker);
                values.push(known.lease.as_ref().map(|(_, until)| signed(until.0))).push(text);
            }
            let values = values.done().map_err(before)?;
            sqlx::query_with(text, values).execute(&mut *self.connection).await.map_err(before)?;
        }
        let heads: Vec<&Known> = changed.into_iter().filter(|known| known.head_changed).collect();
        let nothing = rows.is_empty() && heads.is_empty() && !self.wrote;
        let chunks = self.journal.len().max(heads.len()).div_ceil(sql::MOST);
        for chunk in 0..chunks {
            let of = |length: usize| (chunk * sql::MOST).min(length)..((chunk + 1) * sql::MOST).min(length);
            let (heads, journal) = (&heads[of(heads.len())], of(self.journal.len()));
            let commit = chunk + 1 == chunks;
            let (text, mut values, padding) = statements.append(journal.len(), heads.len(), commit);
            for appended in &mut self.journal[journal] {
                let events = std::mem::take(&mut appended.events);
                values.push(appended.id).push(signed(appended.last.0)).push(appended.count as i64);
                values.push(signed(appended.at.0)).push(signed(appended.epoch.0)).push(events);
            }
            values.pad(padding.journal);
            for known in heads {
                let summary = &known.summary;
                values.push(known.id).push(signed(summary.seq.0)).push(signed(summary.updated_at.0));
                values.push(i64::from(summary.finished));
            }
            let moment = if commit { Moment::Commit } else { Moment::Before };
            let values = values.done().map_err(before)?;
            sqlx::query_with(text, values).execute(&mut *self.connection).await.map_err(|error| (error, moment))?;
        }
        if chunks == 0 {
            let end = if nothing { "ROLLBACK" } else { "COMMIT" };
            sqlx::query(end).execute(&mut *self.connection).await.map_err(|error| (error, Moment::Commit))?;
        }
        for run in std::mem::take(&mut self.changed) {
            if let Some(known) = self.cache.runs.get_mut(&run) {
                (known.row_changed, known.head_changed) = (false, false);
                if known.lease.is_none() && known.summary.state.is_final() {
                    self.cache.runs.remove(&run);
                }
            }
        }
        Ok(())
    }

    /// Undoes what was begun, and says what that means.
    async fn abandon(&mut self, error: sqlx::Error, moment: Moment) -> StoreError {
        self.cache.forget();
        self.cache.blobs.clear();
        // Fails harmlessly when SQLite has rolled back by itself, or nothing was begun.
        drop(sqlx::query("ROLLBACK").execute(&mut *self.connection).await);
        match error {
            sqlx::Error::Decode(inner) if inner.is::<StoreError>() => match inner.downcast::<StoreError>() {
                Ok(error) => *error,
                Err(inner) => self.failed(&sqlx::Error::Decode(inner), moment),
            },
            error => self.failed(&error, moment),
        }
    }
}

/// What came of a group.
pub(super) struct Done {
    /// Who is to be told.
    pub news: BTreeSet<Namespace>,
    /// Why nothing, or nobody knows what, was written.
    pub failure: Option<StoreError>,
}

/// Why a request came to nothing.
enum Trouble {
    /// By itself.
    Refused(StoreError),
    /// With the whole group.
    Sqlite(sqlx::Error),
}

impl Trouble {
    fn refused(fault: Fault, what: impl std::fmt::Display) -> Self {
        Self::Refused(StoreError::new(fault, what))
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Whether a row fits the events it comes with.
fn fits(shared: &Shared, summary: &Summary, run: &RunId, after: Seq, events: usize) -> Result<(), Trouble> {
    if summary.seq.0 == after.0 + events as u64 && summary.run == *run {
        return Ok(());
    }
    let what =
        format_args!("{}: the row of '{run}' says position {}, its events another", shared.path.display(), summary.seq);
    Err(Trouble::refused(Fault::Conflict, what))
}
