//! What every [`Store`] must do. Run it with [`store_conformance!`](crate::store_conformance), or call the checks.
//!
//! Each check uses runs and namespaces of its own, so that all of them may share one store.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, NodeIndex, Principal, RunId, Seq, SignalName, WorkflowName};
use crate::run::{self, Event, Request, RunState, Summary};
use crate::store::StoreError;
use crate::store::{Batch, Blob, Claim, Created, Fault, Holder, Lease, NewRun, RunQuery, Store, Submission, WorkerId};
use crate::time::Timestamp;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(format!("a call that must succeed failed: {:?}: {error}", error.fault))
    }
}

/// What a check comes to: how many things it looked at, or the first that was wrong.
pub type Verdict = Result<u32, Broken>;

#[derive(Debug, Default)]
struct Tally(u32);

impl Tally {
    fn that(&mut self, kept: bool, promise: impl Display) -> Result<(), Broken> {
        self.0 += 1;
        if kept { Ok(()) } else { Err(Broken(promise.to_string())) }
    }

    fn same<T: PartialEq + fmt::Debug>(&mut self, found: &T, wanted: &T, promise: &str) -> Result<(), Broken> {
        self.that(found == wanted, format_args!("{promise}: found {found:?}, wanted {wanted:?}"))
    }

    fn fails<T: fmt::Debug>(&mut self, found: Result<T, StoreError>, with: Fault, promise: &str) -> Result<(), Broken> {
        let fault = found.as_ref().err().map(|error| error.fault);
        self.that(fault == Some(with), format_args!("{promise}: found {found:?}, wanted {with:?}"))
    }
}

/// A namespace nobody else uses.
#[must_use]
pub fn own_namespace() -> Namespace {
    // A run id made of hexadecimal digits and dashes is a namespace too.
    Namespace::new(RunId::generate().as_str()).unwrap_or_default()
}

/// The row of a run that was just created, with nothing in its journal.
#[must_use]
pub fn summary(run: &RunId, namespace: &Namespace) -> Summary {
    Summary {
        run: run.clone(),
        namespace: namespace.clone(),
        workflow: WorkflowName::fixed("conformance"),
        hash: ContentHash::of(b"conformance"),
        state: RunState::Running,
        seq: Seq(0),
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        wake_at: Some(Timestamp(1)),
        finished: 0,
        total: 10,
        problem: None,
        version: Event::VERSION,
        build: Summary::BUILD.into(),
    }
}

/// A run to be created with one event, leased until 1,000.
#[must_use]
pub fn new_run(run: &RunId, namespace: &Namespace, worker: &WorkerId) -> NewRun {
    let summary = Summary { seq: Seq(1), ..summary(run, namespace) };
    let created = Event::Created(Box::new(run::Created {
        version: Event::VERSION,
        run: run.clone(),
        namespace: namespace.clone(),
        workflow: summary.hash,
        name: summary.workflow.clone(),
        input: json!({"n": 1}),
        seed: 7,
        principal: Principal::unverified("ada"),
        epoch: Epoch(1),
    }));
    NewRun {
        key: None,
        fingerprint: ContentHash::of(b"one"),
        worker: worker.clone(),
        until: Timestamp(1_000),
        at: Timestamp(1),
        events: Arc::from([created]),
        summary,
        blobs: Vec::new(),
    }
}

/// A batch that appends these events after `before`.
#[must_use]
pub fn batch(lease: &Lease, before: &Summary, at: u64, events: Vec<Event>) -> Batch {
    let seq = Seq(before.seq.0 + events.len() as u64);
    Batch {
        lease: lease.clone(),
        after: before.seq,
        at: Timestamp(at),
        events: events.into(),
        summary: Summary { seq, updated_at: Timestamp(at), ..before.clone() },
        consumed: Vec::new(),
        release: false,
    }
}

/// An event that is told from others by its attempt.
#[must_use]
pub fn started(attempt: u32) -> Event {
    Event::Started { node: NodeIndex(0), attempt }
}

