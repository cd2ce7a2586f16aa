//! `windflow apply`, and what every command that changes a stack does once it has a plan.

use std::path::Path;

use serde_json::json;
use windflow_core::target::{Applied, Plan, Target, TargetError, TargetErrorKind};
use windflow_workflow::deployments::DeploymentEventType;

use super::args_stack::{ApplyArgs, StackArgs, TargetArgs};
use super::place::{Call, Place, agreed, of_others, target};
use super::plan::{self, PlanFile};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::{plan as shown, status};
use crate::stack_events::Change;
use crate::wire::Project;

/// Makes a stack so.
pub async fn apply(project: &Project, args: &ApplyArgs) -> Result<Exit, Failure> {
    let asked = Asked { action: "apply", yes: args.yes };
    if let Some(path) = &args.plan {
        let (call, mut interrupt) = (Call::new(project, &args.consent), Interrupt::listen()?);
        let plan = read(&project.process.working_dir.join(path))?;
        let named = TargetArgs { target: Some(args.target.target.clone().unwrap_or_else(|| plan.target.clone())) };
        let target = target(project, &named)?;
        if plan.owner != project.config.owner {
            let message =
                format_args!("the plan is of owner '{}', and this project's is '{}'", plan.owner, project.config.owner);
            return Err(Failure::usage(message).hint("plan again here"));
        }
        if plan.target != *target.name() {
            return Err(Failure::usage(format_args!("the plan is for target '{}'", plan.target)).hint("plan again"));
        }
        return carry_out(project, &call, &mut interrupt, &*target, &plan, asked).await;
    }
    let (stack, files) = (args.stack.clone().unwrap_or_default(), args.files.clone());
    let on = StackArgs { stack, files, target: args.target.clone() };
    let place = Place::find(project, &on, &args.consent).await?;
    let Place { named, target, call, mut interrupt } = place;
    let plan = call.run(project, &mut interrupt, plan::of(&*target, &call.cx, &named)).await?;
    if plan.base.is_none() {
        for owner in of_others(&*target, &call, named.name()).await {
            let what = format!("note: owner '{owner}' has a stack of this name there; this is another, beside it");
            project.output.progress(&what);
        }
    }
    carry_out(project, &call, &mut interrupt, &*target, &plan, asked).await
}

/// Shows a plan, asks, applies it, and says what came of it.
pub async fn carry_out(
    project: &Project,
    call: &Call,
    interrupt: &mut Interrupt,
    target: &dyn Target,
    plan: &Plan,
    asked: Asked,
) -> Result<Exit, Failure> {
    let output = &project.output;
    let stack = plan.desired.stack();
    if !output.json() {
        shown::print(output, plan);
    }
    let change = call.change(project, asked.action, &plan.target, stack);
    let applied = match (plan.is_empty(), plan.unfinished) {
        // What changes nothing tells nothing.
        (true, false) => Applied::Nothing,
        // Nobody is asked: it only ends what one that was killed has left.
        (true, true) => call.run(project, interrupt, target.apply(&call.cx, plan)).await?,
        (false, _) => {
            let question = format!("\nApply this to stack '{stack}' on target '{}'?", plan.target);
            if !agreed(project, interrupt, asked.yes, &question).await? {
                output.text("nothing was changed");
                return Ok(Exit::Cancelled);
            }
            told(project, change, interrupt, call, target.apply(&call.cx, plan)).await?
        }
    };
    if !plan.is_empty() || applied != Applied::Nothing {
        tell_end(&change, call, &applied);
    }
    output.document(&shown::applied(plan, &applied));
    match &applied {
        Applied::RolledBack { to, why } => {
            // Logs are kept only of what is there.
            let (after, hint) = match to {
                Some(to) => (
                    format!("revision {to} is current again"),
                    format!("what runs now: windflow status {stack} --target {}", plan.target),
                ),
                None => (
                    "nothing is there, as before".to_owned(),
                    "the reason above has its last lines; put it right and apply again".to_owned(),
                ),
            };
            Err(Failure::failed(format_args!("stack '{stack}' did not come up: {why}; {after}")).hint(hint))
        }
        Applied::Revision(None) => {
            output.text(format!("stack '{stack}' is gone from target '{}'", plan.target));
            // Only worth a word: what was asked for is done.
            if let Ok(observed) = target.observe(&call.cx, stack).await {
                status::retained(output, stack, &plan.target, &observed);
            }
            Ok(Exit::Success)
        }
        Applied::Revision(Some(number)) => {
            output.text(format!("stack '{stack}' is at revision {number} on target '{}'", plan.target));
            let observed = call.run(project, interrupt, target.observe(&call.cx, stack)).await?;
            status::services(output, &observed);
            Ok(Exit::Success)
        }
        Applied::Staged { revision, kept } => {
            output.text(format!(
                "stack '{stack}' is baking on target '{}': revision {revision} has the traffic, revision {kept} is kept\n\
                 next:\n  windflow promote {stack} --target {0}    # or abort",
                plan.target
            ));
            let observed = call.run(project, interrupt, target.observe(&call.cx, stack)).await?;
            status::services(output, &observed);
            Ok(Exit::Success)
        }
        Applied::Nothing => {
            // The plan has said so already.
            if !plan.is_empty() {
                output.text("there was nothing to do");
            }
            Ok(Exit::Success)
        }
    }
}

