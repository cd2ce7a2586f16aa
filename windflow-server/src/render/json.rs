//! The JSON forms: stable names, `"version": 1` in each document and on each line.

use serde_json::{Map, Value, json};
use windflow_core::run::{Leftover, Run};
use windflow_core::store::Holder;
use windflow_core::{NodeIndex, Recorded, RunId, Summary, Workflow};

use super::holder;

/// One event of a run, with the names of its nodes.
pub fn event(run: &RunId, plan: &Workflow, recorded: &Recorded) -> Value {
    let mut out = Map::new();
    out.insert("version".to_owned(), json!(1));
    out.insert("kind".to_owned(), json!("event"));
    out.insert("run".to_owned(), json!(run));
    // An event is plain data: it can always be written.
    if let Ok(Value::Object(fields)) = serde_json::to_value(recorded) {
        for (name, value) in fields {
            let value = match name.as_str() {
                "at" | "retry_at" => value.as_u64().map_or(value, |ms| json!(windflow_core::Timestamp(ms).to_string())),
                // The event's own version says how the journal is written; a line of this stream has its own.
                "version" => continue,
                _ => named(plan, &name, value),
            };
            out.insert(name, value);
        }
    }
    Value::Object(out)
}

/// Node numbers replaced by names wherever an event holds them.
fn named(plan: &Workflow, name: &str, value: Value) -> Value {
    let node = |value: &Value| {
        let at = value.as_u64().and_then(|at| u32::try_from(at).ok()).map(NodeIndex);
        at.filter(|at| at.index() < plan.len()).map(|at| json!(plan.node(at).name))
    };
    match (name, value) {
        ("node" | "if" | "with" | "compensate_with" | "until", value) => node(&value).unwrap_or(value),
        ("nodes", Value::Array(items)) => items
            .into_iter()
            .map(|item| match item.as_array().map(Vec::as_slice) {
                Some([at, input]) => json!({ "node": node(at), "input": input }),
                _ => item,
            })
            .collect(),
        ("leftovers", Value::Array(items)) => items.into_iter().map(|item| named(plan, "", item)).collect(),
        // What authors wrote or actions answered is passed on as it is.
        ("input" | "output" | "payload" | "value" | "resumed" | "seen" | "told" | "around", value) => value,
        (_, Value::Object(map)) => {
            Value::Object(map.into_iter().map(|(key, value)| (key.clone(), named(plan, &key, value))).collect())
        }
        (_, value) => value,
    }
}

/// A run's row.
pub fn summary(of: &Summary) -> Value {
    json!({
        "run": of.run,
        "workflow": of.workflow,
        "hash": of.hash,
        "state": of.state,
        "created_at": of.created_at.to_string(),
        "updated_at": of.updated_at.to_string(),
        "finished": of.finished,
        "total": of.total,
        "problem": of.problem,
        "written_by": of.build,
        "unreadable": of.unreadable(),
        "parent": of.parent,
    })
}

/// A run in full, who drives it, and what it asks for that is not allowed here.
pub fn run(run: &Run, held: Option<&Holder>, lacks: Option<&str>) -> Value {
    let mut out = summary(&run.summary());
    let step = |at| {
        let mut step = json!(run.step(at));
        let runs: Vec<_> = run.child_runs(at).collect();
        if let (Value::Object(map), false) = (&mut step, runs.is_empty()) {
            map.insert("runs".to_owned(), json!(runs));
        }
        step
    };
    let steps: Vec<Value> = run.workflow().indices().map(step).collect();
    let mut add = |name: &str, value: Value| {
        if let Value::Object(map) = &mut out {
            map.insert(name.to_owned(), value);
        }
    };
    add("version", json!(1));
    add("kind", json!("run"));
    add("input", run.input().clone());
    add("output", run.output().cloned().unwrap_or_default());
    add("steps", Value::Array(steps));
    add("leftovers", leftovers(run, run.leftovers()));
    add("held", held.map(holder::json).unwrap_or_default());
    add("lacks", json!(lacks));
    out
}

/// Who else drives a run that is waited for: a line of a stream.
pub fn held(run: &RunId, by: &Holder) -> Value {
    json!({ "version": 1, "kind": "held", "run": run, "held": holder::json(by) })
}

/// A run that a worker leaves to others: a line of a stream.
pub fn left_alone(run: &RunId, why: &str) -> Value {
    json!({ "version": 1, "kind": "left_alone", "run": run, "why": why })
}

/// How a run came out: the last line of a stream.
pub fn result(run: &Run, exit: u8) -> Value {
    json!({
        "version": 1,
        "kind": "result",
        "run": run.id(),
        "workflow": run.workflow().name(),
        "state": run.state(),
        "exit": exit,
        "output": run.output(),
        "problem": run.summary().problem,
        "leftovers": leftovers(run, run.leftovers()),
    })
}

fn leftovers(run: &Run, all: &[Leftover]) -> Value {
    all.iter().map(|left| json!({ "node": run.workflow().node(left.node).name, "why": left.why })).collect()
}
