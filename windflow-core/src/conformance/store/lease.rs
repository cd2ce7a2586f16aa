//! A run has one owner at a time, and who was it before changes nothing.

use std::sync::Arc;

use futures_util::future::join_all;

use super::fixture::{Broken, Made, Tally, Verdict, batch, make, signal, started};
use crate::id::{Epoch, Seq};
use crate::store::{Batch, Claim, Fault, Holder, Lease, Store, WorkerId};
use crate::time::Timestamp;

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
    tally.verdict()
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
    let Claim::Taken(last) = taken else { return tally.verdict() };
    store.append(Batch { release: true, ..batch(&last, &summary, 4_100, vec![started(1)]) }).await?;
    let taken = claim(other.clone(), 4_200, 5_000).await?;
    tally.that(matches!(taken, Claim::Taken(_)), "an append gives its lease back when it says so")?;
    store.release(&Lease { epoch: Epoch(5), ..wanted }).await?;
    let claims = join_all((0..16).map(|_| claim(WorkerId::generate(), 9_000, 10_000))).await;
    let taken = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Taken(_)))).count();
    tally.same(&taken, &1, "one of many takes a run")?;
    tally.verdict()
}
