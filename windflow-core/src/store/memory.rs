//! Journals in memory: as much of a store as any other, gone with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::news::Bell;
use super::{
    Batch, Claim, Created, Fault, Holder, InboxEntry, Lease, NewRun, RunQuery, Store, StoreError, Submission, WorkerId,
};
use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, RunId, Seq};
use crate::planted::{Bug, is_planted};
use crate::run::{Event, Recorded, Summary};
use crate::time::Timestamp;

/// Keeps everything in memory. Clones share it.
///
/// What was appended together stays together: one header and one shared slice for each batch, so that a run of a
/// hundred thousand nodes costs little more than its events.
///
/// ```
/// use windflow_core::{MemoryStore, Namespace, Store, Timestamp};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), windflow_core::StoreError> {
/// let store = MemoryStore::new();
/// assert!(store.due(&Namespace::default(), Timestamp(0), 10).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    world: Mutex<World>,
    bell: Bell,
}

#[derive(Debug, Default)]
struct World {
    runs: HashMap<RunId, Row>,
    keys: HashMap<(Namespace, String), RunId>,
    /// Runs in the order of their creation.
    order: BTreeMap<Namespace, BTreeMap<u64, RunId>>,
    /// Runs that want to be driven at a time, whoever holds them.
    alarms: BTreeMap<Namespace, BTreeSet<(Timestamp, RunId)>>,
    /// Runs whose inbox has something.
    asked: BTreeMap<Namespace, BTreeSet<RunId>>,
    workers: HashMap<WorkerId, Timestamp>,
    blobs: HashMap<ContentHash, Arc<[u8]>>,
    created: u64,
    entries: u64,
}

#[derive(Debug)]
struct Row {
    number: u64,
    summary: Summary,
    fingerprint: ContentHash,
    epoch: Epoch,
    lease: Option<(WorkerId, Timestamp)>,
    batches: Vec<Stored>,
    inbox: Vec<InboxEntry>,
    dedup: HashMap<String, u64>,
}

/// What was appended together.
#[derive(Debug)]
struct Stored {
    last: Seq,
    at: Timestamp,
    epoch: Epoch,
    events: Arc<[Event]>,
}

impl Row {
    /// Since when it waits to be driven, at `now`.
    fn waits_since(&self, now: Timestamp) -> Option<Timestamp> {
        let woken = self.summary.wake_at.filter(|at| *at <= now);
        let asked = self.inbox.iter().map(|entry| entry.submission.at).min();
        woken.into_iter().chain(asked).min()
    }
}

impl World {
    fn create(&mut self, new: NewRun) -> Result<Created, StoreError> {
        let world = self;
        let run = new.summary.run.clone();
        let key = new.key.map(|key| (new.summary.namespace.clone(), key));
        let there = match world.runs.get(&run) {
            Some(row) => Some(row),
            None => key.as_ref().and_then(|key| world.keys.get(key)).and_then(|run| world.runs.get(run)),
        };
        if let Some(row) = there {
            return Ok(Created::Exists { summary: row.summary.clone(), fingerprint: row.fingerprint });
        }
        fits(&new.summary, &run, Seq(0), new.events.len())?;
        for blob in new.blobs {
            world.blobs.entry(blob.hash).or_insert(blob.bytes);
        }
        world.created += 1;
        let number = world.created;
        let namespace = new.summary.namespace.clone();
        world.order.entry(namespace.clone()).or_default().insert(number, run.clone());
        if let Some(at) = new.summary.wake_at {
            world.alarms.entry(namespace).or_default().insert((at, run.clone()));
        }
        if let Some(key) = key {
            world.keys.insert(key, run.clone());
        }
        let epoch = Epoch(1);
        let row = Row {
            number,
            fingerprint: new.fingerprint,
            epoch,
            lease: Some((new.worker.clone(), new.until)),
            batches: vec![Stored { last: new.summary.seq, at: new.at, epoch, events: new.events }],
            inbox: Vec::new(),
            dedup: HashMap::new(),
            summary: new.summary,
        };
        world.runs.insert(run.clone(), row);
        Ok(Created::New(Lease { run, worker: new.worker, epoch }))
    }

    fn row(&self, run: &RunId) -> Result<&Row, StoreError> {
        self.runs.get(run).ok_or_else(|| unknown(run))
    }

    /// Until when a run is held, if somebody holds it.
    fn held_until(&self, row: &Row) -> Option<(WorkerId, Timestamp)> {
        let (worker, until) = row.lease.as_ref()?;
        let renewed = self.workers.get(worker).copied().unwrap_or_default();
        Some((worker.clone(), renewed.max(*until)))
    }

