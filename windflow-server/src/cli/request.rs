//! What is asked of a run, whoever drives it: `windflow runs cancel`, `retry`, `approve` and the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windflow_core::engine::Drive;
use windflow_core::run::{Resolution, Run, StepState};
use windflow_core::{NodeName, Request, RunId, RunState, Store as _};
use windflow_workflow::actions::ApproveAction;

use super::args_runs::{AgainArgs, ApproveArgs, ReasonArgs, ResolveArgs, RetryArgs, SignalArgs};
use super::{background, resume};
use crate::drive::Tail;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{holder, report};
use crate::wire::Project;

/// How long whoever drives a run may take to notice that something was asked.
const NOTICE: Duration = Duration::from_secs(1);

/// Puts a request into the run's inbox. Whoever drives the run takes it in; if nobody does, says how it goes on.
async fn ask(project: &Project, id: &RunId, request: Request, done: &str) -> Result<Exit, Failure> {
    ask_once(project, id, request, done, None).await
}

/// As [`ask`]; a second request under one key is refused, because only the first counts.
async fn ask_once(
    project: &Project,
    id: &RunId,
    request: Request,
    done: &str,
    key: Option<String>,
) -> Result<Exit, Failure> {
    let store = Arc::new(project.store_with_runs().await?);
    let engine = project.engine(Arc::clone(&store) as _, false, Drive::Own, None);
    let name = request.name();
    let asked = engine.submit(id, request, project.principal(), key).await;
    engine.shutdown().await;
    if asked?.duplicate {
        return Err(Failure::failed(format_args!("run {id}: that was answered already"))
            .hint(format!("how it is: windflow runs show {id}")));
    }
    let patience = Instant::now();
    let mut taken = store.inbox(id).await?.is_empty();
    while !taken && patience.elapsed() < NOTICE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        taken = store.inbox(id).await?.is_empty();
    }
    let held = if taken { None } else { store.holder(id).await? };
    let by = held.as_ref().map(holder::json);
    let asked = json!({ "version": 1, "kind": "asked", "run": id, "request": name, "taken": taken, "held": by });
    project.output.document(&asked);
    project.output.text(format!("run {id}: {done}"));
    if !taken {
        // A process that is stopped holds on to its run until its lease ends.
        let how = match &held {
            Some(held) => format!("not taken in yet: {}", holder::sentence(held)),
            None => "nobody drives it now".to_owned(),
        };
        // Whoever drives the run that has started it drives it, too.
        let mut root = id.clone();
        while let Some(parent) = store.summary(&root).await?.and_then(|summary| summary.parent) {
            root = parent;
        }
        let run = Tail::read(store, &root).await?;
        let resume = report::driving(&run, &format!("windflow resume {root}"));
        project.output.text(format!("{how}\nnext:\n  {resume}    # drive it"));
    }
    Ok(Exit::Success)
}

/// Puts a request to a run that would rest, and drives it.
async fn ask_and_drive(
    project: &Project,
    id: &RunId,
    request: Request,
    detach: bool,
    allow_shell: bool,
) -> Result<Exit, Failure> {
    let store = project.store_with_runs().await?;
    if detach {
        background::check(project, id, Some(&request), allow_shell).await?;
        let engine = project.engine(Arc::new(store), allow_shell, Drive::Own, None);
        let asked = engine.submit(id, request, project.principal(), None).await;
        engine.shutdown().await;
        asked?;
        return background::resume(project, id, allow_shell);
    }
    resume::drive(project, Arc::new(store), id, allow_shell, Some(request), "going on with").await
}

/// Undoes a run.
pub async fn cancel(project: &Project, args: ReasonArgs) -> Result<Exit, Failure> {
    ask(project, &args.id, Request::Cancel { reason: args.reason }, "asked to cancel").await
}

/// Ends a run at once.
pub async fn terminate(project: &Project, args: ReasonArgs) -> Result<Exit, Failure> {
    ask(project, &args.id, Request::Terminate { reason: args.reason }, "asked to terminate").await
}

/// Pauses a run.
pub async fn pause(project: &Project, args: ReasonArgs) -> Result<Exit, Failure> {
    ask(project, &args.id, Request::Pause { reason: args.reason }, "asked to pause").await
}

/// Ends a stuck run as failed. That is decided at once, so it is done here.
pub async fn give_up(project: &Project, args: ReasonArgs) -> Result<Exit, Failure> {
    // Nothing runs any more, so that nothing has to be allowed.
    ask_and_drive(project, &args.id, Request::GiveUp { reason: args.reason }, false, true).await
}

