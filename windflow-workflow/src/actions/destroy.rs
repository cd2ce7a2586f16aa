//! `destroy`: takes a stack down.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windflow_core::target::{Applied, Desired, Stack};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{changes, check_keys, check_name, consents, counted, note, noted, restore};
use super::input::{Problems, read};

/// Takes a stack down, and on compensation applies its last revision again.
///
/// ```yaml
/// nodes:
///   gone:
///     uses: destroy
///     with: { target: local, stack: shop, allow_destroy: [volume] }
/// ```
///
/// `stack` is the stack's name, or in a document also its file.
///
/// Output: `target`, `stack`, `revision` (the last one, or null), `changes`. Data that was destroyed is not brought
/// back by a compensation; therefore it needs `allow_destroy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DestroyAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: StackName,
    target: TargetName,
    #[serde(default)]
    allow_destroy: Vec<String>,
}

/// What is durable before the first change.
#[derive(Serialize, Deserialize)]
struct Last {
    revision: Option<u64>,
    stack: Option<Stack>,
}

#[async_trait]
impl Action for DestroyAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, input: &Value) -> Problems {
        check_keys(input, &[], &["allow_destroy"], check_name)
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = target.observe(&tcx, &input.stack).await?;
        let plan = target.plan(&tcx, &Desired::Absent(input.stack.clone()), &observed).await?;
        let last = match noted::<Last>(cx)? {
            Some(last) => last,
            None => {
                let current = observed.current.as_ref();
                let stack = match current {
                    // What it had may be gone already: then its names are all there is.
                    Some(now) => Some(target.stack_of(&tcx, now).await.unwrap_or_else(|_| now.stack.clone())),
                    None => None,
                };
                let last = Last { revision: current.map(|revision| revision.number), stack };
                note(cx, &last).await?;
                last
            }
        };
        cx.progress(&format!("{}: {} to {}", input.target, counted(&plan), input.stack));
        if let Applied::RolledBack { why, .. } = target.apply(&tcx, &plan).await? {
            let what = format_args!("{}/{} was not taken down: {why}", input.target, input.stack);
            return Err(StepError::terminal("destroy.rolled_back", what));
        }
        Ok(Outcome::Done(json!({
            "target": input.target,
            "stack": input.stack,
            "revision": last.revision,
            "changes": changes(&plan),
        })))
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        let input: Input = read(input.clone())?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = cx.target(&input.target)?.observe(&tcx, &input.stack).await?;
        let Some(last) = noted::<Last>(cx)? else { return Ok(Seen::DidNot) };
        Ok(match observed.is_absent() {
            true => Seen::Happened(json!({
                "target": input.target, "stack": input.stack, "revision": last.revision, "changes": [],
            })),
            false => Seen::DidNot,
        })
    }

    async fn compensate(&self, cx: &StepContext, input: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        let last = noted::<Last>(cx)?;
        let Some((revision, stack)) = last.and_then(|last| Some((last.revision, last.stack?))) else {
            return Ok(Undone::NothingToUndo);
        };
        let input: Input = read(input.clone())?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let this_run = format!("{}/", cx.run_id());
        restore(&*target, &tcx, Desired::Present(stack), |observed| match &observed.current {
            Some(current) => Some(current.number) == revision || current.key.starts_with(&this_run),
            None => true,
        })
        .await
    }
}