/// What a person has asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The command's name.
    pub action: &'static str,
    /// Whether it is agreed to already.
    pub yes: bool,
}

/// Makes a change, and tells that it has begun, and why it has failed.
pub async fn told<T>(
    project: &Project,
    change: Change<'_>,
    interrupt: &mut Interrupt,
    call: &Call,
    work: impl Future<Output = Result<T, TargetError>>,
) -> Result<T, Failure> {
    change.tell(DeploymentEventType::Started, json!({ "attempt": 1 }));
    // Whoever is interrupted says so, and the target says nothing.
    let mut code = TargetErrorKind::Cancelled.code();
    let work = async { work.await.inspect_err(|error| code = error.kind.code()) };
    let done = call.run(project, interrupt, work).await;
    done.inspect_err(|failure| {
        let problem = call.cx.masker().mask(&failure.message);
        change.tell(DeploymentEventType::Failed, json!({ "code": code, "problem": problem }));
    })
}

/// Tells how a change has ended.
pub fn tell_end(change: &Change<'_>, call: &Call, applied: &Applied) {
    match applied {
        Applied::RolledBack { why, .. } => {
            let problem = call.cx.masker().mask(why);
            change.tell(DeploymentEventType::RolledBack, json!({ "why": "unhealthy", "problem": problem }));
            change.tell(DeploymentEventType::Failed, json!({ "code": "deploy.rolled_back", "problem": problem }));
        }
        Applied::Revision(None) => change.tell(DeploymentEventType::Destroyed, json!({})),
        Applied::Nothing if change.action == "destroy" => change.tell(DeploymentEventType::Destroyed, json!({})),
        Applied::Nothing => change.tell(DeploymentEventType::Healthy, json!({})),
        Applied::Revision(Some(number)) if matches!(change.action, "rollback" | "abort") => {
            let why = if change.action == "abort" { "aborted" } else { "rollback" };
            change.tell(DeploymentEventType::RolledBack, json!({ "why": why, "revision": number }));
        }
        Applied::Revision(Some(number)) => change.tell(DeploymentEventType::Healthy, json!({ "revision": number })),
        // It runs as wanted, beside what it may yet go back to.
        Applied::Staged { revision, kept } => {
            change.tell(DeploymentEventType::Healthy, json!({ "revision": revision, "beside": kept }));
        }
    }
}

fn read(path: &Path) -> Result<Plan, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))?;
    let not_a_plan = |error: serde_json::Error| {
        Failure::usage(format_args!("{}: is not a plan: {error}", path.display()))
            .hint("plans are written by `windflow plan --out FILE`")
    };
    let file: PlanFile = serde_json::from_slice(&bytes).map_err(not_a_plan)?;
    let plan = file.read().map_err(|why| {
        Failure::usage(format_args!("{}: {why}", path.display())).hint("change the stack, and plan again")
    })?;
    let plan: Plan = serde_json::from_value(plan).map_err(not_a_plan)?;
    if plan.version != Plan::VERSION {
        let message = format_args!(
            "{}: is a plan of version {}, and this command reads {}",
            path.display(),
            plan.version,
            Plan::VERSION
        );
        return Err(Failure::usage(message).hint("plan again"));
    }
    Ok(plan)
}