/// Tries what failed again.
pub async fn retry(project: &Project, args: RetryArgs) -> Result<Exit, Failure> {
    let request = Request::Retry { inputs: args.input.into_iter().collect() };
    ask_and_drive(project, &args.id, request, args.detach, args.drive.allow_shell).await
}

/// Undoes a run that has failed.
pub async fn compensate(project: &Project, args: AgainArgs) -> Result<Exit, Failure> {
    ask_and_drive(project, &args.id, Request::Compensate, args.detach, args.drive.allow_shell).await
}

/// Decides about a step.
pub async fn resolve(project: &Project, args: ResolveArgs) -> Result<Exit, Failure> {
    let resolution = match args.happened {
        Some(output) => Resolution::Happened { output },
        None if args.did_not => Resolution::DidNot,
        None if args.fail => Resolution::Fail,
        None => Resolution::Undone,
    };
    let run = load(project, &args.id).await?;
    if run.workflow().find(args.node.as_str()).is_none() {
        return Err(Failure::usage(format_args!("run {}: there is no node '{}'", args.id, args.node))
            .hint(format!("its nodes: windflow runs show {}", args.id)));
    }
    let request = Request::Resolve { node: args.node, resolution, reason: args.reason };
    ask_and_drive(project, &args.id, request, args.detach, args.drive.allow_shell).await
}

/// Sends a signal.
pub async fn signal(project: &Project, args: SignalArgs) -> Result<Exit, Failure> {
    let payload = serde_json::from_str(&args.payload).unwrap_or(Value::String(args.payload));
    let done = format!("signal {} is sent", args.name);
    ask(project, &args.id, Request::Signal { name: args.name, payload }, &done).await
}

/// Says yes or no to a step that waits for it.
pub async fn approve(project: &Project, args: ApproveArgs) -> Result<Exit, Failure> {
    let node = match args.node {
        Some(node) => known(project, &args.id, node).await?,
        None => only_waiting(project, &args.id).await?,
    };
    let name = ApproveAction::signal(&node).map_err(Failure::usage)?;
    let decision = if args.reject { "reject" } else { "approve" };
    let payload = json!({ "decision": decision, "comment": args.comment });
    let done = format!("{node} is {}", if args.reject { "rejected" } else { "approved" });
    // One answer for each time the step asks; a later attempt may ask again.
    let run = load(project, &args.id).await?;
    let attempt = run.workflow().find(node.as_str()).map_or(0, |at| run.step(at).attempt);
    let key = format!("approve:{node}:{attempt}");
    ask_once(project, &args.id, Request::Signal { name, payload }, &done, Some(key)).await
}

async fn load(project: &Project, id: &RunId) -> Result<Run, Failure> {
    Tail::read(Arc::new(project.store_with_runs().await?), id).await
}

/// A node that waits for approval, or will.
async fn known(project: &Project, id: &RunId, node: NodeName) -> Result<NodeName, Failure> {
    let run = load(project, id).await?;
    let plan = run.workflow();
    let approves = |at: &windflow_core::NodeIndex| plan.node(*at).uses.as_str() == "approve";
    if plan.find(node.as_str()).is_some_and(|at| approves(&at)) {
        return Ok(node);
    }
    let all: Vec<&str> = plan.indices().filter(approves).map(|at| plan.node(at).name.as_str()).collect();
    let hint = if all.is_empty() {
        "the workflow has no approvals".to_owned()
    } else {
        format!("approvals: {}", all.join(", "))
    };
    Err(Failure::usage(format_args!("'{node}' is no approval of run {id}")).hint(hint))
}

async fn only_waiting(project: &Project, id: &RunId) -> Result<NodeName, Failure> {
    let run = load(project, id).await?;
    let waits = run
        .workflow()
        .indices()
        .filter(|at| run.step(*at).state == StepState::Parked && run.workflow().node(*at).uses.as_str() == "approve");
    let waiting: Vec<NodeName> = waits.map(|at| run.step(at).name.clone()).collect();
    match waiting.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            let what = if run.state() == RunState::Waiting { "for an approval" } else { "for anything" };
            Err(Failure::failed(format_args!("run {id} does not wait {what}"))
                .hint(format!("how it is: windflow runs show {id}")))
        }
        several => {
            let names: Vec<&str> = several.iter().map(NodeName::as_str).collect();
            Err(Failure::usage(format_args!("several nodes wait for approval: {}", names.join(", ")))
                .hint("name one of them"))
        }
    }
}
