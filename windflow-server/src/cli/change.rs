//! `windflow rollback`, `destroy`, `scale` and `restart`: plans made from what is there.

use windflow_core::RunId;
use windflow_core::target::{Desired, Plan, PlanError, TargetExt as _};

use super::apply::{Asked, carry_out};
use super::args_stack::{ConsentArgs, DestroyArgs, RestartArgs, RollbackArgs, ScaleArgs, StackArgs};
use super::place::Place;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wire::Project;

/// What is to be planned.
enum Change<'a> {
    Rollback(Option<u64>),
    Destroy,
    Scale(&'a (windflow_core::ServiceName, u32)),
    Restart(Option<&'a windflow_core::ServiceName>),
}

/// Makes an earlier revision current again.
pub async fn rollback(project: &Project, args: &RollbackArgs) -> Result<Exit, Failure> {
    change(project, &args.on, &args.consent, args.yes, Change::Rollback(args.to)).await
}

/// Takes a stack down.
pub async fn destroy(project: &Project, args: &DestroyArgs) -> Result<Exit, Failure> {
    change(project, &args.on, &args.consent, args.yes, Change::Destroy).await
}

/// Changes how many instances of a service run.
pub async fn scale(project: &Project, args: &ScaleArgs) -> Result<Exit, Failure> {
    change(project, &args.on, &ConsentArgs::default(), args.yes, Change::Scale(&args.to)).await
}

/// Starts services anew.
pub async fn restart(project: &Project, args: &RestartArgs) -> Result<Exit, Failure> {
    let change_to = Change::Restart(args.service.as_ref());
    change(project, &args.on, &ConsentArgs::default(), args.yes, change_to).await
}

async fn change(
    project: &Project,
    on: &StackArgs,
    consent: &ConsentArgs,
    yes: bool,
    change: Change<'_>,
) -> Result<Exit, Failure> {
    let Place { named, target, call, mut interrupt } = Place::find(project, on, consent).await?;
    let name = named.name();
    let action = match change {
        Change::Rollback(_) => "rollback",
        Change::Destroy => "destroy",
        Change::Scale(_) => "scale",
        Change::Restart(_) => "restart",
    };
    let work = async {
        Ok::<Plan, PlanError>(match change {
            Change::Rollback(to) => target.plan_rollback(&call.cx, name, to).await?,
            Change::Destroy => target.plan_for(&call.cx, &Desired::Absent(name.clone())).await?,
            Change::Scale((service, number)) => target.plan_scale(&call.cx, name, service, *number).await?,
            Change::Restart(service) => {
                // A new word in the restart label is what makes it another revision.
                let nonce = RunId::generate();
                target.plan_restart(&call.cx, name, service, nonce.as_str()).await?
            }
        })
    };
    let plan = call.run(project, &mut interrupt, work).await?;
    carry_out(project, &call, &mut interrupt, &*target, &plan, Asked { action, yes }).await
}