/// A signal for a run.
#[must_use]
pub fn signal(run: &RunId, dedup: Option<&str>, at: u64) -> Submission {
    // The name follows the rule; a signal is only carried here.
    let name = SignalName::new("go");
    let request = match name {
        Ok(name) => Request::Signal { name, payload: json!({"n": at}) },
        Err(_) => Request::Resume,
    };
    Submission {
        run: run.clone(),
        request,
        principal: Principal::unverified("ada"),
        dedup: dedup.map(str::to_owned),
        at: Timestamp(at),
    }
}

struct Made {
    namespace: Namespace,
    worker: WorkerId,
    lease: Lease,
    summary: Summary,
}

async fn make(store: &dyn Store) -> Result<Made, Broken> {
    make_in(store, &own_namespace()).await
}

async fn make_in(store: &dyn Store, namespace: &Namespace) -> Result<Made, Broken> {
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    let new = new_run(&run, namespace, &worker);
    let summary = new.summary.clone();
    match store.create(new).await? {
        Created::New(lease) => Ok(Made { namespace: namespace.clone(), worker, lease, summary }),
        Created::Exists { .. } => Err(Broken("a new run was said to be there already".into())),
    }
}

/// A run is created once, whether it is named by its id or by its key, and what it pins is there.
///
/// # Errors
/// The promise that was not kept.
pub async fn creates_once(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let (namespace, worker) = (own_namespace(), WorkerId::generate());
    let run = RunId::generate();
    let mut new = new_run(&run, &namespace, &worker);
    let blob = Blob::new(Arc::from(&b"pinned \0 bytes"[..]));
    (new.key, new.blobs) = (Some("nightly".into()), vec![blob.clone()]);
    let lease = Lease { run: run.clone(), worker: worker.clone(), epoch: Epoch(1) };
    tally.same(&store.create(new.clone()).await?, &Created::New(lease), "a new run comes with its lease")?;
    tally.same(&store.blob(blob.hash).await?.as_deref(), &Some(&*blob.bytes), "what a run pins is there")?;
    tally.same(&store.blob(ContentHash::of(b"else")).await?, &None, "bytes nobody pinned are not there")?;
    tally.same(&store.summary(&run).await?, &Some(new.summary.clone()), "the row is there")?;
    let journal = store.journal(&run, Seq(0)).await?;
    tally.same(&journal.len(), &1, "the first record is there")?;
    tally.same(&(journal[0].seq, journal[0].at, journal[0].epoch), &(Seq(1), Timestamp(1), Epoch(1)), "its head")?;
    tally.same(&journal[0].event, &new.events[0], "the first event is as it was")?;

    let there = Created::Exists { summary: new.summary.clone(), fingerprint: new.fingerprint };
    let again = NewRun { fingerprint: ContentHash::of(b"two"), key: None, ..new.clone() };
    tally.same(&store.create(again).await?, &there, "a second run of that id answers the first")?;
    let other = RunId::generate();
    let same_key = NewRun { key: new.key.clone(), ..new_run(&other, &namespace, &worker) };
    tally.same(&store.create(same_key).await?, &there, "a second run under that key answers the first")?;
    tally.same(&store.summary(&other).await?, &None, "and makes nothing")?;
    let elsewhere = NewRun { key: new.key.clone(), ..new_run(&other, &own_namespace(), &worker) };
    let created = store.create(elsewhere).await?;
    tally.that(matches!(created, Created::New(_)), "a key belongs to its namespace")?;
    tally.same(&store.journal(&run, Seq(0)).await?.len(), &1, "nothing was added")?;

    // A finished run still answers for its id and key.
    let lease = Lease { run: run.clone(), worker, epoch: Epoch(1) };
    let mut last = batch(&lease, &new.summary, 2, vec![started(1)]);
    (last.summary.state, last.summary.wake_at) = (RunState::Succeeded, None);
    store.append(last.clone()).await?;
    store.release(&lease).await?;
    let there = Created::Exists { summary: last.summary, fingerprint: new.fingerprint };
    tally.same(&store.create(new).await?, &there, "a finished run answers for its key")?;
    Ok(tally.0)
}

