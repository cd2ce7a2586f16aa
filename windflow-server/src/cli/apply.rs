//! `windflow apply`, and what every command that changes a stack does once it has a plan.

use std::path::Path;

use windflow_core::target::{Applied, Plan, Target};

use super::args_stack::{ApplyArgs, StackArgs, TargetArgs};
use super::place::{Call, Place, agreed, of_others, target};
use super::plan::{self, PlanFile};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::{plan as shown, status};
use crate::wire::Project;

/// Makes a stack so.
pub async fn apply(project: &Project, args: &ApplyArgs) -> Result<Exit, Failure> {
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
        return carry_out(project, &call, &mut interrupt, &*target, &plan, args.yes).await;
    }
    let on = StackArgs { stack: args.stack.clone().unwrap_or_default(), target: args.target.clone() };
    let place = Place::find(project, &on, &args.consent).await?;
    let Place { named, target, call, mut interrupt } = place;
    let plan = call.run(project, &mut interrupt, plan::of(&*target, &call.cx, &named)).await?;
    if plan.base.is_none() {
        for owner in of_others(&*target, &call, named.name()).await {
            let what = format!("note: owner '{owner}' has a stack of this name there; this is another, beside it");
            project.output.progress(&what);
        }
    }
    carry_out(project, &call, &mut interrupt, &*target, &plan, args.yes).await
}

/// Shows a plan, asks, applies it, and says what came of it.
pub async fn carry_out(
    project: &Project,
    call: &Call,
    interrupt: &mut Interrupt,
    target: &dyn Target,
    plan: &Plan,
    yes: bool,
) -> Result<Exit, Failure> {
    let output = &project.output;
    let stack = plan.desired.stack();
    if !output.json() {
        shown::print(output, plan);
    }
    if plan.is_empty() {
        output.document(&shown::applied(plan, &Applied::Nothing));
        return Ok(Exit::Success);
    }
    let question = format!("\nApply this to stack '{stack}' on target '{}'?", plan.target);
    if !agreed(project, interrupt, yes, &question).await? {
        output.text("nothing was changed");
        return Ok(Exit::Cancelled);
    }
    let applied = call.run(project, interrupt, target.apply(&call.cx, plan)).await?;
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
            Ok(Exit::Success)
        }
        Applied::Revision(Some(number)) => {
            output.text(format!("stack '{stack}' is at revision {number} on target '{}'", plan.target));
            let observed = call.run(project, interrupt, target.observe(&call.cx, stack)).await?;
            status::services(output, &observed);
            Ok(Exit::Success)
        }
        Applied::Nothing => {
            output.text("there was nothing to do");
            Ok(Exit::Success)
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
