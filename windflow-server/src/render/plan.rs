//! Plans as people and programs read them.

use std::time::Duration;

use serde_json::{Value, json};
use windflow_core::target::{Applied, ChangeKind, Desired, Plan, Reversibility};

use super::output::{Output, Tone};
use super::text::{clean, count, cut, exact_duration};

/// The fields of a service that hold a time, in milliseconds.
const TIMES: [&str; 11] = [
    "interval",
    "timeout",
    "start_period",
    "start_interval",
    "delay",
    "monitor",
    "window",
    "min_healthy",
    "progress_deadline",
    "bake",
    "stop_grace_period",
];

/// Prints a plan.
pub fn print(output: &Output, plan: &Plan) {
    output.document(&json!({
        "version": 1, "kind": "plan", "changes": plan.changes.len(), "plan": plan,
    }));
    let (stack, target) = (plan.desired.stack(), &plan.target);
    if plan.is_empty() && matches!(plan.desired, Desired::Absent(_)) {
        output.text(format!("nothing to do: stack '{stack}' is not on target '{target}'"));
    } else if plan.is_empty() {
        output.text(format!("no changes: stack '{stack}' on target '{target}' is as it should be"));
    } else {
        let base = plan.base.map_or_else(String::new, |base| format!(" from revision {base}"));
        output.text(format!("stack '{stack}' on target '{target}'{base}:"));
        changes(output, plan);
    }
    for degradation in &plan.degradations {
        output.text(format!("note: {}", clean(degradation)));
    }
}

/// Prints the lines of a plan.
pub fn changes(output: &Output, plan: &Plan) {
    for change in &plan.changes {
        let tone = match change.kind {
            ChangeKind::Create => Tone::Good,
            ChangeKind::Update | ChangeKind::Replace => Tone::Care,
            ChangeKind::Delete => Tone::Bad,
        };
        let field = change.path.strip_prefix("services.").and_then(|path| path.rsplit('.').next()).unwrap_or_default();
        let value = |of| cut(&clean(&with_times(field, of).to_string()), 60);
        let values = match (&change.before, &change.after) {
            (Some(before), Some(after)) => format!(": {} → {}", value(before), value(after)),
            (None, Some(after)) if change.kind != ChangeKind::Create => format!(": {}", value(after)),
            _ => String::new(),
        };
        let warns = match change.reversibility {
            Reversibility::Irreversible => " (cannot be taken back)",
            Reversibility::Reversible => "",
        };
        let note = change.note.as_ref().map_or_else(String::new, |note| format!("  # {}", clean(note)));
        let sign = output.paint(tone, &change.kind.sign().to_string());
        output.text(format!("  {sign} {}{values}{warns}{note}", clean(&change.path)));
    }
    let number = |kind| plan.changes.iter().filter(|change| change.kind == kind).count();
    let parts: Vec<String> = [
        (ChangeKind::Create, "to create"),
        (ChangeKind::Update, "to update"),
        (ChangeKind::Replace, "to replace"),
        (ChangeKind::Delete, "to delete"),
    ]
    .into_iter()
    .filter(|(kind, _)| number(*kind) > 0)
    .map(|(kind, what)| format!("{} {what}", number(kind)))
    .collect();
    output.text(format!("{}: {}", count(plan.changes.len(), "change"), parts.join(", ")));
}

/// What stands in a field, with times as people write them. Nothing else that is called so in a stack is a number.
fn with_times(field: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(field, value)| (field.clone(), with_times(field, value))).collect())
        }
        Value::Array(all) => all.iter().map(|value| with_times("", value)).collect(),
        value => match value.as_u64() {
            Some(ms) if TIMES.contains(&field) => Value::from(exact_duration(Duration::from_millis(ms))),
            _ => value.clone(),
        },
    }
}

/// What an apply came to.
pub fn applied(plan: &Plan, applied: &Applied) -> Value {
    json!({
        "version": 1, "kind": "applied", "stack": plan.desired.stack(), "target": plan.target,
        "changes": plan.changes, "applied": applied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_write_them() {
        assert_eq!(with_times("bake", &json!(25_000)), json!("25s"));
        let rollout = json!({ "strategy": "blue_green", "bake": 90_000, "batch": 2 });
        assert_eq!(with_times("rollout", &rollout), json!({ "strategy": "blue_green", "bake": "1m30s", "batch": 2 }));
        assert_eq!(with_times("replicas", &json!(2)), json!(2));
    }
}
