//! What each request comes to, decided in memory before anything of it is written: what one is refused for fails it alone.

use rusqlite::{OptionalExtension as _, ToSql, params};
use windflow_core::store::{Claim, Created, Fault, Lease, NewRun, Submission, WorkerId};
use windflow_core::{Epoch, RunId, Seq, StoreError, Summary, Timestamp};

use super::cache::{Known, signed, unsigned};
use super::fault::{Failure, Moment};
use super::group::Group;
use super::request::{Answer, Append, Request};
use super::sql;
use super::store::Shared;

impl Group<'_> {
    pub(super) fn decide(&mut self, requests: &mut std::vec::IntoIter<Request>) -> Result<(), Failure> {
        for request in requests {
            match request {
                Request::Create { new, events, to } => {
                    let answer = self.create(*new, events);
                    self.answer(answer, |answer| Answer::Created(to, answer))?;
                }
                Request::Append { append, to } => {
                    let answer = self.append(append);
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
        self.write_events(params![
            id,
            signed(last.0),
            new.events.len() as i64,
            signed(new.at.0),
            signed(epoch.0),
            finished,
            events
        ])?;
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
            asked: false,
            row_missing: true,
            row_changed: true,
        };
        self.cache.runs.insert(run.clone(), known);
        self.changed.push(run.clone());
        Ok(Created::New(Lease { run, worker: new.worker, epoch }))
    }

    /// Writes a row of the journal; its last value are the events.
    fn write_events(&mut self, row: &[&dyn ToSql]) -> Result<(), Trouble> {
        let statement = match &mut self.append {
            Some(statement) => statement,
            None => self.append.insert(self.connection.prepare_cached(sql::APPEND)?),
        };
        statement.execute(row)?;
        self.wrote = true;
        Ok(())
    }

    fn append(&mut self, append: Append) -> Result<(), Trouble> {
        let Append { run, epoch, after, at, count, events, summary, consumed, release, children, submissions } = append;
        let shared = self.shared;
        if let Some((child, _)) = children.iter().find(|(new, _)| self.cache.runs.contains_key(&new.summary.run)) {
            let what = format_args!("{}: there is a run '{}' already", shared.path.display(), child.summary.run);
            return Err(Trouble::refused(Fault::Conflict, what));
        }
        let known = match self.cache.runs.get_mut(&run) {
            Some(known) => known,
            None => {
                self.learn(sql::FIND_RUNS, &serde_json::to_string(&[&run]).unwrap_or_default())?;
                self.known(&run)?
            }
        };
        if known.epoch != epoch {
            let what = format_args!("{}: '{run}' is held under epoch {}", shared.path.display(), known.epoch);
            return Err(Trouble::refused(Fault::Fenced, what));
        }
        if known.summary.seq != after {
            let what = format_args!("{}: the journal of '{run}' ends at {}", shared.path.display(), known.summary.seq);
            return Err(Trouble::refused(Fault::Conflict, what));
        }
        fits(shared, &summary, &run, after, count)?;
        let (id, listed, last, finished) = (known.id, known.row_changed, summary.seq, summary.finished);
        known.take(summary);
        let news = if release { known.give_back() } else { None };
        if known.row_changed && !listed {
            self.changed.push(run.clone());
        }
        self.news.extend(news);
        if count > 0 {
            let (last, count, at, epoch) = (signed(last.0), count as i64, signed(at.0), signed(epoch.0));
            self.write_events(params![id, last, count, at, epoch, finished, events])?;
        }
        if !consumed.is_empty() {
            // Entries with a dedup key stay as memories of it.
            let forget = "UPDATE inbox SET request = NULL, principal = '' WHERE id = ?1 AND dedup IS NOT NULL \
                          AND entry IN (SELECT value FROM json_each(?2))";
            let delete = "DELETE FROM inbox WHERE id = ?1 AND dedup IS NULL \
                          AND entry IN (SELECT value FROM json_each(?2))";
            let consumed = serde_json::to_string(&consumed).unwrap_or_default();
            for text in [forget, delete] {
                sql::execute(self.connection, text, params![id, consumed])?;
            }
            let mut left = self.connection.prepare_cached(sql::IS_ASKED)?;
            let left = left.query_row([id], |row| row.get(0))?;
            self.known(&run)?.asked = left;
            self.wrote = true;
        }
        for (new, events) in children {
            self.create(new, events)?;
        }
        for submission in submissions {
            if self.cache.runs.contains_key(&submission.run) {
                self.submit(submission)?;
            }
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
        let (epoch, listed) = (known.epoch, std::mem::replace(&mut known.row_changed, true));
        if !listed {
            self.changed.push(run.clone());
        }
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
        let listed = known.row_changed;
        let news = known.give_back();
        if !listed {
            self.changed.push(lease.run.clone());
        }
        self.news.extend(news);
        Ok(())
    }

    fn submit(&mut self, submission: Submission) -> Result<(u64, bool), Trouble> {
        let known = self.known(&submission.run)?;
        known.asked = true;
        let (id, namespace, row_missing) = (known.id, known.summary.namespace.clone(), known.row_missing);
        if row_missing {
            // Rows of runs are written last; until the commit, an entry may be there before its run.
            sql::execute(self.connection, "PRAGMA defer_foreign_keys = ON", [])?;
        }
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
