//! `rollback`: an earlier revision is made current again.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::target::TargetExt as _;
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{check_keys, check_name, consents, happened, noted};
use super::input::{Problems, field, read};
use super::revise::{Done, Revised, revise, undo_revision};

/// Makes an earlier revision of a stack current again, and on compensation the one that was current before.
///
/// ```yaml
/// nodes:
///   back:
///     uses: rollback
///     with: { target: local, stack: shop, to: 3 }
/// ```
///
/// Without `to` it is the last revision before the current one that is another stack; it is chosen once, when the step
/// first looks. `stack` is the stack's name, or in a document also its file.
///
/// Output: `target`, `stack`, `from` (the revision that was current), `revision` (the new one), `changes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RollbackAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: StackName,
    target: TargetName,
    to: Option<u64>,
    #[serde(default)]
    allow_destroy: Vec<String>,
}

fn output(input: &Input, done: &Done) -> Value {
    json!({
        "target": input.target,
        "stack": input.stack,
        "from": done.was.base.revision,
        "revision": done.observed.latest().map(|revision| revision.number),
        "changes": done.changes,
    })
}

#[async_trait]
impl Action for RollbackAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Keyed
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = check_keys(input, &[], &["to", "allow_destroy"], check_name);
        if let Some(map) = input.as_object() {
            field(map, "to", &mut problems, |value| match value.as_u64() {
                Some(1..) => Ok(()),
                _ => Err("must be the number of a revision, 1 or more".to_owned()),
            });
        }
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = target.observe(&tcx, &input.stack).await?;
        let plan = async || target.plan_rollback(&tcx, &input.stack, input.to).await;
        let done = revise(cx, &*target, &tcx, observed, plan).await?;
        Ok(Outcome::Done(output(&input, &done)))
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        let input: Input = read(input.clone())?;
        let Some(was) = noted::<Revised>(cx)? else { return Ok(Seen::DidNot) };
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = cx.target(&input.target)?.observe(&tcx, &input.stack).await?;
        Ok(match happened(&observed, tcx.key(), &was.wanted) {
            true => Seen::Happened(output(&input, &Done { was, observed, changes: Vec::new() })),
            false => Seen::DidNot,
        })
    }

    async fn compensate(&self, cx: &StepContext, input: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        let input: Input = read(input.clone())?;
        undo_revision(cx, &cx.target_context(consents(&input.allow_destroy)), &input.target).await
    }
}
