//! One group of writes: decided in memory under the write lock, written, and committed once.
//!
//! What a single request is refused for (an old epoch, another head) is decided before anything is written, so that it
//! fails alone. What fails while writing fails for all of the group.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension as _, params};
use windflow_core::store::{Batch, Claim, Created, Fault, Lease, NewRun, Submission, WorkerId};
use windflow_core::{Epoch, Namespace, RunId, Seq, StoreError, Summary, Timestamp};

use super::cache::{Cache, Known, signed, unsigned};
use super::fault::{Failure, Moment};
use super::place;
use super::request::{Answer, Request};
use super::sql;
use super::store::Shared;

/// A row of the journal to be written.
struct Appended {
    id: i64,
    last: Seq,
    count: usize,
    at: Timestamp,
    epoch: Epoch,
    finished: u32,
    events: Vec<u8>,
}

/// A group while it is worked on.
pub(super) struct Group<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    cache: &'a mut Cache,
    keys: HashMap<(Namespace, String), RunId>,
    journal: Vec<Appended>,
    changed: BTreeSet<RunId>,
    wrote: bool,
    answers: Vec<Answer>,
    /// Whether another process has written since the last group.
    foreign: bool,
    /// Namespaces to be told once it is committed.
    pub news: BTreeSet<Namespace>,
}

