//! `deploy`: makes a stack run on a target.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windflow_core::target::{Applied, ChangeKind, Consents, Context, Desired, Observed, Plan, Stack, Target, diff};
use windflow_core::{
    Action, ContentHash, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::input::{Problems, field, map, read, text};

/// Applies a stack to a target, waits until it is healthy, and on compensation makes current again what was before.
///
/// ```yaml
/// nodes:
///   web:
///     uses: deploy
///     with:
///       target: local
///       stack: compose.yaml      # resolved and pinned when the run starts
///       allow_destroy: [volume]  # agrees to changes that cannot be taken back
/// ```
///
/// Output: `target`, `stack`, `revision`, `changes`, `endpoints`. The base is made durable before the first change, and
/// an apply that was cut is continued under the same key. When the target itself went back, the step fails for good.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeployAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: Stack,
    target: TargetName,
    #[serde(default)]
    allow_destroy: Vec<String>,
}

/// What is durable before the first change.
#[derive(Serialize, Deserialize)]
struct Base {
    /// The key under which the change is made.
    key: String,
    /// What the change is; the same one is continued after a crash.
    intent: ContentHash,
    /// The revision that was current; none when nothing was there.
    revision: Option<u64>,
    /// Its stack, so that it can be made current again even when the target no longer keeps it.
    stack: Option<Stack>,
}

/// What an author agreed to.
pub(super) fn consents(allow_destroy: &[String]) -> Consents {
    allow_destroy.iter().fold(Consents::none(), |consents, what| consents.allow_destroy(what))
}

/// What an earlier attempt has noted.
pub(super) fn noted<T: serde::de::DeserializeOwned>(cx: &StepContext) -> Result<Option<T>, StepError> {
    let Some(value) = cx.last_checkpoint() else { return Ok(None) };
    serde_json::from_value(value.clone()).map(Some).map_err(|error| {
        StepError::terminal("checkpoint", format_args!("the checkpoint cannot be understood: {error}"))
    })
}

/// Writes a checkpoint.
pub(super) async fn note(cx: &StepContext, value: &impl Serialize) -> Result<(), StepError> {
    let value = serde_json::to_value(value).map_err(|error| {
        StepError::terminal("checkpoint", format_args!("the checkpoint cannot be written: {error}"))
    })?;
    cx.checkpoint(value).await
}

/// How much a plan changes, for people.
pub(super) fn counted(plan: &Plan) -> String {
    match plan.changes.len() {
        1 => "1 change".to_owned(),
        number => format!("{number} changes"),
    }
}

/// The lines of a plan as they go into an output.
pub(super) fn changes(plan: &Plan) -> Vec<Value> {
    let line = |change: &windflow_core::target::Change| json!({ "service": change.service, "path": change.path, "kind": change.kind });
    plan.changes.iter().map(line).collect()
}

fn is_ready(observed: &Observed) -> bool {
    observed.services.values().all(|service| service.health.is_ready())
}

fn output(input: &Input, observed: &Observed, changes: Vec<Value>) -> Value {
    let endpoints: serde_json::Map<String, Value> = observed
        .services
        .iter()
        .map(|(name, service)| {
            let texts: Vec<String> = service.endpoints.iter().map(ToString::to_string).collect();
            (name.to_string(), json!(texts))
        })
        .collect();
    json!({
        "target": input.target,
        "stack": input.stack.name,
        "revision": observed.current.as_ref().map(|revision| revision.number),
        "changes": changes,
        "endpoints": endpoints,
    })
}

/// Whether our own change is what is current, and healthy.
fn happened(observed: &Observed, key: &str, stack: &Stack) -> bool {
    let ours = observed.current.as_ref().is_some_and(|current| current.key == key && current.hash == stack.hash());
    ours && is_ready(observed)
}