    /// Moves a run's alarm.
    fn alarm(
        alarms: &mut BTreeMap<Namespace, BTreeSet<(Timestamp, RunId)>>,
        summary: &Summary,
        before: Option<Timestamp>,
    ) {
        if before == summary.wake_at {
            return;
        }
        let alarms = alarms.entry(summary.namespace.clone()).or_default();
        if let Some(at) = before {
            alarms.remove(&(at, summary.run.clone()));
        }
        if let Some(at) = summary.wake_at {
            alarms.insert((at, summary.run.clone()));
        }
    }
}

fn unknown(run: &RunId) -> StoreError {
    StoreError::new(Fault::NotFound, format_args!("memory store: there is no run '{run}'"))
}

/// Whether a row fits the events it comes with.
fn fits(summary: &Summary, run: &RunId, after: Seq, events: usize) -> Result<(), StoreError> {
    if summary.seq.0 == after.0 + events as u64 && summary.run == *run {
        return Ok(());
    }
    Err(StoreError::new(
        Fault::Conflict,
        format_args!("memory store: the row of '{run}' says position {}, its events another", summary.seq),
    ))
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn give_back(&self, world: &mut World, run: &RunId) {
        let Some(row) = world.runs.get_mut(run) else { return };
        row.lease = None;
        if row.summary.wake_at.is_some() || !row.inbox.is_empty() {
            self.0.bell.ring(&row.summary.namespace);
        }
    }

    fn append_to(&self, world: &mut World, batch: Batch) -> Result<(), StoreError> {
        let run = &batch.lease.run;
        if let Some(child) = batch.children.iter().find(|child| world.runs.contains_key(&child.summary.run)) {
            let what = format_args!("memory store: there is a run '{}' already", child.summary.run);
            return Err(StoreError::new(Fault::Conflict, what));
        }
        let row = world.runs.get_mut(run).ok_or_else(|| unknown(run))?;
        if row.epoch != batch.lease.epoch && !is_planted(Bug::AcceptStaleEpoch) {
            return Err(StoreError::new(
                Fault::Fenced,
                format_args!("memory store: '{run}' is held under epoch {}", row.epoch),
            ));
        }
        if row.summary.seq != batch.after {
            return Err(StoreError::new(
                Fault::Conflict,
                format_args!("memory store: the journal of '{run}' ends at {}", row.summary.seq),
            ));
        }
        fits(&batch.summary, run, batch.after, batch.events.len())?;
        if !batch.events.is_empty() {
            row.batches.push(Stored { last: batch.summary.seq, at: batch.at, epoch: row.epoch, events: batch.events });
        }
        if !batch.consumed.is_empty() {
            row.inbox.retain(|entry| !batch.consumed.contains(&entry.id));
            if row.inbox.is_empty() {
                let namespace = row.summary.namespace.clone();
                world.asked.entry(namespace).or_default().remove(run);
            }
        }
        let before = std::mem::replace(&mut row.summary, batch.summary);
        World::alarm(&mut world.alarms, &row.summary, before.wake_at);
        if batch.release {
            self.give_back(world, run);
        }
        for child in batch.children {
            world.create(child)?;
        }
        for submission in batch.submissions {
            if world.runs.contains_key(&submission.run) {
                self.submit_to(world, submission)?;
            }
        }
        Ok(())
    }

    fn submit_to(&self, world: &mut World, submission: Submission) -> Result<(u64, bool), StoreError> {
        let run = submission.run.clone();
        let row = world.row(&run)?;
        if let Some(id) = submission.dedup.as_ref().and_then(|key| row.dedup.get(key)) {
            return Ok((*id, true));
        }
        let namespace = row.summary.namespace.clone();
        world.entries += 1;
        let id = world.entries;
        world.asked.entry(namespace.clone()).or_default().insert(run.clone());
        if let Some(row) = world.runs.get_mut(&run) {
            row.dedup.extend(submission.dedup.clone().map(|key| (key, id)));
            row.inbox.push(InboxEntry { id, submission });
        }
        self.0.bell.ring(&namespace);
        Ok((id, false))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, new: NewRun) -> Result<Created, StoreError> {
        self.world().create(new)
    }

    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        self.append_to(&mut self.world(), batch)
    }

    async fn journal(&self, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError> {
        let world = self.world();
        let row = world.row(run)?;
        let mut records = Vec::new();
        let from = row.batches.partition_point(|stored| stored.last <= after);
        for stored in &row.batches[from..] {
            let first = stored.last.0 + 1 - stored.events.len() as u64;
            let numbered = (first..).zip(stored.events.iter()).filter(|(seq, _)| *seq > after.0);
            records.extend(numbered.map(|(seq, event)| Recorded {
                seq: Seq(seq),
                at: stored.at,
                epoch: stored.epoch,
                event: event.clone(),
            }));
        }
        Ok(records)
    }

    async fn summary(&self, run: &RunId) -> Result<Option<Summary>, StoreError> {
        Ok(self.world().runs.get(run).map(|row| row.summary.clone()))
    }

    async fn list(&self, query: &RunQuery) -> Result<Vec<Summary>, StoreError> {
        let world = self.world();
        let before = match &query.before {
            None => u64::MAX,
            Some(run) => match world.runs.get(run) {
                Some(row) if row.summary.namespace == query.namespace => row.number,
                _ => return Ok(Vec::new()),
            },
        };
        let limit = if query.limit == 0 { 100 } else { query.limit as usize };
        let Some(order) = world.order.get(&query.namespace) else { return Ok(Vec::new()) };
        let newest_first = order.range(..before).rev().filter_map(|(_, run)| world.runs.get(run));
        let wanted = newest_first.map(|row| &row.summary).filter(|summary| {
            (query.states.is_empty() || query.states.contains(&summary.state))
                && query.kinship.fits(summary.parent.as_ref())
                && query.workflow.as_deref().is_none_or(|name| name == summary.workflow.as_str())
        });
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn claim(
        &self,
        run: &RunId,
        worker: &WorkerId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        let mut world = self.world();
        let held = world.held_until(world.row(run)?);
        if let Some((by, until)) = held
            && by != *worker
            && until > now
        {
            return Ok(Claim::Held { by, until });
        }
        let row = world.runs.get_mut(run).ok_or_else(|| unknown(run))?;
        row.epoch = Epoch(row.epoch.0 + 1);
        row.lease = Some((worker.clone(), until));
        Ok(Claim::Taken(Lease { run: run.clone(), worker: worker.clone(), epoch: row.epoch }))
    }

    async fn holder(&self, run: &RunId) -> Result<Option<Holder>, StoreError> {
        let world = self.world();
        let held = world.held_until(world.row(run)?);
        Ok(held.map(|(worker, until)| Holder { worker, until }))
    }

    async fn renew(&self, worker: &WorkerId, until: Timestamp) -> Result<(), StoreError> {
        let mut world = self.world();
        let entry = world.workers.entry(worker.clone()).or_default();
        *entry = until.max(*entry);
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut world = self.world();
        let row = world.row(&lease.run)?;
        if row.epoch == lease.epoch {
            self.give_back(&mut world, &lease.run);
        }
        Ok(())
    }

    async fn due(&self, namespace: &Namespace, now: Timestamp, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let world = self.world();
        let woken = world.alarms.get(namespace).into_iter().flatten().take_while(|(at, _)| *at <= now);
        let asked = world.asked.get(namespace).into_iter().flatten();
        let mut due: Vec<(Timestamp, &RunId)> = woken
            .map(|(_, run)| run)
            .chain(asked)
            .filter_map(|run| {
                let row = world.runs.get(run)?;
                let free = world.held_until(row).is_none_or(|(_, until)| until <= now);
                Some((row.waits_since(now).filter(|_| free)?, run))
            })
            .collect();
        due.sort_unstable();
        due.dedup();
        Ok(due.into_iter().take(limit as usize).map(|(_, run)| run.clone()).collect())
    }

    async fn next_wake(&self, namespace: &Namespace, after: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let world = self.world();
        let alarms = world.alarms.get(namespace).into_iter().flatten().map(|(at, run)| (*at, run));
        let asked = world.asked.get(namespace).into_iter().flatten();
        let asked = asked.filter_map(|run| {
            let at = world.runs.get(run)?.inbox.iter().map(|entry| entry.submission.at).min()?;
            Some((at, run))
        });
        // A run that somebody holds is nobody's when the lease ends.
        let free_at = |run: &RunId| world.runs.get(run).and_then(|row| world.held_until(row));
        let wakes = alarms.chain(asked).map(|(at, run)| free_at(run).map_or(at, |(_, until)| until.max(at)));
        Ok(wakes.filter(|at| *at > after).min())
    }

    async fn submit(&self, submission: Submission) -> Result<(u64, bool), StoreError> {
        self.submit_to(&mut self.world(), submission)
    }

    async fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, StoreError> {
        Ok(self.world().row(run)?.inbox.clone())
    }

    async fn asked(&self, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let world = self.world();
        Ok(world.asked.get(namespace).into_iter().flatten().take(limit as usize).cloned().collect())
    }

    async fn news(&self, namespace: &Namespace, seen: u64) -> u64 {
        self.0.bell.heard(namespace, seen).await
    }

    async fn blob(&self, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError> {
        Ok(self.world().blobs.get(&hash).cloned())
    }
}
