//! What would change, field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::id::ServiceName;
use crate::target::{Capabilities, Change, ChangeKind, Desired, Observed, RESTART_LABEL, Revision, Service, Stack};

/// Fields that are maps, compared entry by entry, so that a plan names the variable and not the whole map.
const BY_ENTRY: [&str; 2] = ["environment", "labels"];

/// The fields of a service a target of these capabilities owns, as JSON: what [`Observed`] carries as the spec.
#[must_use]
pub fn owned_spec(service: &Service, capabilities: &Capabilities) -> Value {
    // The model holds only texts, numbers and maps with text keys: it can always be written.
    let mut spec = serde_json::to_value(service).unwrap_or_default();
    if let Value::Object(fields) = &mut spec {
        fields.retain(|field, _| capabilities.service_fields.contains(field));
    }
    spec
}

/// What would change, field by field; `kind_of` says for a field whether it changes in place or by replacement.
#[must_use]
pub fn changes(
    desired: &Desired,
    observed: &Observed,
    capabilities: &Capabilities,
    kind_of: impl Fn(&str) -> ChangeKind,
) -> Vec<Change> {
    let nothing = BTreeMap::new();
    let wanted = match desired {
        Desired::Present(stack) => &stack.services,
        Desired::Absent(_) => &nothing,
    };
    let mut out = Vec::new();
    for (name, service) in wanted {
        let after = owned_spec(service, capabilities);
        match observed.services.get(name) {
            None => out.push(
                Change::new(ChangeKind::Create, format!("services.{name}"))
                    .of(name.clone())
                    .values(None, Some(shown(&after))),
            ),
            Some(found) => {
                let restarted = restart_label_of(observed, name);
                out.extend(field_changes(name, &found.spec, &after, restarted.as_ref(), &kind_of));
            }
        }
    }
    for (name, found) in &observed.services {
        if !wanted.contains_key(name) {
            out.push(
                Change::new(ChangeKind::Delete, format!("services.{name}"))
                    .of(name.clone())
                    .values(Some(shown(&found.spec)), None),
            );
        }
    }
    if out.is_empty() {
        out.extend(record_change(desired, observed));
    }
    out
}

/// Nothing would change but what the target keeps on record.
fn record_change(desired: &Desired, observed: &Observed) -> Option<Change> {
    let number =
        |kind: ChangeKind, before: Option<u64>| Change::new(kind, "revision").values(before.map(Value::from), None);
    match (desired, &observed.current) {
        (Desired::Present(_), None) => Some(number(ChangeKind::Create, None)),
        (Desired::Present(stack), Some(current)) if !same_but_for_restarts(stack, &current.stack) => {
            Some(number(ChangeKind::Update, Some(current.number)).note("recorded only; no service is touched"))
        }
        (Desired::Absent(_), Some(current)) => Some(number(ChangeKind::Delete, Some(current.number))),
        _ => None,
    }
}

/// Whether two stacks differ in nothing but the label that asks for restarts.
#[must_use]
pub fn same_but_for_restarts(a: &Stack, b: &Stack) -> bool {
    let bare = |stack: &Stack| {
        let mut stack = stack.clone();
        for service in stack.services.values_mut() {
            service.labels.remove(RESTART_LABEL);
        }
        stack
    };
    bare(a) == bare(b)
}

/// Whether applying this stack over this revision, which is current, would only put right what has drifted from it.
#[must_use]
pub fn is_revision(stack: &Stack, current: &Revision) -> bool {
    let label = |stack: &Stack, name: &ServiceName| stack.services.get(name)?.labels.get(RESTART_LABEL).cloned();
    let restarts = |name| label(stack, name).is_some_and(|asked| label(&current.stack, name) != Some(asked));
    same_but_for_restarts(stack, &current.stack) && !stack.services.keys().any(restarts)
}

fn restart_label_of(observed: &Observed, name: &ServiceName) -> Option<Value> {
    let service = observed.current.as_ref()?.stack.services.get(name)?;
    service.labels.get(RESTART_LABEL).cloned().map(Value::String)
}

fn field_changes(
    name: &ServiceName,
    before: &Value,
    after: &Value,
    restarted: Option<&Value>,
    kind_of: &impl Fn(&str) -> ChangeKind,
) -> Vec<Change> {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut out = Vec::new();
    let mut push = |path: String, kind: ChangeKind, before: Option<Value>, after: Option<Value>| {
        out.push(Change::new(kind, path).of(name.clone()).values(before, after));
    };
    for field in fields {
        let at = format!("services.{name}.{field}");
        let (old, new) = (before.get(field), after.get(field));
        if !BY_ENTRY.contains(&field.as_str()) {
            let kind = kind_of(field);
            leaves(at, old, new, &mut |path, old, new| push(path, kind, old.cloned(), new.cloned()));
            continue;
        }
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let (old, new) = (old.get(key), new.get(key));
            let is_restart = field == "labels" && key == RESTART_LABEL;
            // A restart is asked for by a new value only: losing it, or finding the recorded one gone, is no drift.
            let skipped = is_restart && (new.is_none() || new == restarted);
            if old != new && !skipped {
                let kind = if is_restart { ChangeKind::Replace } else { kind_of(field) };
                push(format!("{at}.{key}"), kind, old.map(shown_entry), new.map(shown_entry));
            }
        }
    }
    out
}

/// Where two values differ, as deep down as they have the same form: whoever reads a plan looks for the one word that
/// changes.
pub(super) fn leaves(
    at: String,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut impl FnMut(String, Option<&Value>, Option<&Value>),
) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().for_each(|key| leaves(format!("{at}.{key}"), old.get(key), new.get(key), found));
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                leaves(format!("{at}[{index}]"), Some(old), Some(new), found);
            }
        }
        _ => found(at, old, new),
    }
}

/// A spec for people: variables as texts, secrets as references.
fn shown(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(Value::Object(variables)) = spec.get_mut("environment") {
        for value in variables.values_mut() {
            *value = shown_entry(value);
        }
    }
    spec
}

fn shown_entry(value: &Value) -> Value {
    let text = |form: &str| value.get(form).cloned();
    text("plain").or_else(|| text("secret")).unwrap_or_else(|| value.clone())
}
