//! What is asked of a run is kept once, and whoever waits hears of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::fixture::{Broken, Made, Tally, Verdict, batch, make, signal, started};
use crate::id::Namespace;
use crate::store::{Fault, Store, StoreError};

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
    tally.verdict()
}

/// Whoever waits for news is woken by a submission, and when a run with something in its inbox is given back.
///
/// # Errors
/// The promise that was not kept.
pub async fn news_wakes_who_waits(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, namespace, .. } = make(&*store).await?;
    let seen = quiet(&mut tally, &*store, &namespace, 0).await?;
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
    let seen = quiet(&mut tally, &*store, &namespace, seen).await?;
    store.release(&lease).await?;
    let back = tokio::time::timeout(Duration::from_secs(10), store.news(&namespace, seen)).await;
    tally.that(back.is_ok(), "a run that was asked something wakes everybody when it is given back")?;

    // What was asked while the last append was on its way, such as to try again what has just failed.
    let Made { lease, namespace, mut summary, .. } = make(&*store).await?;
    store.submit(signal(&lease.run, None, 1)).await?;
    let seen = quiet(&mut tally, &*store, &namespace, 0).await?;
    summary.wake_at = None;
    let mut last = batch(&lease, &summary, 3, vec![started(1)]);
    last.release = true;
    store.append(last).await?;
    let back = tokio::time::timeout(Duration::from_secs(10), store.news(&namespace, seen)).await;
    tally.that(back.is_ok(), "also with its last append")?;
    tally.verdict()
}

/// A store may ring too often, never too rarely: whatever rang before has been heard when this is quiet.
async fn quiet(tally: &mut Tally, store: &dyn Store, namespace: &Namespace, mut seen: u64) -> Result<u64, Broken> {
    while let Ok(news) = tokio::time::timeout(Duration::from_millis(50), store.news(namespace, seen)).await {
        tally.that(news > seen, "the number grows")?;
        seen = news;
    }
    Ok(seen)
}