/// Makes a former state current again, unless it is already, or somebody else has deployed since.
pub(super) async fn restore(
    target: &dyn Target,
    cx: &Context,
    desired: Desired,
    ours: impl FnOnce(&Observed) -> bool,
) -> Result<Undone, StepError> {
    let name: StackName = desired.stack().clone();
    let observed = target.observe(cx, &name).await?;
    let plan = target.plan(cx, &desired, &observed).await?;
    // That a service is ill which was not changed is nothing to undo, and no reason to fail.
    let same = diff::changes(&desired, &observed, target.capabilities(), |_| ChangeKind::Update).is_empty();
    if plan.is_empty() || same {
        return Ok(Undone::NothingToUndo);
    }
    if !ours(&observed) {
        let number = observed.current.as_ref().map_or(0, |revision| revision.number);
        let why = format!("revision {number} of {name} was deployed by somebody else since; it is left as it is");
        return Ok(Undone::NotUndoable { why });
    }
    match target.apply(cx, &plan).await? {
        Applied::Revision(_) | Applied::Nothing => Ok(Undone::Reversed),
        Applied::RolledBack { why, .. } => {
            let what = format_args!("{name} could not be made what it was before: {why}");
            Err(StepError::terminal("deploy.restore", what)
                .with_hint("look at the target, then resolve the step by hand"))
        }
    }
}

/// Looks at the keys that `deploy` and `destroy` share; what a stack is differs.
pub(super) fn check_keys(input: &Value, stack: impl FnOnce(&Value) -> Result<(), String>) -> Problems {
    let mut problems = Problems::new();
    let Some(map) = map(input, &["stack", "target", "allow_destroy"], &["stack", "target"], &mut problems) else {
        return problems;
    };
    field(map, "target", &mut problems, |value| match TargetName::new(text(value)?) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    });
    field(map, "allow_destroy", &mut problems, |value| {
        let texts = value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if texts { Ok(()) } else { Err("must be a list of texts such as [volume]".to_owned()) }
    });
    field(map, "stack", &mut problems, stack);
    problems
}

#[async_trait]
impl Action for DeployAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Keyed
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, input: &Value) -> Problems {
        check_keys(input, |stack| match stack {
            // A file name; it is resolved, and judged, when the document is compiled.
            Value::String(_) => Ok(()),
            Value::Object(_) if stack.to_string().contains("${{") => Ok(()),
            Value::Object(_) => {
                serde_json::from_value::<Stack>(stack.clone()).map(drop).map_err(|error| error.to_string())
            }
            _ => Err("must be a stack".to_owned()),
        })
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = target.observe(&tcx, &input.stack.name).await?;
        let base: Option<Base> = noted(cx)?;
        if base.is_some() && happened(&observed, tcx.key(), &input.stack) {
            return Ok(Outcome::Done(output(&input, &observed, Vec::new())));
        }
        let desired = Desired::Present(input.stack.clone());
        let plan = target.plan(&tcx, &desired, &observed).await?;
        if base.is_none() {
            let current = observed.current.as_ref();
            let base = Base {
                key: tcx.key().to_owned(),
                intent: plan.intent(),
                revision: current.map(|revision| revision.number),
                stack: current.map(|revision| revision.stack.clone()),
            };
            note(cx, &base).await?;
        }
        for degradation in &plan.degradations {
            cx.progress(&format!("{}: {degradation}", input.target));
        }
        cx.progress(&format!("{}: {} to {}", input.target, counted(&plan), input.stack.name));
        match target.apply(&tcx, &plan).await? {
            Applied::Revision(_) | Applied::Nothing => {
                let observed = target.observe(&tcx, &input.stack.name).await?;
                Ok(Outcome::Done(output(&input, &observed, changes(&plan))))
            }
            Applied::RolledBack { to, why } => {
                let to = to.map_or_else(|| "to nothing".to_owned(), |number| format!("to revision {number}"));
                let what = format_args!("{}/{} went back {to}: {why}", input.target, input.stack.name);
                Err(StepError::terminal("deploy.rolled_back", what))
            }
        }
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        let input: Input = read(input.clone())?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let observed = cx.target(&input.target)?.observe(&tcx, &input.stack.name).await?;
        // A change that is cut, or not healthy yet, is continued by the next attempt under the same key.
        Ok(match happened(&observed, tcx.key(), &input.stack) {
            true => Seen::Happened(output(&input, &observed, Vec::new())),
            false => Seen::DidNot,
        })
    }

    async fn compensate(&self, cx: &StepContext, input: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        let Some(base) = noted::<Base>(cx)? else { return Ok(Undone::NothingToUndo) };
        let input: Input = read(input.clone())?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(consents(&input.allow_destroy));
        let undo = tcx.key().to_owned();
        let desired = base.stack.map_or(Desired::Absent(input.stack.name), Desired::Present);
        restore(&*target, &tcx, desired, |observed| match &observed.current {
            Some(current) => current.key == base.key || current.key == undo || Some(current.number) == base.revision,
            None => true,
        })
        .await
    }
}
