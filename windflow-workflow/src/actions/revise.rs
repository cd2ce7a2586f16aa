//! What `scale` and `rollback` share: another version of a stack that is deployed, chosen once and made durable.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windflow_core::target::{Applied, Context, Desired, Observed, Plan, Stack, Target};
use windflow_core::{StepContext, StepError, TargetName, Undone};

use super::deploy::{changes, counted, happened, note, noted, undo};
use super::trail::Base;

/// What is durable before the first change.
#[derive(Serialize, Deserialize)]
pub(super) struct Revised {
    /// What was there before.
    pub base: Base,
    /// What should be there; chosen once, since what "the one before" is changes with the change.
    pub wanted: Stack,
}

/// How a revised stack is.
pub(super) struct Done {
    pub was: Revised,
    pub observed: Observed,
    pub changes: Vec<Value>,
}

/// Makes what `plan` wants current, or goes on with what an earlier attempt has begun.
pub(super) async fn revise(
    cx: &StepContext,
    target: &dyn Target,
    tcx: &Context,
    observed: Observed,
    plan: impl AsyncFnOnce() -> Result<Plan, windflow_core::target::PlanError>,
) -> Result<Done, StepError> {
    let (was, plan) = match noted::<Revised>(cx)? {
        Some(was) => {
            if happened(&observed, tcx.key(), &was.wanted) {
                return Ok(Done { was, observed, changes: Vec::new() });
            }
            let plan = target.plan(tcx, &Desired::Present(was.wanted.clone()), &observed).await?;
            (was, plan)
        }
        None => {
            let plan = plan().await?;
            let Desired::Present(wanted) = &plan.desired else {
                return Err(StepError::terminal("input", "the stack would be taken down"));
            };
            let base = Base::new(tcx.key(), &plan, &observed, target.name());
            let was = Revised { base, wanted: wanted.clone() };
            note(cx, &was).await?;
            (was, plan)
        }
    };
    let name = was.wanted.name.clone();
    cx.progress(&format!("{}: {} to {name}", target.name(), counted(&plan)));
    match target.apply(tcx, &plan).await? {
        Applied::Revision(_) | Applied::Staged { .. } | Applied::Nothing => {
            let observed = target.observe(tcx, &name).await?;
            Ok(Done { was, observed, changes: changes(&plan) })
        }
        Applied::RolledBack { why, .. } => {
            let what = format_args!("{}/{name} went back to what it was: {why}", target.name());
            Err(StepError::terminal("deploy.rolled_back", what))
        }
    }
}

/// Makes current again what was there before.
pub(super) async fn undo_revision(cx: &StepContext, tcx: &Context, target: &TargetName) -> Result<Undone, StepError> {
    match noted::<Revised>(cx)? {
        Some(was) => undo(cx, tcx, target, &was.wanted.name, &was.base).await,
        None => Ok(Undone::NothingToUndo),
    }
}
