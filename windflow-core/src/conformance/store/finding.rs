//! No run is left behind: each is found when it wants to be driven, and when somebody looks for it.

use std::sync::Arc;

use super::fixture::{Broken, Tally, Verdict, batch, make, make_in, own_namespace, signal, started};
use crate::id::RunId;
use crate::run::{RunState, Summary};
use crate::store::{Batch, Claim, RunQuery, Store, WorkerId};
use crate::time::Timestamp;

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
    store.submit(signal(&asleep, None, 400)).await?;
    tally.same(
        &store.next_wake(&namespace, at(300)).await?,
        &None,
        "an inbox wakes its run once, by what is oldest",
    )?;
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
    tally.verdict()
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
    tally.verdict()
}