/// Of many that create one run at once, one does.
///
/// # Errors
/// The promise that was not kept.
pub async fn creates_once_among_many(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let namespace = own_namespace();
    let runs: Vec<RunId> = (0..32).map(|_| RunId::generate()).collect();
    let created = join_all(runs.iter().map(|run| {
        let new = new_run(run, &namespace, &WorkerId::generate());
        store.create(NewRun { key: Some("one".into()), ..new })
    }))
    .await;
    let mut winners = Vec::new();
    let mut answers = Vec::new();
    for created in created {
        match created? {
            Created::New(lease) => winners.push(lease.run),
            Created::Exists { summary, .. } => answers.push(summary.run),
        }
    }
    tally.same(&winners.len(), &1, "one of many creates the run")?;
    tally.that(answers.iter().all(|run| run == &winners[0]), "the others are told which")?;
    tally.same(&store.list(&RunQuery { namespace, ..RunQuery::default() }).await?.len(), &1, "there is one run")?;
    Ok(tally.0)
}

/// Records are appended at the head only, and read from anywhere, big ones too.
///
/// # Errors
/// The promise that was not kept.
pub async fn appends_at_the_head(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, summary, .. } = make(&*store).await?;
    let run = lease.run.clone();
    let big = Event::Succeeded { node: NodeIndex(3), output: json!("é\u{0}\u{1F980}".repeat(200_000)) };
    let first = batch(&lease, &summary, 2, vec![started(1), big.clone(), started(2)]);
    store.append(first.clone()).await?;
    tally.same(&store.summary(&run).await?, &Some(first.summary.clone()), "the row follows")?;
    let second = batch(&lease, &first.summary, 3, vec![started(3)]);
    tally.fails(
        store.append(batch(&lease, &summary, 9, vec![started(9)])).await,
        Fault::Conflict,
        "behind the head",
    )?;
    let ahead = Summary { seq: Seq(17), ..summary.clone() };
    tally.fails(store.append(batch(&lease, &ahead, 9, vec![started(9)])).await, Fault::Conflict, "past the head")?;
    tally.same(&store.summary(&run).await?, &Some(first.summary.clone()), "a refused append changes nothing")?;
    store.append(second.clone()).await?;
    let all = store.journal(&run, Seq(0)).await?;
    let seqs: Vec<u64> = all.iter().map(|record| record.seq.0).collect();
    tally.same(&seqs, &vec![1, 2, 3, 4, 5], "positions without gap")?;
    tally.that(all[2].event == big, "a big event is as it was")?;
    tally.same(&(all[1].at, all[4].at), &(Timestamp(2), Timestamp(3)), "each record has its time")?;
    for after in 0..=6 {
        let rest = store.journal(&run, Seq(after)).await?;
        let from = (after as usize).min(all.len());
        tally.that(rest == all[from..], format_args!("the journal after {after}"))?;
    }
    let mut only_row = batch(&lease, &second.summary, 4, Vec::new());
    only_row.summary.problem = Some("a \"problem\" \u{0}".into());
    store.append(only_row.clone()).await?;
    tally.same(&store.summary(&run).await?, &Some(only_row.summary), "a row may change alone")?;
    Ok(tally.0)
}

