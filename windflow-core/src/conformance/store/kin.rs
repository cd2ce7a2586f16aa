//! What is written together with an append: runs that begin, and words for others.

use std::sync::Arc;

use super::fixture::{Made, Tally, Verdict, batch, make, new_run, signal, started};
use crate::id::{Epoch, RunId, Seq};
use crate::run::Summary;
use crate::store::{Batch, Claim, Created, Fault, Kinship, RunQuery, Store, Submission};
use crate::time::Timestamp;

/// An append lets runs begin and asks something of others with it, all or nothing.
///
/// # Errors
/// The promise that was not kept.
pub async fn begins_and_tells_with_an_append(store: Arc<dyn Store>) -> Verdict {
    let mut tally = Tally::default();
    let Made { lease, summary, namespace, worker } = make(&*store).await?;
    let other = make(&*store).await?;
    let child = |n: u32| {
        let mut new = new_run(&lease.run.child(&node(), n, 1), &namespace, &worker);
        new.summary.parent = Some(lease.run.clone());
        new
    };
    let words = |run: &RunId| Submission { run: run.clone(), ..signal(run, None, 2) };
    let missing = RunId::generate();
    let mut first = batch(&lease, &summary, 2, vec![started(1)]);
    first.children = vec![child(0), child(1)];
    first.submissions = vec![words(&other.lease.run), words(&missing), words(&child(0).summary.run)];
    store.append(first.clone()).await?;
    let now = Summary { ..first.summary.clone() };
    for n in 0..2 {
        let (id, wanted) = (child(n).summary.run, child(n).summary);
        tally.same(&store.summary(&id).await?, &Some(wanted), "a child has its row")?;
        let journal = store.journal(&id, Seq(0)).await?;
        tally.same(
            &journal.iter().map(|r| &r.event).collect::<Vec<_>>(),
            &child(n).events.iter().collect(),
            "and events",
        )?;
        let held = store.claim(&id, &other.worker, Timestamp(3), Timestamp(900)).await?;
        tally.that(matches!(held, Claim::Held { by, .. } if by == worker), "and is held by whoever appended")?;
    }
    tally.same(&store.inbox(&other.lease.run).await?.len(), &1, "another run has its word")?;
    tally.same(&store.inbox(&child(0).summary.run).await?.len(), &1, "a child that has just begun has one")?;
    tally.same(&store.summary(&missing).await?, &None, "what is for nobody is dropped")?;
    // What is refused does nothing of it.
    let mut again = batch(&lease, &now, 3, vec![started(2)]);
    again.children = vec![child(2), child(1)];
    again.submissions = vec![words(&other.lease.run)];
    tally.fails(store.append(again.clone()).await, Fault::Conflict, "an append with a run that is there already")?;
    let stale =
        Batch { lease: crate::store::Lease { epoch: Epoch(0), ..lease.clone() }, children: vec![child(2)], ..again };
    tally.fails(store.append(stale.clone()).await, Fault::Fenced, "one of an old epoch")?;
    let behind = Batch { after: Seq(0), lease: lease.clone(), ..stale };
    tally.fails(store.append(behind).await, Fault::Conflict, "one behind the head")?;
    tally.same(&store.summary(&child(2).summary.run).await?, &None, "lets no run begin")?;
    tally.same(&store.inbox(&other.lease.run).await?.len(), &1, "and says nothing")?;
    tally.same(&store.summary(&lease.run).await?.map(|found| found.seq), &Some(now.seq), "and appends nothing")?;
    // They are told apart by whose they are.
    let list = |kinship| {
        let query = RunQuery { namespace: namespace.clone(), kinship, ..RunQuery::default() };
        let store = Arc::clone(&store);
        async move {
            Ok::<_, crate::store::StoreError>(store.list(&query).await?.into_iter().map(|s| s.run).collect::<Vec<_>>())
        }
    };
    tally.same(
        &list(Kinship::Any).await?,
        &vec![child(1).summary.run, child(0).summary.run, lease.run.clone()],
        "all",
    )?;
    tally.same(&list(Kinship::Roots).await?, &vec![lease.run.clone()], "those nobody has started")?;
    let of = list(Kinship::ChildrenOf(lease.run.clone())).await?;
    tally.same(&of, &vec![child(1).summary.run, child(0).summary.run], "those a run has started")?;
    let there = store.create(child(0)).await?;
    tally.that(matches!(there, Created::Exists { .. }), "a child is a run like any other")?;
    tally.verdict()
}

fn node() -> crate::id::NodeName {
    crate::id::NodeName::fixed("node")
}
