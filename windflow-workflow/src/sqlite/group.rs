//! One group of writes: decided and written under the write lock, one request after the other, and committed once.
//!
//! What a single request is refused for (an old epoch, another head) is decided before anything of it is written, so that it
//! fails alone. What fails while writing fails for all of the group.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{CachedStatement, Connection, params};
use windflow_core::store::{Fault, WorkerId};
use windflow_core::{Namespace, RunId, StoreError, Timestamp};

use super::cache::{Cache, Known, signed, unsigned};
use super::fault::{Failure, Moment};
use super::place;
use super::request::{Answer, Request};
use super::sql;
use super::store::Shared;

/// A group while it is worked on.
pub(super) struct Group<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connection: &'a Connection,
    pub(super) cache: &'a mut Cache,
    pub(super) keys: HashMap<(Namespace, String), RunId>,
    /// Writes a row of the journal. Each is written when it is decided: it is not touched again later, when it is cold.
    pub(super) append: Option<CachedStatement<'a>>,
    /// Runs whose row must be written, each once.
    pub(super) changed: Vec<RunId>,
    pub(super) wrote: bool,
    pub(super) answers: Vec<Answer>,
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
            append: None,
            changed: Vec::new(),
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
        let kin = requests.iter().flat_map(Request::kin);
        let unknown: BTreeSet<&RunId> =
            wanted.filter_map(Request::run).chain(kin).filter(|run| !self.cache.runs.contains_key(*run)).collect();
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
        if self.cache.last_id.is_none() && requests.iter().any(Request::creates) {
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

    pub(super) fn learn(&mut self, question: &str, wanted: &str) -> Result<(), Failure> {
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

    /// Writes the rows of runs, and commits.
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

    /// Writes the rows of the runs that changed; all else is written already. Says whether anything was.
    fn write_rows(&mut self) -> Result<bool, Failure> {
        let mut wrote = self.wrote;
        let mut insert = self.connection.prepare_cached(sql::INSERT_RUN)?;
        let mut update = self.connection.prepare_cached(sql::UPDATE_RUN)?;
        for known in self.changed.iter().filter_map(|run| self.cache.runs.get(run)) {
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
                    summary.parent.as_ref().map(RunId::as_str),
                ])?;
            } else {
                update
                    .execute(params![id, state, updated_at, wake_at, problem, version, build, epoch, worker, until])?;
            }
            wrote = true;
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