/// Of many appenders to one run, one wins each position.
///
/// # Errors
/// The promise that was not kept.
pub async fn one_record_per_position(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, summary, .. } = make(&*store).await?;
    let mut head = summary;
    let mut won = Vec::new();
    for round in 0..20_u32 {
        let rivals: Vec<Batch> =
            (0..8).map(|rival| batch(&lease, &head, 2, vec![started(round * 100 + rival)])).collect();
        let results = join_all(rivals.iter().cloned().map(|rival| store.append(rival))).await;
        let winners: Vec<usize> = results.iter().enumerate().filter(|(_, r)| r.is_ok()).map(|(i, _)| i).collect();
        tally.same(&winners.len(), &1, "one appender wins a position")?;
        for lost in results.into_iter().filter(Result::is_err) {
            tally.fails(lost, Fault::Conflict, "the others are told so")?;
        }
        won.push(rivals[winners[0]].events[0].clone());
        head = rivals[winners[0]].summary.clone();
    }
    let journal = store.journal(&lease.run, Seq(1)).await?;
    tally.that(journal.iter().map(|record| &record.event).eq(won.iter()), "what won is what is there")?;
    // Different runs do not get in each other's way.
    let runs = join_all((0..50).map(|_| make(&*store))).await;
    let mut heads = Vec::new();
    for made in runs {
        let made = made?;
        heads.push((made.lease, made.summary));
    }
    for round in 0..4_u32 {
        let batches: Vec<Batch> =
            heads.iter().map(|(lease, head)| batch(lease, head, 5, vec![started(round)])).collect();
        for appended in join_all(batches.iter().cloned().map(|each| store.append(each))).await {
            tally.that(appended.is_ok(), "every run's append succeeds")?;
        }
        heads = heads.into_iter().zip(batches).map(|((lease, _), done)| (lease, done.summary)).collect();
    }
    for (lease, head) in heads {
        tally.same(&store.journal(&lease.run, Seq(0)).await?.len(), &5, "every append is there")?;
        tally.same(&store.summary(&lease.run).await?, &Some(head), "every row is the last")?;
    }
    Ok(tally.0)
}

/// Whoever holds an older epoch changes nothing at all.
///
/// # Errors
/// The promise that was not kept.
pub async fn fences_old_epochs(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease: old, summary, namespace, .. } = make(&*store).await?;
    let run = old.run.clone();
    let (entry, _) = store.submit(signal(&run, None, 5)).await?;
    let heir = WorkerId::generate();
    let Claim::Taken(new) = store.claim(&run, &heir, Timestamp(1_000), Timestamp(2_000)).await? else {
        return Err(Broken("a lease that ran out can be taken".into()));
    };
    tally.same(&new, &Lease { run: run.clone(), worker: heir.clone(), epoch: Epoch(2) }, "the epoch grows")?;
    let mut late = batch(&old, &summary, 1_001, vec![started(1)]);
    (late.consumed, late.summary.wake_at) = (vec![entry], Some(Timestamp(9)));
    tally.fails(store.append(late.clone()).await, Fault::Fenced, "the former holder is refused")?;
    late.after = Seq(40);
    late.summary.seq = Seq(41);
    tally.fails(store.append(late).await, Fault::Fenced, "being fenced comes before being behind")?;
    store.release(&old).await?;
    tally.same(&store.journal(&run, Seq(0)).await?.len(), &1, "the journal is unchanged")?;
    tally.same(&store.summary(&run).await?, &Some(summary.clone()), "the row is unchanged")?;
    tally.same(&store.inbox(&run).await?.len(), &1, "the inbox is unchanged")?;
    let held = store.claim(&run, &WorkerId::generate(), Timestamp(1_500), Timestamp(9_000)).await?;
    tally.same(&held, &Claim::Held { by: heir, until: Timestamp(2_000) }, "the lease is unchanged")?;
    tally.same(&store.due(&namespace, Timestamp(1_500), 10).await?, &vec![], "the run is still held")?;
    let mut good = batch(&new, &summary, 1_001, vec![started(2)]);
    good.consumed = vec![entry];
    store.append(good).await?;
    let journal = store.journal(&run, Seq(1)).await?;
    tally.same(&journal[0].epoch, &Epoch(2), "a record carries its epoch")?;
    tally.same(&store.inbox(&run).await?.len(), &0, "what was taken in is gone")?;
    Ok(tally.0)
}

