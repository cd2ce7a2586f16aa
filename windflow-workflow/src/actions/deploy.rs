//! `deploy`: makes a stack run on a target.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windflow_core::target::{
    Applied, Change, Consents, Context, Desired, Observed, ObservedService, Placements, Plan, Promote, Revision, Stack,
    Target,
};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::fallback::{Elsewhere, Place, Returned, come_back, consents_at, context, is_connection, may_hold, places};
use super::input::{Problems, field, map, read, text};
use super::trail::{Base, Trail};

/// Applies a stack to a target, waits until it is healthy, and on compensation makes current again what was before.
///
/// ```yaml
/// nodes:
///   web:
///     uses: deploy
///     with:
///       target: local
///       stack: compose.yaml      # or a list of files; resolved and pinned when the run starts
///       profiles: [debug]        # whose services are taken in as well
///       allow_destroy: [volume]  # agrees to changes that cannot be taken back
///       fallback: [spare]        # where else, in this order, when the target cannot be reached
///                                # or { target: spare, allow_destroy: [volume] }: what may be lost is agreed to by target
///       allow_two_copies: false  # whether it may run on two targets at once
/// ```
///
/// Output: `target`, `stack`, `revision`, `changes`, `endpoints`; while the revision waits to be promoted (`promote`) also
/// `baking`, with the revision that is `kept` beside it; with `fallback` also `fallback_from`, `returned_from`
/// and `left_on`. The base is made durable before the first change, and an apply that was cut is continued under the same
/// key. When the target itself went back, the step fails for good.
///
/// **Fallback.** The next target of the list is planned for, and asked for consent, anew, when the one before it cannot be
/// reached; never because of anything it answers. That is refused while the one before may still run the stack, unless
/// `allow_two_copies`: when this step has begun a change there, and when it was there before, as far as is remembered
/// ([`Placements`]). Without such a memory nothing is known, and what is unknown may run. A compensation undoes wherever something was begun. A later deployment that reaches
/// its target again comes back: once the stack is healthy there, the copy that was put on a fallback is taken down
/// (`returned_from`), or left and told (`left_on`).
#[derive(Debug, Clone, Default)]
pub struct DeployAction {
    placements: Option<Arc<dyn Placements>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: Stack,
    target: TargetName,
    #[serde(default)]
    allow_destroy: Vec<String>,
    #[serde(default)]
    fallback: Vec<Elsewhere>,
    #[serde(default)]
    allow_two_copies: bool,
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

/// Where each service answers, for an output.
pub(super) fn endpoints(observed: &Observed) -> serde_json::Map<String, Value> {
    let texts = |service: &ObservedService| service.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>();
    observed.services.iter().map(|(name, service)| (name.to_string(), json!(texts(service)))).collect()
}

pub(super) fn is_ready(observed: &Observed) -> bool {
    observed.services.values().all(|service| service.health.is_ready())
}

fn output(input: &Input, target: &TargetName, observed: &Observed, changes: Vec<Value>, back: Returned) -> Value {
    let mut output = json!({
        "target": target,
        "stack": input.stack.name,
        "revision": observed.latest().map(|revision| revision.number),
        "changes": changes,
        "endpoints": endpoints(observed),
    });
    if let Some(kept) = observed.current.as_ref().filter(|_| observed.staged.is_some()) {
        output["baking"] = json!({ "kept": kept.number });
    }
    if !input.fallback.is_empty() {
        output["fallback_from"] = json!((*target != input.target).then_some(&input.target));
        output["returned_from"] = json!(back.from);
        output["left_on"] = json!(back.left);
    }
    output
}

/// Whether our own change is what is current, or waits for somebody's word, and healthy.
pub(super) fn happened(observed: &Observed, key: &str, stack: &Stack) -> bool {
    // What bakes for a time of its own is watched on.
    let watched = observed.baking.is_some_and(|baking| baking.until.is_some());
    let latest = observed.latest().filter(|_| !watched);
    let ours = latest.is_some_and(|latest| latest.key == key && latest.hash == stack.hash());
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
    if plan.changes.iter().all(Change::is_about_health) {
        return Ok(Undone::NothingToUndo);
    }
    if !ours(&observed) {
        let number = observed.current.as_ref().map_or(0, |revision| revision.number);
        let why = format!("revision {number} of {name} was deployed by somebody else since; it is left as it is");
        return Ok(Undone::NotUndoable { why });
    }
    match target.apply(cx, &plan).await? {
        Applied::Revision(_) | Applied::Nothing => Ok(Undone::Reversed),
        // Nobody is there to wait for.
        Applied::Staged { .. } => match target.promote(cx, &name, Promote::Promote).await? {
            Applied::RolledBack { why, .. } => Err(went_wrong(&name, &why)),
            _ => Ok(Undone::Reversed),
        },
        Applied::RolledBack { why, .. } => Err(went_wrong(&name, &why)),
    }
}

fn went_wrong(name: &StackName, why: &str) -> StepError {
    let what = format_args!("{name} could not be made what it was before: {why}");
    StepError::terminal("deploy.restore", what).with_hint("look at the target, then resolve the step by hand")
}

/// Looks at the keys of an action on a stack: `stack` and `target`, those it also `needs`, and `more` it may have. What a
/// stack is differs.
pub(super) fn check_keys(
    input: &Value,
    needs: &[&str],
    more: &[&str],
    stack: impl FnOnce(&Value) -> Result<(), String>,
) -> Problems {
    let mut problems = Problems::new();
    let (known, needed) = ([&["stack", "target"], more].concat(), [&["stack", "target"], needs].concat());
    let Some(map) = map(input, &known, &needed, &mut problems) else {
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

/// The name of a stack.
pub(super) fn check_name(stack: &Value) -> Result<(), String> {
    StackName::new(text(stack)?).map(drop).map_err(|error| error.to_string())
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
        let mut input = input.clone();
        // What says how files are read goes with their names.
        if let Value::Object(map) = &mut input
            && matches!(map.get("stack"), Some(Value::String(_) | Value::Array(_)))
        {
            map.remove("profiles");
        }
        let mut problems = check_keys(&input, &[], &["allow_destroy", "fallback", "allow_two_copies"], check_stack);
        if let Some(map) = input.as_object() {
            super::fallback::check(map, &mut problems);
        }
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let input: Input = read(input)?;
        let places = places(cx, &input.target, &input.allow_destroy, &input.fallback)?;
        let mut trail = Trail::of(cx)?;
        // Where something was begun it goes on: coming back is for a later deployment.
        let begun = places.iter().position(|place| trail.landed().is_some_and(|b| b.is_at(&place.name, &input.target)));
        let mut left = places.iter().enumerate().skip(begun.unwrap_or(0)).peekable();
        while let Some((n, place)) = left.next() {
            let mut seen_absent = false;
            let error = match self.apply_at(cx, &input, place, &mut trail, &mut seen_absent).await {
                Ok((observed, changes)) => {
                    let back = match n {
                        0 => come_back(cx, &input.stack.name, &places, &mut trail).await?,
                        _ => Returned::default(),
                    };
                    return Ok(Outcome::Done(output(&input, &place.name, &observed, changes, back)));
                }
                Err(error) => error,
            };
            let Some((_, next)) = left.peek().filter(|_| is_connection(&error)) else { return Err(error) };
            let begun = trail.at(&place.name, &input.target).is_some();
            let known = || self.placements.as_ref().is_some_and(|p| !p.may_hold(&place.name, &input.stack.name));
            let free = !begun && (seen_absent || known());
            if !free && !input.allow_two_copies {
                return Err(may_hold(error, &place.name, &input.stack.name, &next.name));
            }
            cx.progress(&format!("{}: {}; falling back to {}", place.name, error.message, next.name));
        }
        // Not reached: there is always a first place, and the last one returns.
        Err(StepError::terminal("input", "there is no target"))
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        let input: Input = read(input.clone())?;
        let trail = Trail::of(cx)?;
        let landed = trail.landed().and_then(|base| base.target.as_ref()).unwrap_or(&input.target);
        let tcx = context(cx, Consents::none(), landed, &input.target);
        let observed = cx.target(landed)?.observe(&tcx, &input.stack.name).await?;
        // A change that is cut, or not healthy yet, is continued by the next attempt under the same key; and so is the
        // way back from a fallback.
        let whole = input.fallback.is_empty() || *landed != input.target;
        Ok(match whole && happened(&observed, tcx.key(), &input.stack) {
            true => Seen::Happened(output(&input, landed, &observed, Vec::new(), Returned::default())),
            false => Seen::DidNot,
        })
    }

    async fn compensate(&self, cx: &StepContext, input: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        let trail = Trail::of(cx)?;
        let input: Input = read(input.clone())?;
        let mut undone = Vec::new();
        // Each place gets its turn: one that cannot be reached must not keep another from being undone.
        for base in trail.latest_first() {
            let at = base.target.as_ref().unwrap_or(&input.target);
            let tcx = cx.target_context(consents_at(at, &input.target, &input.allow_destroy, &input.fallback));
            undone.push(undo(cx, &tcx, &input.target, &input.stack.name, base).await);
        }
        let undone = undone.into_iter().collect::<Result<Vec<Undone>, StepError>>()?;
        let left = |undone: &Undone| match undone {
            Undone::NotUndoable { why } => Some(why.clone()),
            _ => None,
        };
        let left: Vec<String> = undone.iter().filter_map(left).collect();
        Ok(match (left.is_empty(), undone.contains(&Undone::Reversed)) {
            (false, _) => Undone::NotUndoable { why: left.join("; ") },
            (true, true) => Undone::Reversed,
            (true, false) => Undone::NothingToUndo,
        })
    }
}

/// A stack: the name of its file, or what that file says.
pub(super) fn check_stack(stack: &Value) -> Result<(), String> {
    match stack {
        // Names of files; they are resolved, and judged, when the document is compiled.
        Value::String(_) | Value::Array(_) => Ok(()),
        Value::Object(_) if stack.to_string().contains("${{") => Ok(()),
        Value::Object(_) => serde_json::from_value::<Stack>(stack.clone()).map(drop).map_err(|error| error.to_string()),
        _ => Err("must be a stack".to_owned()),
    }
}

/// Makes current again at one place what was there before.
pub(super) async fn undo(
    cx: &StepContext,
    tcx: &Context,
    primary: &TargetName,
    stack: &StackName,
    base: &Base,
) -> Result<Undone, StepError> {
    let target = cx.target(base.target.as_ref().unwrap_or(primary))?;
    let desired = match base.stack.clone() {
        None => Desired::Absent(stack.clone()),
        Some(before) => {
            // The target may still know what the names in it led to.
            let kept = target.revisions(tcx, stack).await?;
            let same = |kept: &&Revision| Some(kept.number) == base.revision && kept.stack == before;
            Desired::Present(match kept.iter().find(same) {
                Some(revision) => target.stack_of(tcx, revision).await?,
                None => before,
            })
        }
    };
    // What a later step of this run has done was undone before.
    let this_run = format!("{}/", cx.run_id());
    restore(&*target, tcx, desired, |observed| match &observed.current {
        Some(current) => {
            let ours = current.key == base.key || current.key.starts_with(&this_run);
            ours || Some(current.number) == base.revision
        }
        None => true,
    })
    .await
}

impl DeployAction {
    /// With a memory of where stacks were, by which it may fall back from a target that holds nothing.
    #[must_use]
    pub fn with_placements(placements: Arc<dyn Placements>) -> Self {
        Self { placements: Some(placements) }
    }

    /// Makes the stack run at one place; answers what is there then, and what was changed.
    async fn apply_at(
        &self,
        cx: &StepContext,
        input: &Input,
        place: &Place,
        trail: &mut Trail,
        seen_absent: &mut bool,
    ) -> Result<(Observed, Vec<Value>), StepError> {
        let (target, name) = (&place.target, &input.stack.name);
        let tcx = context(cx, place.consents.clone(), &place.name, &input.target);
        let observed = target.observe(&tcx, name).await?;
        *seen_absent = observed.is_absent();
        let begun = trail.at(&place.name, &input.target).is_some();
        if begun && happened(&observed, tcx.key(), &input.stack) {
            return Ok((observed, Vec::new()));
        }
        let plan = target.plan(&tcx, &Desired::Present(input.stack.clone()), &observed).await?;
        if !begun {
            let fallback_from = (place.name != input.target).then(|| input.target.clone());
            let base = Base { fallback_from, ..Base::new(tcx.key(), &plan, &observed, &place.name) };
            trail.add(cx, base).await?;
        }
        for degradation in &plan.degradations {
            cx.progress(&format!("{}: {degradation}", place.name));
        }
        cx.progress(&format!("{}: {} to {name}", place.name, counted(&plan)));
        match target.apply(&tcx, &plan).await? {
            Applied::Revision(_) | Applied::Staged { .. } | Applied::Nothing => {
                Ok((target.observe(&tcx, name).await?, changes(&plan)))
            }
            Applied::RolledBack { to, why } => {
                let to = to.map_or_else(|| "to nothing".to_owned(), |number| format!("to revision {number}"));
                let what = format_args!("{}/{name} went back {to}: {why}", place.name);
                Err(StepError::terminal("deploy.rolled_back", what))
            }
        }
    }
}
