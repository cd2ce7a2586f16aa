//! `windflow resume`.

use std::sync::Arc;

use serde_json::json;
use windflow_core::engine::Drive;
use windflow_core::store::{Kinship, RunQuery};
use windflow_core::{Namespace, Request, RunId, RunState, Store, Summary};
use windflow_workflow::SqliteStore;

use super::args::ResumeArgs;
use super::{background, list, resume_all};
use crate::drive::{Bell, Tail, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::wire::Project;

/// Goes on with one run, or with all that are unfinished.
pub async fn resume(project: &Project, args: ResumeArgs) -> Result<Exit, Failure> {
    if args.drive.background {
        background::leave_session();
    }
    let store = project.store_with_runs().await?;
    if args.all {
        let mut open = unfinished(&store).await?;
        // Oldest first, as they were started.
        open.reverse();
        if open.is_empty() {
            return Ok(none(project));
        }
        return resume_all::all(project, &store, open, &args).await;
    }
    let id = match args.id {
        Some(id) => id,
        None => {
            let mut open = unfinished(&store).await?;
            match (open.pop(), open.is_empty()) {
                (Some(only), true) => only.run,
                (None, _) => return Ok(none(project)),
                (Some(newest_last), false) => {
                    open.push(newest_last);
                    list::print(project, &open);
                    return Err(
                        Failure::usage("several runs are unfinished").hint("name one of them, or go on with --all")
                    );
                }
            }
        }
    };
    if args.detach {
        let current = store.summary(&id).await?;
        let current = current.ok_or_else(|| Failure::from(windflow_core::WaitError::NotFound { run: id.clone() }))?;
        if !current.state.is_final() || takes_up(Arc::new(store.clone()), &id).await? {
            background::check(project, &id, None, args.drive.allow_shell).await?;
            return background::resume(project, &id, args.drive.allow_shell);
        }
    }
    drive(project, Arc::new(store), &id, args.drive.allow_shell, None, "resuming").await
}

fn none(project: &Project) -> Exit {
    project.output.text("there is no unfinished run");
    project.output.document(&json!({ "version": 1, "kind": "runs", "runs": [] }));
    Exit::Success
}

/// The runs that are not over, newest first; and those that are, and were asked something that moves them on again.
pub async fn unfinished(store: &SqliteStore) -> Result<Vec<Summary>, Failure> {
    let states = RunState::ALL.into_iter().filter(|state| !state.is_final()).collect();
    let mut all = Vec::new();
    loop {
        let before = all.last().map(|summary: &Summary| summary.run.clone());
        let query = RunQuery {
            states: Vec::clone(&states),
            before,
            limit: 500,
            kinship: Kinship::Roots,
            ..RunQuery::default()
        };
        let page = store.list(&query).await?;
        let last = page.len() < 500;
        all.extend(page);
        if last {
            break;
        }
    }
    for run in store.asked(&Namespace::default(), 10_000).await? {
        if let Some(summary) = store.summary(&run).await?.filter(|summary| summary.state.is_final())
            // One that cannot be read is left to whoever names it.
            && takes_up(Arc::new(store.clone()), &run).await.unwrap_or(false)
        {
            all.push(summary);
        }
    }
    Ok(all)
}

/// Whether something was asked of a run, and not taken in yet, that it can still take up: of one that is over, most cannot.
async fn takes_up(store: Arc<dyn Store>, id: &RunId) -> Result<bool, Failure> {
    let asked = store.inbox(id).await?;
    if asked.is_empty() {
        return Ok(false);
    }
    let run = Tail::read(store, id).await?;
    Ok(asked.iter().any(|entry| run.may(&entry.submission.request, &entry.submission.principal).is_ok()))
}

/// Asks something of a run if that is wanted, and drives it to where it stops by itself; a run that another process
/// drives is followed. A paused run goes on when it is named.
pub async fn drive(
    project: &Project,
    store: Arc<dyn Store>,
    id: &RunId,
    allow_shell: bool,
    request: Option<Request>,
    verb: &'static str,
) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let bell = Arc::new(Bell::default());
    let sink = Arc::clone(&bell);
    let engine = project.engine(store, allow_shell, Drive::Own, Some(sink));
    let handle = engine.handle(id.clone());
    let current = handle.summary().await?;
    let from = current.seq;
    // Somebody may have asked for something and left it to whoever drives the run next.
    let waiting = match current.state.is_final() {
        true => takes_up(Arc::clone(engine.store()), id).await?,
        false => !engine.store().inbox(id).await?.is_empty(),
    };
    let over = current.state.is_final() && request.is_none() && !waiting;
    let request = request.or_else(|| (current.state == RunState::Paused).then_some(Request::Resume));
    let asked = request.is_some() || waiting;
    if !over {
        project.can_go_on(&handle.load().await?, request.as_ref(), allow_shell)?;
    }
    if let Some(request) = request {
        engine.submit(id, request, project.principal(), None).await?;
    }
    if !over {
        engine.drive(id).await?;
    }
    let watch = Watch { project, engine: &engine, bell: &bell, verb, from, over, asked };
    watch.to_end(id, &mut interrupt).await
}
