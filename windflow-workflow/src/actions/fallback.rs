//! Where else `deploy` may go when its target cannot be reached, and how it comes back.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::target::{Applied, Consents, Context, Desired, Target, TargetErrorKind};
use windflow_core::{StackName, StepContext, StepError, TargetName};

use super::deploy::{consents, counted};
use super::input::{Problems, field, is_open};
use super::trail::{Base, Trail};

/// Where else a stack may go. Who agrees to losing something on the target itself has not agreed to losing it there.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Elsewhere {
    /// Nothing there may be lost.
    At(TargetName),
    /// What may be lost there is said.
    Agreed(Agreed),
}

/// A target, and what may be lost there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agreed {
    target: TargetName,
    #[serde(default)]
    allow_destroy: Vec<String>,
}

impl Elsewhere {
    fn parts(&self) -> (&TargetName, &[String]) {
        match self {
            Self::At(target) => (target, &[]),
            Self::Agreed(agreed) => (&agreed.target, &agreed.allow_destroy),
        }
    }
}

/// A target that may be used, its name, and what may be lost there.
pub(super) struct Place {
    pub name: TargetName,
    pub target: Arc<dyn Target>,
    pub consents: Consents,
}

/// The target, and those that may take its place, in their order.
pub(super) fn places(
    cx: &StepContext,
    primary: &TargetName,
    allow_destroy: &[String],
    fallback: &[Elsewhere],
) -> Result<Vec<Place>, StepError> {
    let all = std::iter::once((primary, allow_destroy)).chain(fallback.iter().map(Elsewhere::parts));
    all.map(|(name, allow_destroy)| {
        Ok(Place { name: name.clone(), target: cx.target(name)?, consents: consents(allow_destroy) })
    })
    .collect()
}

/// What may be lost at a target.
pub(super) fn consents_at(
    target: &TargetName,
    primary: &TargetName,
    allow_destroy: &[String],
    fallback: &[Elsewhere],
) -> Consents {
    let mut others = fallback.iter().map(Elsewhere::parts);
    match others.find(|(name, _)| *name == target && target != primary) {
        Some((_, agreed)) => consents(agreed),
        None if target == primary => consents(allow_destroy),
        None => Consents::none(),
    }
}

/// What a target call at a place is told, with what may be lost there. On a fallback the key says so: by it a later deployment knows, from the target
/// alone, that the copy there is one to come back from.
pub(super) fn context(cx: &StepContext, consents: Consents, place: &TargetName, primary: &TargetName) -> Context {
    let context = cx.target_context(consents);
    if place == primary {
        return context;
    }
    let key = format!("{}{}", context.key(), mark(primary));
    context.with_key(key)
}

fn mark(primary: &TargetName) -> String {
    format!("/fallback/{primary}")
}

/// Whether the target could not be reached.
pub(super) fn is_connection(error: &StepError) -> bool {
    error.code == TargetErrorKind::Unreachable.code()
}

/// The error of a target that cannot be reached and may hold the stack.
pub(super) fn may_hold(error: StepError, from: &TargetName, stack: &StackName, to: &TargetName) -> StepError {
    error.with_hint(format!(
        "{from} may still run {stack}, so it is not deployed on {to}; 'allow_two_copies: true' says that two copies do no harm"
    ))
}

/// What came of the copies on fallback targets.
#[derive(Debug, Default)]
pub(super) struct Returned {
    /// From where it is gone.
    pub from: Vec<TargetName>,
    /// Where one is left, and why.
    pub left: Vec<Value>,
}

