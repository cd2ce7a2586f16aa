//! Runs are created once, and their journals grow at the head only.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;

use super::fixture::{Made, Tally, Verdict, batch, make, new_run, own_namespace, signal, started, summary};
use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, NodeIndex, RunId, Seq};
use crate::run::{Event, RunState, Summary};
use crate::store::{Batch, Blob, Created, Fault, Lease, NewRun, RunQuery, Store, WorkerId};
use crate::time::Timestamp;

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
    tally.verdict()
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
    tally.verdict()
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
    tally.verdict()
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
    tally.verdict()
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
    tally.verdict()
}
