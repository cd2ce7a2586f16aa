//! `promote` and `abort`: what becomes of a revision that is staged.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windflow_core::target::{Applied, Consents, Desired, Observed, Promote, Stack};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{check_keys, check_name, note, noted, restore};
use super::input::{Problems, read};

/// Makes the revision that is baking current, and takes away the one that was kept beside it.
///
/// ```yaml
/// nodes:
///   go:
///     uses: promote
///     with: { target: engine, stack: shop }
/// ```
///
/// Where nothing is baking there is nothing to do, and the step succeeds. What has lost its health is not promoted but taken
/// back, and the step fails for good. On compensation the revision that was kept is made current again. `stack` is the
/// stack's name, or in a document also its file.
///
/// Output: `target`, `stack`, `revision` (the current one), `promoted` (whether there was something to promote).
#[derive(Debug, Clone, Copy, Default)]
pub struct PromoteAction;

/// Takes back the revision that is baking: the one kept beside it gets the traffic again.
///
/// ```yaml
/// nodes:
///   back:
///     uses: abort
///     with: { target: engine, stack: shop }
/// ```
///
/// Where nothing is baking there is nothing to do, and the step succeeds. It is not undone. `stack` is the stack's name, or
/// in a document also its file.
///
/// Output: `target`, `stack`, `revision` (the current one), `aborted` (whether there was something to abort).
#[derive(Debug, Clone, Copy, Default)]
pub struct AbortAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: StackName,
    target: TargetName,
}

/// What is durable before the first change.
#[derive(Clone, Serialize, Deserialize)]
struct Decided {
    /// The revision that was staged; none when nothing was.
    staged: Option<u64>,
    /// The revision that was kept, and its stack.
    kept: Option<u64>,
    stack: Option<Stack>,
}

impl Decided {
    fn on(observed: &Observed) -> Self {
        let kept = observed.current.as_ref().filter(|_| observed.staged.is_some());
        Self {
            staged: observed.staged.as_ref().map(|staged| staged.number),
            kept: kept.map(|kept| kept.number),
            stack: kept.map(|kept| kept.stack.clone()),
        }
    }

    /// The revision that is current when it was done.
    fn goal(&self, verdict: Promote) -> Option<u64> {
        match verdict {
            Promote::Promote => self.staged,
            Promote::Abort => self.kept,
        }
    }

    fn is_done(&self, observed: &Observed, verdict: Promote) -> bool {
        let current = observed.current.as_ref().map(|current| current.number);
        observed.staged.is_none() && (self.staged.is_none() || current == self.goal(verdict))
    }
}

fn output(input: &Input, observed: &Observed, decided: &Decided, verdict: Promote) -> Value {
    let word = if verdict == Promote::Promote { "promoted" } else { "aborted" };
    json!({
        "target": input.target,
        "stack": input.stack,
        "revision": observed.current.as_ref().map(|revision| revision.number),
        word: decided.staged.is_some(),
    })
}

async fn decide(cx: &StepContext, input: Value, verdict: Promote) -> Result<Outcome, StepError> {
    let input: Input = read(input)?;
    let (target, tcx) = (cx.target(&input.target)?, cx.target_context(Consents::none()));
    let decided = match noted::<Decided>(cx)? {
        Some(decided) => decided,
        None => {
            let decided = Decided::on(&target.observe(&tcx, &input.stack).await?);
            note(cx, &decided).await?;
            decided
        }
    };
    let applied = target.promote(&tcx, &input.stack, verdict).await?;
    let place = format!("{}/{}", input.target, input.stack);
    if let Applied::RolledBack { why, .. } = applied {
        return Err(StepError::terminal("deploy.rolled_back", format_args!("{place} was not promoted: {why}")));
    }
    let observed = target.observe(&tcx, &input.stack).await?;
    if !decided.is_done(&observed, verdict) {
        let number = decided.staged.unwrap_or_default();
        let what = format_args!("somebody else has decided about revision {number} of {place} in the meantime");
        return Err(StepError::terminal("target.conflict", what));
    }
    Ok(Outcome::Done(output(&input, &observed, &decided, verdict)))
}

async fn look(cx: &StepContext, input: &Value, verdict: Promote) -> Result<Seen, StepError> {
    let input: Input = read(input.clone())?;
    let Some(decided) = noted::<Decided>(cx)? else { return Ok(Seen::DidNot) };
    let tcx = cx.target_context(Consents::none());
    let observed = cx.target(&input.target)?.observe(&tcx, &input.stack).await?;
    Ok(match decided.is_done(&observed, verdict) {
        true => Seen::Happened(output(&input, &observed, &decided, verdict)),
        false => Seen::DidNot,
    })
}

#[async_trait]
impl Action for PromoteAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, input: &Value) -> Problems {
        check_keys(input, &[], &[], check_name)
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        decide(cx, input, Promote::Promote).await
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        look(cx, input, Promote::Promote).await
    }

    async fn compensate(&self, cx: &StepContext, input: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        let input: Input = read(input.clone())?;
        let Some(Decided { staged: Some(staged), stack: Some(kept), .. }) = noted(cx)? else {
            return Ok(Undone::NothingToUndo);
        };
        let (target, tcx) = (cx.target(&input.target)?, cx.target_context(Consents::none()));
        let ours = |observed: &Observed| observed.latest().is_some_and(|latest| latest.number == staged);
        restore(&*target, &tcx, Desired::Present(kept), ours).await
    }
}

#[async_trait]
impl Action for AbortAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Convergent
    }

    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }

    fn check(&self, input: &Value) -> Problems {
        check_keys(input, &[], &[], check_name)
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        decide(cx, input, Promote::Abort).await
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        look(cx, input, Promote::Abort).await
    }

    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