/// After the stack is healthy on its own target: takes down the copies that falling back has left on others.
///
/// What cannot be looked at or may not be taken down is left and told. What was begun and has no certain end is an
/// error: the next attempt goes on.
pub(super) async fn come_back(
    cx: &StepContext,
    stack: &StackName,
    places: &[Place],
    trail: &mut Trail,
) -> Result<Returned, StepError> {
    let mut returned = Returned::default();
    let Some((primary, others)) = places.split_first() else { return Ok(returned) };
    for place in others {
        let tcx = cx.target_context(place.consents.clone());
        let left = |why: String| json!({ "target": place.name, "why": why });
        let observed = match place.target.observe(&tcx, stack).await {
            Ok(observed) => observed,
            Err(error) => {
                cx.progress(&format!("{}: a copy of {stack} may be left there: {}", place.name, error.message));
                returned.left.push(left(error.message));
                continue;
            }
        };
        let begun = trail.at(&place.name, &primary.name).is_some_and(|base| base.goes);
        let current = observed.current.as_ref();
        if !begun && !current.is_some_and(|current| current.key.ends_with(&mark(&primary.name))) {
            // It may be there for a reason of its own, or have been worked on since it came there.
            if let Some(current) = current {
                let number = current.number;
                cx.progress(&format!(
                    "{}: revision {number} of {stack} was put there by no fallback, and stays",
                    place.name
                ));
            }
            continue;
        }
        let plan = match place.target.plan(&tcx, &Desired::Absent(stack.clone()), &observed).await {
            Ok(plan) => plan,
            Err(error) => {
                cx.progress(&format!("{}: a copy of {stack} is left there: {error}", place.name));
                returned.left.push(left(error.to_string()));
                continue;
            }
        };
        if !begun {
            let base = Base { goes: true, ..Base::new(tcx.key(), &plan, &observed, &place.name) };
            trail.add(cx, base).await?;
        }
        cx.progress(&format!("{}: {stack} is back on {}; {}", place.name, primary.name, counted(&plan)));
        match place.target.apply(&tcx, &plan).await {
            Ok(Applied::Revision(_) | Applied::Staged { .. } | Applied::Nothing) => {
                returned.from.push(place.name.clone())
            }
            Ok(Applied::RolledBack { why, .. }) => returned.left.push(left(why)),
            Err(error) => match error.kind {
                TargetErrorKind::Unreachable
                | TargetErrorKind::Transient
                | TargetErrorKind::Unknown
                | TargetErrorKind::Cancelled => return Err(error.into()),
                // Trying again would not help, and is no reason to take down what is healthy on its own target.
                _ => returned.left.push(left(error.to_string())),
            },
        }
    }
    Ok(returned)
}

/// Looks at the keys `fallback` and `allow_two_copies`.
pub(super) fn check(map: &serde_json::Map<String, Value>, problems: &mut Problems) {
    field(map, "fallback", problems, |value| {
        let list = value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| "must be a list of targets such as [other]".to_owned())?;
        let mut seen: Vec<&str> = map.get("target").and_then(Value::as_str).into_iter().collect();
        for item in list.iter().filter(|item| !is_open(item)) {
            let name = match item {
                Value::Object(_) => {
                    let known = |key: &&String| !matches!(key.as_str(), "target" | "allow_destroy");
                    if let Some(key) = item.as_object().and_then(|map| map.keys().find(known)) {
                        return Err(format!("'{key}' is no key of a fallback (known: target, allow_destroy)"));
                    }
                    let listed = item.get("allow_destroy").is_none_or(|what| what.is_array() || is_open(what));
                    if !listed {
                        return Err("'allow_destroy' must be a list such as [volume]".to_owned());
                    }
                    item.get("target").unwrap_or(&Value::Null)
                }
                name => name,
            };
            if is_open(name) {
                continue;
            }
            let text = name.as_str().ok_or_else(|| "must be a list of targets such as [other]".to_owned())?;
            TargetName::new(text).map_err(|error| error.to_string())?;
            if seen.contains(&text) {
                return Err(format!("names '{text}' twice, or the target itself"));
            }
            seen.push(text);
        }
        Ok(())
    });
    field(map, "allow_two_copies", problems, |value| match value {
        Value::Bool(_) => Ok(()),
        _ => Err("must be true or false".to_owned()),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_agreed_to_by_target() {
        let fallback: Vec<Elsewhere> =
            serde_json::from_value(json!(["spare", { "target": "last", "allow_destroy": ["volume"] }])).unwrap();
        let name = |name: &str| TargetName::new(name).unwrap();
        let may_lose = |at: &str| {
            let agreed = consents_at(&name(at), &name("main"), &["volume".to_owned()], &fallback);
            agreed.allows_destroy("volume")
        };
        assert_eq!(["main", "spare", "last", "other"].map(may_lose), [true, false, true, false]);
    }
}