/// A lease keeps others away until it runs out or is given back.
///
/// # Errors
/// The promise that was not kept.
pub async fn leases_keep_others_away(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, worker, summary, .. } = make(&*store).await?;
    let (run, other) = (lease.run.clone(), WorkerId::generate());
    let claim = |worker: WorkerId, now: u64, until: u64| {
        let (store, run) = (Arc::clone(&store), run.clone());
        async move { store.claim(&run, &worker, Timestamp(now), Timestamp(until)).await }
    };
    let held = Claim::Held { by: worker.clone(), until: Timestamp(1_000) };
    tally.same(&claim(other.clone(), 999, 5_000).await?, &held, "a held run is not taken")?;
    let holder = |until| Some(Holder { worker: worker.clone(), until: Timestamp(until) });
    tally.same(&store.holder(&run).await?, &holder(1_000), "it is said who holds a run")?;
    store.renew(&worker, Timestamp(3_000)).await?;
    let held = Claim::Held { by: worker.clone(), until: Timestamp(3_000) };
    tally.same(&claim(other.clone(), 1_500, 5_000).await?, &held, "a renewed lease holds on")?;
    store.renew(&worker, Timestamp(2_000)).await?;
    tally.same(&claim(other.clone(), 2_500, 5_000).await?, &held, "a renewal never shortens a lease")?;
    tally.same(&store.holder(&run).await?, &holder(3_000), "and until when")?;
    let again = claim(worker.clone(), 2_500, 2_600).await?;
    tally.same(&again, &Claim::Taken(Lease { epoch: Epoch(2), ..lease.clone() }), "its holder may claim it anew")?;
    store.release(&lease).await?;
    let still = claim(other.clone(), 2_500, 5_000).await?;
    tally.that(matches!(still, Claim::Held { .. }), "an old lease cannot be given back")?;
    store.release(&Lease { epoch: Epoch(2), ..lease.clone() }).await?;
    tally.same(&store.holder(&run).await?, &None, "nobody holds what was given back")?;
    let taken = claim(other.clone(), 2_500, 4_000).await?;
    let wanted = Lease { run: run.clone(), worker: other.clone(), epoch: Epoch(3) };
    tally.same(&taken, &Claim::Taken(wanted.clone()), "what was given back is taken")?;
    store.renew(&worker, Timestamp(9_000)).await?;
    let taken = claim(worker.clone(), 4_000, 9_000).await?;
    tally.that(matches!(taken, Claim::Taken(_)), "one worker's renewal holds no other's lease")?;
    let Claim::Taken(last) = taken else { return Ok(tally.0) };
    store.append(Batch { release: true, ..batch(&last, &summary, 4_100, vec![started(1)]) }).await?;
    let taken = claim(other.clone(), 4_200, 5_000).await?;
    tally.that(matches!(taken, Claim::Taken(_)), "an append gives its lease back when it says so")?;
    store.release(&Lease { epoch: Epoch(5), ..wanted }).await?;
    let claims = join_all((0..16).map(|_| claim(WorkerId::generate(), 9_000, 10_000))).await;
    let taken = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Taken(_)))).count();
    tally.same(&taken, &1, "one of many takes a run")?;
    Ok(tally.0)
}