impl<'a> Group<'a> {
    pub(super) fn new(shared: &'a Shared, connection: &'a Connection, cache: &'a mut Cache) -> Self {
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
            foreign: false,
            news: BTreeSet::new(),
        }
    }

    /// Does it all, and answers everyone. Tells whether the connection may be used on.
    pub(super) fn run(mut self, requests: Vec<Request>) -> Done {
        let mut left = requests.into_iter();
        let worked = match self.begin(left.as_slice()) {
            Ok(()) => self.decide(&mut left),
            Err(error) => Err(error),
        };
        let outcome = match worked {
            Err(error) => Err((error, Moment::Before)),
            Ok(()) => self.write(),
        };
        let failure = match outcome {
            Ok(()) => None,
            Err((error, moment)) => Some(self.abandon(error, moment)),
        };
        for answer in self.answers {
            answer.say(failure.as_ref());
        }
        if let Some(failure) = &failure {
            left.for_each(|request| request.fail(failure.clone()));
        }
        let news = if failure.is_none() { self.news } else { BTreeSet::new() };
        Done { news, failure, foreign: self.foreign }
    }

    /// Takes the write lock, and reads what the requests need and the cache does not have.
    fn begin(&mut self, requests: &[Request]) -> Result<(), Failure> {
        sql::execute(self.connection, sql::BEGIN, [])?;
        let version = sql::number(self.connection, sql::VERSION)?;
        if self.cache.version != Some(version) {
            if self.cache.version.is_some() {
                self.shared.bell.ring_all();
                self.foreign = true;
            }
            self.cache.forget();
            self.cache.version = Some(version);
        }
        // Whoever appends has claimed its run, so that it is known: unless all was forgotten, it is not looked up twice.
        let all = self.cache.runs.is_empty();
        let wanted = requests.iter().filter(|request| all || !matches!(request, Request::Append { .. }));
        let unknown: Vec<&RunId> =
            wanted.filter_map(Request::run).filter(|run| !self.cache.runs.contains_key(*run)).collect();
        // Runs to be created are looked for too, one by one or by the thousand in a single question.
        if !unknown.is_empty() {
            self.learn(sql::FIND_RUNS, &serde_json::to_string(&unknown).unwrap_or_default())?;
        }
        let keys: Vec<(&Namespace, &String)> = requests
            .iter()
            .filter_map(|request| match request {
                Request::Create { new, .. } => Some((&new.summary.namespace, new.key.as_ref()?)),
                _ => None,
            })
            .collect();
        if !keys.is_empty() {
            self.learn(sql::FIND_KEYS, &serde_json::to_string(&keys).unwrap_or_default())?;
        }
        if self.cache.last_id.is_none() && requests.iter().any(|request| matches!(request, Request::Create { .. })) {
            self.cache.last_id = Some(sql::number(self.connection, "SELECT coalesce(max(id), 0) FROM runs")?);
        }
        if self.cache.workers.is_none() && requests.iter().any(|request| matches!(request, Request::Claim { .. })) {
            let mut statement = self.connection.prepare_cached("SELECT worker, until FROM workers")?;
            let workers = statement.query_map([], |row| {
                Ok((WorkerId(row.get::<_, String>(0)?.into()), Timestamp(unsigned(row.get(1)?))))
            })?;
            self.cache.workers = Some(workers.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    fn learn(&mut self, question: &str, wanted: &str) -> Result<(), Failure> {
        let mut statement = self.connection.prepare_cached(question)?;
        let mut rows = statement.query([wanted])?;
        while let Some(row) = rows.next()? {
            let known = Known::read(&self.shared.path, row)?;
            if let Some(key) = &known.key {
                self.keys.insert((known.summary.namespace.clone(), key.clone()), known.summary.run.clone());
            }
            // What is there already may be newer: an earlier request of this group has changed it.
            self.cache.runs.entry(known.summary.run.clone()).or_insert(known);
        }
        Ok(())
    }

    fn decide(&mut self, requests: &mut std::vec::IntoIter<Request>) -> Result<(), Failure> {
        for request in requests {
            match request {
                Request::Create { new, events, to } => {
                    let answer = self.create(*new, events);
                    self.answer(answer, |answer| Answer::Created(to, answer))?;
                }
                Request::Append { batch, events, to } => {
                    let answer = self.append(*batch, events);
                    self.answer(answer, |answer| Answer::Done(to, answer))?;
                }
                Request::Claim { run, worker, now, until, to } => {
                    let answer = self.claim(run, worker, now, until);
                    self.answer(answer, |answer| Answer::Claimed(to, answer))?;
                }
                Request::Renew { worker, until, to } => {
                    let answer = self.renew(worker, until);
                    self.answer(answer, |answer| Answer::Done(to, answer))?;
                }
                Request::Release { lease, to } => {
                    let answer = self.release(&lease);
                    self.answer(answer, |answer| Answer::Done(to, answer))?;
                }
                Request::Look => {}
                Request::Submit { submission, to } => {
                    let answer = self.submit(*submission);
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
    ) -> Result<(), Failure> {
        let (answer, failure) = match answer {
            Ok(answer) => (Ok(answer), None),
            Err(Trouble::Refused(error)) => (Err(error), None),
            Err(Trouble::Sqlite(error)) => {
                let said = Failure::Sqlite(error).said(&self.shared.path, Moment::Before);
                (Err(said.clone()), Some(Failure::Ours(said)))
            }
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

    fn create(&mut self, new: NewRun, events: Vec<u8>) -> Result<Created, Trouble> {
        let run = new.summary.run.clone();
        let key = new.key.clone().map(|key| (new.summary.namespace.clone(), key));
        let there = Some(&run).filter(|run| self.cache.runs.contains_key(*run));
        if let Some(there) = there.or_else(|| key.as_ref().and_then(|key| self.keys.get(key))).cloned() {
            return Ok(self.known(&there)?.exists());
        }
        fits(self.shared, &new.summary, &run, Seq(0), new.events.len())?;
        self.vouch(&new.worker)?;
        for blob in new.blobs.iter().filter(|blob| !self.cache.blobs.contains(&blob.hash)) {
            let insert = "INSERT INTO blobs (hash, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            sql::execute(self.connection, insert, params![blob.hash.to_string(), &*blob.bytes])?;
            self.wrote = true;
        }
        // Forgotten again with everything else should the commit fail.
        self.cache.blobs.extend(new.blobs.iter().map(|blob| blob.hash));
        let id = self.cache.last_id.unwrap_or_default() + 1;
        self.cache.last_id = Some(id);
        let epoch = Epoch(1);
        let (last, finished) = (new.summary.seq, new.summary.finished);
        self.journal(Appended { id, last, count: new.events.len(), at: new.at, epoch, finished, events });
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
            row_missing: true,
            row_changed: true,
        };
        self.cache.runs.insert(run.clone(), known);
        self.changed.insert(run.clone());
        Ok(Created::New(Lease { run, worker: new.worker, epoch }))
    }

    fn journal(&mut self, row: Appended) {
        if row.count > 0 {
            self.journal.push(row);
        }
    }

    fn append(&mut self, batch: Batch, events: Vec<u8>) -> Result<(), Trouble> {
        let (shared, run) = (self.shared, &batch.lease.run);
        if !self.cache.runs.contains_key(run) {
            self.learn(sql::FIND_RUNS, &serde_json::to_string(&[run]).unwrap_or_default())?;
        }
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
        let (id, epoch, last, finished) = (known.id, known.epoch, batch.summary.seq, batch.summary.finished);
        known.take(batch.summary);
        let news = if batch.release { known.give_back() } else { None };
        if known.row_changed {
            self.changed.insert(run.clone());
        }
        self.news.extend(news);
        self.journal(Appended { id, last, count: batch.events.len(), at: batch.at, epoch, finished, events });
        if !batch.consumed.is_empty() {
            // Entries with a dedup key stay as memories of it.
            let forget = "UPDATE inbox SET request = NULL, principal = '' WHERE id = ?1 AND dedup IS NOT NULL \
                          AND entry IN (SELECT value FROM json_each(?2))";
            let delete = "DELETE FROM inbox WHERE id = ?1 AND dedup IS NULL \
                          AND entry IN (SELECT value FROM json_each(?2))";
            let consumed = serde_json::to_string(&batch.consumed).unwrap_or_default();
            for text in [forget, delete] {
                sql::execute(self.connection, text, params![id, consumed])?;
            }
            self.wrote = true;
        }
        Ok(())
    }

    fn claim(&mut self, run: RunId, worker: WorkerId, now: Timestamp, until: Timestamp) -> Result<Claim, Trouble> {
        if let Some((by, held)) = self.known(&run)?.lease.clone() {
            let renewed = self.cache.workers.as_ref().and_then(|workers| workers.get(&by)).copied();
            let held = held.max(renewed.unwrap_or_default());
            if by != worker && held > now && self.shared.liveness.lives(&by) {
                return Ok(Claim::Held { by, until: held });
            }
        }
        self.vouch(&worker)?;
        let known = self.known(&run)?;
        known.epoch = Epoch(known.epoch.0 + 1);
        known.lease = Some((worker.clone(), until));
        known.row_changed = true;
        let epoch = known.epoch;
        self.changed.insert(run.clone());
        Ok(Claim::Taken(Lease { run, worker, epoch }))
    }

    /// Lets other processes see that a worker lives, from before its first lease on.
    fn vouch(&mut self, worker: &WorkerId) -> Result<(), Trouble> {
        let new = self.shared.liveness.vouch(worker).map_err(|error| {
            let what = format_args!("{}: cannot lock the file of worker {worker}: {error}", self.shared.path.display());
            Trouble::refused(Fault::Unavailable, what)
        })?;
        if new { self.renew(worker.clone(), Timestamp(0)) } else { Ok(()) }
    }

    fn renew(&mut self, worker: WorkerId, until: Timestamp) -> Result<(), Trouble> {
        let upsert = "INSERT INTO workers (worker, until) VALUES (?1, ?2) \
                      ON CONFLICT DO UPDATE SET until = max(until, excluded.until)";
        sql::execute(self.connection, upsert, params![&*worker.0, signed(until.0)])?;
        if let Some(workers) = &mut self.cache.workers {
            let entry = workers.entry(worker).or_default();
            *entry = until.max(*entry);
        }
        self.wrote = true;
        Ok(())
    }

    fn release(&mut self, lease: &Lease) -> Result<(), Trouble> {
        let known = self.known(&lease.run)?;
        if known.epoch != lease.epoch || known.lease.is_none() {
            return Ok(());
        }
        let news = known.give_back();
        self.changed.insert(lease.run.clone());
        self.news.extend(news);
        Ok(())
    }

    fn submit(&mut self, submission: Submission) -> Result<(u64, bool), Trouble> {
        let known = self.known(&submission.run)?;
        let (id, namespace) = (known.id, known.summary.namespace.clone());
        if let Some(dedup) = &submission.dedup {
            let mut statement =
                self.connection.prepare_cached("SELECT entry FROM inbox WHERE id = ?1 AND dedup = ?2")?;
            let there: Option<i64> = statement.query_row(params![id, dedup], |row| row.get(0)).optional()?;
            if let Some(entry) = there {
                return Ok((unsigned(entry), true));
            }
        }
        let unwritable = |error: serde_json::Error| {
            Trouble::refused(Fault::Unavailable, format_args!("the submission cannot be written: {error}"))
        };
        let principal = serde_json::to_string(&submission.principal).map_err(unwritable)?;
        let request = serde_json::to_string(&submission.request).map_err(unwritable)?;
        let insert = "INSERT INTO inbox (id, dedup, at, principal, request) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![id, submission.dedup, signed(submission.at.0), principal, request];
        sql::execute(self.connection, insert, values)?;
        self.wrote = true;
        self.news.insert(namespace);
        Ok((unsigned(self.connection.last_insert_rowid()), false))
    }

    /// Writes what was decided, and commits.
    fn write(&mut self) -> Result<(), (Failure, Moment)> {
        let wrote = self.write_rows().map_err(|failure| (failure, Moment::Before))?;
        // What is written into a file that nobody can open any more is lost, however durable.
        if wrote && place::inode(&self.shared.path).ok() != Some(self.shared.inode) {
            let what = format_args!("{} was removed or replaced while it was open", self.shared.path.display());
            let lost = StoreError::new(Fault::Unusable, what).with_hint("put the file back, and start again");
            return Err((Failure::Ours(lost), Moment::Before));
        }
        let end = if wrote { sql::COMMIT } else { sql::ROLLBACK };
        sql::execute(self.connection, end, []).map_err(|error| (error.into(), Moment::Commit))?;
        for run in std::mem::take(&mut self.changed) {
            if let Some(known) = self.cache.runs.get_mut(&run) {
                (known.row_missing, known.row_changed) = (false, false);
                if known.lease.is_none() && known.summary.state.is_final() {
                    self.cache.runs.remove(&run);
                }
            }
        }
        Ok(())
    }

    /// Writes what was decided. Says whether that was anything.
    fn write_rows(&mut self) -> Result<bool, Failure> {
        let mut wrote = self.wrote || !self.journal.is_empty();
        let mut insert = self.connection.prepare_cached(sql::INSERT_RUN)?;
        let mut update = self.connection.prepare_cached(sql::UPDATE_RUN)?;
        for known in self.changed.iter().filter_map(|run| self.cache.runs.get(run)).filter(|known| known.row_changed) {
            let summary = &known.summary;
            let (state, updated_at) = (summary.state.as_str(), signed(summary.updated_at.0));
            let wake_at = summary.wake_at.map(|at| signed(at.0));
            let worker = known.lease.as_ref().map(|(worker, _)| &*worker.0);
            let until = known.lease.as_ref().map(|(_, until)| signed(until.0));
            let (id, problem, epoch) = (known.id, &summary.problem, signed(known.epoch.0));
            let (version, build) = (summary.version, &*summary.build);
            if known.row_missing {
                insert.execute(params![
                    id,
                    state,
                    updated_at,
                    wake_at,
                    problem,
                    version,
                    build,
                    epoch,
                    worker,
                    until,
                    summary.run.as_str(),
                    summary.namespace.as_str(),
                    known.key,
                    known.fingerprint.bytes(),
                    summary.workflow.as_str(),
                    summary.hash.bytes(),
                    summary.total,
                    signed(summary.created_at.0),
                ])?;
            } else {
                update
                    .execute(params![id, state, updated_at, wake_at, problem, version, build, epoch, worker, until])?;
            }
            wrote = true;
        }
        let mut append = self.connection.prepare_cached(sql::APPEND)?;
        for row in &self.journal {
            let (last, at, epoch) = (signed(row.last.0), signed(row.at.0), signed(row.epoch.0));
            append.execute(params![row.id, last, row.count as i64, at, epoch, row.finished, row.events])?;
        }
        Ok(wrote)
    }

    /// Undoes what was begun, and says what that means.
    fn abandon(&mut self, failure: Failure, moment: Moment) -> StoreError {
        self.cache.forget();
        self.cache.blobs.clear();
        // Fails harmlessly when SQLite has rolled back by itself, or nothing was begun.
        drop(sql::execute(self.connection, sql::ROLLBACK, []));
        failure.said(&self.shared.path, moment)
    }
}

/// What came of a group.
pub(super) struct Done {
    /// Who is to be told.
    pub news: BTreeSet<Namespace>,
    /// Why nothing, or nobody knows what, was written.
    pub failure: Option<StoreError>,
    /// Whether another process writes, too.
    pub foreign: bool,
}

/// Why a request came to nothing.
enum Trouble {
    /// By itself.
    Refused(StoreError),
    /// With the whole group.
    Sqlite(rusqlite::Error),
}

impl Trouble {
    fn refused(fault: Fault, what: impl std::fmt::Display) -> Self {
        Self::Refused(StoreError::new(fault, what))
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sqlite(error) => Self::Sqlite(error),
            Failure::Ours(error) => Self::Refused(error),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
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
