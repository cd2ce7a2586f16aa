//! `wait_healthy`: goes on when a stack is healthy.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::target::{Consents, Observed, TargetExt as _};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{check_keys, check_name, endpoints, is_ready};
use super::input::{Problems, read};

/// Waits until every service of a stack is healthy, or one is known never to be.
///
/// ```yaml
/// nodes:
///   up:
///     uses: wait_healthy
///     timeout: 2m
///     with: { target: local, stack: shop }
/// ```
///
/// A stack that is not there yet is waited for: give the node a `timeout`. `stack` is the stack's name, or in a document
/// also its file.
///
/// Output: `target`, `stack`, `revision`, `endpoints`.
#[derive(Debug, Clone, Copy, Default)]
pub struct WaitHealthyAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: StackName,
    target: TargetName,
}

fn output(input: &Input, observed: &Observed) -> Value {
    json!({
        "target": input.target,
        "stack": input.stack,
        "revision": observed.current.as_ref().map(|revision| revision.number),
        "endpoints": endpoints(observed),
    })
}

#[async_trait]
impl Action for WaitHealthyAction {
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
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let observed = target.wait_healthy(&cx.target_context(Consents::none()), &input.stack).await?;
        Ok(Outcome::Done(output(&input, &observed)))
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        let input: Input = read(input.clone())?;
        let tcx = cx.target_context(Consents::none());
        let observed = cx.target(&input.target)?.observe(&tcx, &input.stack).await?;
        Ok(match !observed.services.is_empty() && is_ready(&observed) {
            true => Seen::Happened(output(&input, &observed)),
            false => Seen::DidNot,
        })
    }

    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
