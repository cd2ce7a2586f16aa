//! `scale`: another number of instances.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::target::TargetExt as _;
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, ServiceName, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{check_keys, check_name, consents, happened, noted};
use super::input::{Problems, field, read, text};
use super::revise::{Done, Revised, revise, undo_revision};

/// Runs another number of instances of one service of a stack that is deployed, and on compensation the former number.
///
/// ```yaml
/// nodes:
///   more:
///     uses: scale
///     with: { target: local, stack: shop, service: worker, replicas: 3 }
/// ```
///
/// `stack` is the stack's name, or in a document also its file.
///
/// Output: `target`, `stack`, `service`, `replicas`, `before`, `revision`, `changes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScaleAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: StackName,
    target: TargetName,
    service: ServiceName,
    replicas: u32,
    #[serde(default)]
    allow_destroy: Vec<String>,
}

fn output(input: &Input, done: &Done) -> Value {
    let before = done.was.base.stack.as_ref().and_then(|stack| stack.services.get(&input.service));
    json!({
        "target": input.target,
        "stack": input.stack,
        "service": input.service,
        "replicas": input.replicas,
        "before": before.map(|service| service.replicas.0),
        "revision": done.observed.current.as_ref().map(|revision| revision.number),
        "changes": done.changes,
    })
}

#[async_trait]
impl Action for ScaleAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Keyed
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems =
            check_keys(input, &["service", "replicas"], &["service", "replicas", "allow_destroy"], check_name);
        if let Some(map) = input.as_object() {
            field(map, "service", &mut problems, |value| {
                ServiceName::new(text(value)?).map(drop).map_err(|error| error.to_string())
            });
            field(map, "replicas", &mut problems, |value| match value.as_u64().map(u32::try_from) {
                Some(Ok(_)) => Ok(()),
                _ => Err("must be a whole number".to_owned()),
            });
        }
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = target.observe(&tcx, &input.stack).await?;
        let plan = async || target.plan_scale(&tcx, &input.stack, &input.service, input.replicas).await;
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