/// A run that nobody holds is due when its time comes or its inbox has something.
///
/// # Errors
/// The promise that was not kept.
pub async fn nothing_is_left_behind(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let namespace = own_namespace();
    let at = |time| Timestamp(time);
    tally.same(&store.due(&namespace, at(99), 10).await?, &vec![], "nothing is due where nothing is")?;
    tally.same(&store.next_wake(&namespace, at(0)).await?, &None, "and nothing will be")?;
    let mut runs = Vec::new();
    for wake in [Some(300), Some(200), None] {
        let made = make_in(&*store, &namespace).await?;
        let mut to_sleep = batch(&made.lease, &made.summary, 2, vec![started(1)]);
        to_sleep.summary.wake_at = wake.map(Timestamp);
        store.append(to_sleep.clone()).await?;
        runs.push((made.lease, to_sleep.summary));
    }
    let due = |now: u64, limit: u32| {
        let (store, namespace) = (Arc::clone(&store), namespace.clone());
        async move { store.due(&namespace, Timestamp(now), limit).await }
    };
    let [late, early, asleep] = [0, 1, 2].map(|i: usize| runs[i].0.run.clone());
    tally.same(&due(999, 10).await?, &vec![], "what is held is not due")?;
    tally.same(&due(1_000, 10).await?, &vec![early.clone(), late.clone()], "what was held until now is")?;
    for (lease, _) in &runs {
        store.release(lease).await?;
    }
    tally.same(&store.next_wake(&namespace, at(199)).await?, &Some(at(200)), "the next wake is the earliest")?;
    tally.same(&store.next_wake(&namespace, at(200)).await?, &Some(at(300)), "after the moment that is asked about")?;
    tally.same(&due(199, 10).await?, &vec![], "nothing is early")?;
    tally.same(&due(200, 10).await?, &vec![early.clone()], "nothing is late")?;
    tally.same(&due(300, 10).await?, &vec![early.clone(), late.clone()], "longest waiting first")?;
    tally.same(&due(300, 1).await?, &vec![early.clone()], "at most as many as asked for")?;
    tally.same(&store.due(&own_namespace(), at(300), 10).await?, &vec![], "another namespace sees nothing")?;
    store.submit(signal(&asleep, None, 250)).await?;
    tally.same(&due(260, 10).await?, &vec![early.clone(), asleep.clone()], "an inbox wakes its run")?;
    let worker = WorkerId::generate();
    let Claim::Taken(lease) = store.claim(&asleep, &worker, at(260), at(500)).await? else {
        return Err(Broken("a run nobody holds can be taken".into()));
    };
    tally.same(&due(260, 10).await?, &vec![early.clone()], "what was taken is not due")?;
    let consumed = store.inbox(&asleep).await?.iter().map(|entry| entry.id).collect();
    store.append(Batch { consumed, ..batch(&lease, &runs[2].1, 261, Vec::new()) }).await?;
    store.release(&lease).await?;
    tally.same(&due(299, 10).await?, &vec![early.clone()], "an empty inbox wakes nobody")?;
    // Over and asked nothing: never due. Over and asked something: due.
    let Claim::Taken(lease) = store.claim(&early, &worker, at(260), at(270)).await? else {
        return Err(Broken("a run nobody holds can be taken".into()));
    };
    let mut over = batch(&lease, &runs[1].1, 262, vec![started(9)]);
    (over.summary.state, over.summary.wake_at) = (RunState::Failed, None);
    store.append(over).await?;
    tally.same(&due(5_000, 10).await?, &vec![late.clone()], "what is over is not due")?;
    store.submit(signal(&early, None, 4_000)).await?;
    tally.same(&due(5_000, 10).await?, &vec![late, early], "unless it is asked something")?;
    Ok(tally.0)
}

