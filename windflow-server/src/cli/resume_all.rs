//! `windflow resume --all`.

use std::sync::Arc;
use std::time::Duration;

use windflow_core::engine::Drive;
use windflow_core::{RunId, RunState, Store as _, Summary};
use windflow_workflow::SqliteStore;

use super::args::ResumeArgs;
use super::worker::left_alone;
use super::{background, list};
use crate::drive::leave;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::lines::Lines;
use crate::render::{holder, json};
use crate::wire::Project;

/// Drives these runs side by side until none can go on by itself. Paused ones are left alone: to take one up again is
/// a decision about that run. Ctrl-C leaves them all, because one key must not cancel several runs.
pub async fn all(
    project: &Project,
    store: &SqliteStore,
    open: Vec<Summary>,
    args: &ResumeArgs,
) -> Result<Exit, Failure> {
    let runs: Vec<RunId> = open.into_iter().map(|summary| summary.run).collect();
    if args.detach {
        for run in &runs {
            background::check(project, run, None, args.drive.allow_shell).await?;
        }
        for run in &runs {
            background::resume(project, run, args.drive.allow_shell)?;
        }
        return Ok(Exit::Success);
    }
    let mut interrupt = Interrupt::listen()?;
    let sink = Arc::new(Lines::new(project.output.clone()));
    let engine = project.engine(Arc::new(store.clone()), args.drive.allow_shell, Drive::Own, Some(sink));
    let mut driven = Vec::new();
    for run in &runs {
        match engine.handle(run.clone()).load().await {
            Ok(loaded) => {
                project.can_go_on(&loaded, None, args.drive.allow_shell)?;
                driven.push(run);
            }
            // One that cannot be read holds nobody up.
            Err(why) => left_alone(project, run, &why),
        }
    }
    for run in &driven {
        if !engine.drive(run).await?
            && let Some(held) = store.holder(run).await?
        {
            project.output.progress(&format!("{run}  {}; it goes on here when that ends", holder::sentence(&held)));
            project.output.line(&json::held(run, &held));
        }
    }
    let last = loop {
        // What cannot be driven after all, because its journal is damaged, say.
        for (run, why) in engine.left_alone() {
            if driven.contains(&&run) {
                left_alone(project, &run, &why);
                driven.retain(|other| **other != run);
            }
        }
        let (mut now, mut asked) = (Vec::new(), false);
        for run in &driven {
            // Looked at first: what is taken in leaves the inbox together with the change of the row.
            let waits = !store.inbox(run).await?.is_empty();
            let summary = store.summary(run).await?;
            if waits && summary.as_ref().is_some_and(|summary| summary.state.is_final()) {
                engine.drive(run).await?; // nobody looks after it any more
            }
            asked |= waits;
            now.extend(summary);
        }
        if now.iter().all(rests) && !asked {
            break now;
        }
        tokio::select! {
            _ = interrupt.wish() => break now,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    };
    leave(&engine, &mut interrupt).await;
    list::print(project, &last);
    Ok(if driven.len() < runs.len() { Exit::Failed } else { worst(&last) })
}

/// Whether only somebody outside can move it on, or nobody any more.
fn rests(summary: &Summary) -> bool {
    match summary.state {
        RunState::Stuck | RunState::Paused | RunState::Waiting => summary.wake_at.is_none(),
        state => state.is_final(),
    }
}

/// The code that most wants to be looked at.
fn worst(all: &[Summary]) -> Exit {
    let found: Vec<Exit> = all.iter().map(|summary| Exit::of_run(summary.state)).collect();
    let order = [Exit::Stuck, Exit::Failed, Exit::Compensated, Exit::Cancelled, Exit::Left];
    order.into_iter().find(|exit| found.contains(exit)).unwrap_or(Exit::Success)
}