/// A submission is kept once, in order, and told apart by its key, even after it was taken in.
///
/// # Errors
/// The promise that was not kept.
pub async fn inbox_keeps_and_dedups(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, summary, .. } = make(&*store).await?;
    let run = lease.run.clone();
    let other = make(&*store).await?;
    let (a, _) = store.submit(signal(&run, Some("a"), 1)).await?;
    let (b, _) = store.submit(signal(&run, None, 2)).await?;
    let (c, there) = store.submit(signal(&run, None, 2)).await?;
    tally.that(a < b && b < c && !there, "ids grow, and what has no key is always new")?;
    tally.same(&store.submit(signal(&run, Some("a"), 9)).await?, &(a, true), "one key, one entry")?;
    let (elsewhere, there) = store.submit(signal(&other.lease.run, Some("a"), 1)).await?;
    tally.that(!there, "a key belongs to its run")?;
    let inbox = store.inbox(&run).await?;
    tally.same(&inbox.iter().map(|entry| entry.id).collect::<Vec<_>>(), &vec![a, b, c], "oldest first")?;
    tally.same(&inbox[0].submission, &signal(&run, Some("a"), 1), "an entry is as it was submitted")?;
    let mut taking = batch(&lease, &summary, 3, vec![started(1)]);
    taking.consumed = vec![a, c, elsewhere, 1 << 40];
    store.append(taking.clone()).await?;
    let left: Vec<u64> = store.inbox(&run).await?.iter().map(|entry| entry.id).collect();
    tally.same(&left, &vec![b], "what was taken in is gone, and only that")?;
    tally.same(&store.inbox(&other.lease.run).await?.len(), &1, "another run's inbox is its own")?;
    tally.same(&store.submit(signal(&run, Some("a"), 9)).await?, &(a, true), "a key is known for good")?;
    let mut refused = batch(&lease, &summary, 4, vec![started(2)]);
    refused.consumed = vec![b];
    tally.fails(store.append(refused).await, Fault::Conflict, "an append behind the head")?;
    tally.same(&store.inbox(&run).await?.len(), &1, "takes nothing in")?;
    let same = join_all((0..16).map(|n| store.submit(signal(&run, Some("many"), n)))).await;
    let same: Result<Vec<(u64, bool)>, StoreError> = same.into_iter().collect();
    let same = same?;
    tally.same(&same.iter().filter(|(_, there)| !there).count(), &1, "one of many is new")?;
    tally.that(same.iter().all(|(id, _)| *id == same[0].0), "and all are told its id")?;
    Ok(tally.0)
}

/// Runs are listed newest first, in pages, of one namespace, and by state and workflow.
///
/// # Errors
/// The promise that was not kept.
pub async fn lists_in_pages(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let namespace = own_namespace();
    let mut runs = Vec::new();
    for i in 0..7_usize {
        let made = make_in(&*store, &namespace).await?;
        if i % 2 == 0 {
            let mut last = batch(&made.lease, &made.summary, 2, vec![started(1)]);
            last.summary.state = RunState::Stuck;
            store.append(last).await?;
        }
        runs.insert(0, made.lease.run);
    }
    let stranger = make(&*store).await?;
    let all = RunQuery { namespace: namespace.clone(), ..RunQuery::default() };
    let names = |found: Vec<Summary>| found.into_iter().map(|summary| summary.run).collect::<Vec<_>>();
    tally.same(&names(store.list(&all).await?), &runs, "newest first, of one namespace")?;
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = names(store.list(&RunQuery { before: before.clone(), limit: 3, ..all.clone() }).await?);
        tally.that(page.len() <= 3, "a page is no longer than asked for")?;
        let Some(last) = page.last() else { break };
        before = Some(last.clone());
        paged.extend(page);
    }
    tally.same(&paged, &runs, "pages make up the whole")?;
    let stuck = names(store.list(&RunQuery { states: vec![RunState::Stuck], ..all.clone() }).await?);
    tally.same(&stuck, &runs.iter().step_by(2).cloned().collect::<Vec<_>>(), "by state")?;
    let two = vec![RunState::Stuck, RunState::Running];
    tally.same(&store.list(&RunQuery { states: two, ..all.clone() }).await?.len(), &7, "by one of several states")?;
    let named = |name: &str| RunQuery { workflow: Some(name.into()), ..all.clone() };
    tally.same(&store.list(&named("conformance")).await?.len(), &7, "by workflow")?;
    tally.same(&store.list(&named("x")).await?.len(), &0, "by another workflow")?;
    let beyond = RunQuery { before: Some(stranger.lease.run), ..all.clone() };
    tally.same(&store.list(&beyond).await?, &vec![], "another namespace's run is no place to go on from")?;
    let nowhere = RunQuery { before: Some(RunId::generate()), ..all };
    tally.same(&store.list(&nowhere).await?, &vec![], "nor is a run that is not there")?;
    Ok(tally.0)
}

/// What is about a run that is not there says so.
///
/// # Errors
/// The promise that was not kept.
pub async fn unknown_runs_are_not_found(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let (run, worker) = (RunId::generate(), WorkerId::generate());
    let lease = Lease { run: run.clone(), worker: worker.clone(), epoch: Epoch(1) };
    let empty = summary(&run, &Namespace::default());
    tally.same(&store.summary(&run).await?, &None, "it has no row")?;
    tally.fails(store.journal(&run, Seq(0)).await, Fault::NotFound, "its journal")?;
    tally.fails(store.inbox(&run).await, Fault::NotFound, "its inbox")?;
    tally.fails(store.submit(signal(&run, None, 1)).await, Fault::NotFound, "a submission")?;
    tally.fails(store.append(batch(&lease, &empty, 1, vec![started(1)])).await, Fault::NotFound, "an append")?;
    tally.fails(store.holder(&run).await, Fault::NotFound, "its holder")?;
    let claim = store.claim(&run, &worker, Timestamp(1), Timestamp(2)).await;
    tally.fails(claim, Fault::NotFound, "a claim")?;
    tally.same(&store.summary(&run).await?, &None, "and none of it makes one")?;
    Ok(tally.0)
}

/// Whoever waits for news is woken by a submission.
///
/// # Errors
/// The promise that was not kept.
pub async fn news_wakes_who_waits(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, namespace, .. } = make(&*store).await?;
    // A store may ring too often, never too rarely: whatever rang before has been heard when this is quiet.
    let mut seen = 0;
    while let Ok(news) = tokio::time::timeout(Duration::from_millis(50), store.news(&namespace, seen)).await {
        tally.that(news > seen, "the number grows")?;
        seen = news;
    }
    let wait = || {
        let (store, namespace) = (Arc::clone(&store), namespace.clone());
        tokio::spawn(async move { store.news(&namespace, seen).await })
    };
    let waits = [wait(), wait()];
    tokio::task::yield_now().await;
    store.submit(signal(&lease.run, None, 1)).await?;
    for waits in waits {
        let woken = tokio::time::timeout(Duration::from_secs(10), waits).await;
        tally.that(matches!(woken, Ok(Ok(_))), "a submission wakes everybody who waits")?;
    }
    let late = tokio::time::timeout(Duration::from_secs(10), store.news(&namespace, seen)).await;
    tally.that(late.is_ok(), "and who asks a moment later")?;
    tally.same(&store.asked(&namespace, 10).await?, &vec![lease.run.clone()], "and says who was asked")?;
    Ok(tally.0)
}

/// Makes one test of every check. The expression is a future of an `Arc<dyn Store>`, evaluated once for each.
///
/// ```
/// mod memory_store {
///     use std::sync::Arc;
///     use windflow_core::{MemoryStore, Store};
///     windflow_core::store_conformance!(async { Arc::new(MemoryStore::new()) as Arc<dyn Store> });
/// }
/// ```
#[macro_export]
macro_rules! store_conformance {
    ($open:expr) => {
        $crate::store_conformance!(@each $open;
            creates_once, 11; creates_once_among_many, 3; appends_at_the_head, 14; one_record_per_position, 300;
            fences_old_epochs, 10; leases_keep_others_away, 11; nothing_is_left_behind, 15; inbox_keeps_and_dedups, 12;
            lists_in_pages, 11; unknown_runs_are_not_found, 8; news_wakes_who_waits, 2;);
    };
    (@each $open:expr; $($check:ident, $least:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            match $crate::conformance::store::$check($open.await).await {
                Ok(checks) => assert!(checks >= $least, "it looked at {checks} things only"),
                Err(broken) => panic!("{broken}"),
            }
        }
    )*};
}
