//! How a run came out, and what to type next.

use serde_json::Value;
use windflow_core::run::{Run, StepState};
use windflow_core::store::Holder;
use windflow_core::{NodeIndex, Principal, Request, RunState, Timestamp, Workflow};

use super::holder;
use super::output::{Output, Tone};
use super::text::{clean, clean_lines, columns, count, duration, indent, moment};

/// Prints how a run came out.
pub fn report(output: &Output, run: &Run) {
    let summary = run.summary();
    let took = duration(summary.created_at.until(summary.updated_at));
    let state = output.paint(tone(run.state()), run.state().as_str());
    match run.state() {
        state_now if state_now.is_final() => output.text(format!("run {} {state} after {took}", run.id())),
        _ => output.text(format!("run {} is {state}", run.id())),
    }
    if let Some(problem) = &summary.problem {
        output.text(format!("problem: {}", clean(problem)));
    }
    let shown = run.output().filter(|value| !value.is_null());
    if let Some(value) = shown {
        output.text(format!("output:\n{}", indent(&clean_lines(&format!("{value:#}")), 2)));
    }
    let answers = endpoints(run);
    if !answers.is_empty() && run.state() == RunState::Succeeded {
        output.text(format!("answers at:\n{}", indent(&columns(&answers), 2)));
    }
    if !run.leftovers().is_empty() {
        let rows: Vec<Vec<String>> = run
            .leftovers()
            .iter()
            .map(|left| vec![run.workflow().node(left.node).name.to_string(), clean(&left.why)])
            .collect();
        output.text(format!("left behind:\n{}", indent(&columns(&rows), 2)));
    }
    for line in waits(run) {
        output.text(line);
    }
    let next = next(run);
    if !next.is_empty() {
        output.text(format!("next:\n{}", indent(&columns(&next), 2)));
    }
}

/// How a state is coloured.
pub fn tone(state: RunState) -> Tone {
    match state {
        RunState::Succeeded => Tone::Good,
        RunState::Failed | RunState::Stuck | RunState::Terminated => Tone::Bad,
        RunState::Compensated | RunState::Cancelled | RunState::Paused | RunState::Waiting => Tone::Care,
        _ => Tone::Plain,
    }
}

/// Where services answer: outputs of steps that deployed them.
fn endpoints(run: &Run) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for at in run.workflow().indices() {
        let step = run.step(at);
        let Some(found) = step.output.and_then(|output| output.get("endpoints")) else { continue };
        let mut add = |service: &str, endpoint: &Value| {
            if let Some(address) = address(endpoint) {
                rows.push(vec![clean(service), clean(&address)]);
            }
        };
        match found {
            Value::Object(services) => {
                for (service, endpoints) in services {
                    match endpoints {
                        Value::Array(all) => all.iter().for_each(|endpoint| add(service, endpoint)),
                        one => add(service, one),
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|endpoint| {
                let service = endpoint.get("service").and_then(Value::as_str).unwrap_or(step.name.as_str());
                add(service, endpoint);
            }),
            _ => {}
        }
    }
    rows
}

fn address(endpoint: &Value) -> Option<String> {
    if let Some(text) = endpoint.as_str() {
        return Some(text.to_owned());
    }
    if let Some(url) = endpoint.get("url").and_then(Value::as_str) {
        return Some(url.to_owned());
    }
    let host = endpoint.get("host")?.as_str()?;
    let port = endpoint.get("port")?.as_u64()?;
    let protocol = endpoint.get("protocol").and_then(Value::as_str).unwrap_or("tcp");
    Some(format!("{protocol}://{host}:{port}"))
}

/// What the steps of a run wait for.
pub fn waits(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for at in run.workflow().indices() {
        let step = run.step(at);
        if run.state().is_final() || !matches!(step.state, StepState::Parked | StepState::Backoff) {
            continue;
        }
        let due = step.due.map_or_else(String::new, |due| format!(" until {}", moment(due)));
        lines.push(match step.signal {
            Some(signal) => format!("{} waits for signal {signal}{due}", step.name),
            None => format!("{} waits{due}", step.name),
        });
    }
    lines
}

/// A command that drives this run, with what it needs for that.
pub fn driving(run: &Run, command: &str) -> String {
    format!("{command}{}", if uses_shell(run.workflow()) { " --allow-shell" } else { "" })
}

fn uses_shell(plan: &Workflow) -> bool {
    let within = |at| plan.bodies(at).iter().any(|inner| uses_shell(inner));
    plan.indices().any(|at| plan.node(at).uses.as_str() == "shell" || within(at))
}

/// The commands to type next, and what each does.
fn next(run: &Run) -> Vec<Vec<String>> {
    let id = run.id();
    let driving = |command: String| driving(run, &command);
    let mut rows = Vec::new();
    let mut add = |command: String, does: &str| rows.push(vec![command, format!("# {does}")]);
    match run.state() {
        RunState::Stuck => {
            for child in run.workflow().indices().flat_map(|at| run.child_runs(at)) {
                if child.state == Some(RunState::Stuck) {
                    add(format!("windflow runs show {}", child.run), "what this run of its own needs");
                }
            }
            for at in run.workflow().indices() {
                let step = run.step(at);
                match step.state {
                    StepState::Unresolved => {
                        let node = step.name;
                        add(
                            driving(format!("windflow runs resolve {id} {node} --happened JSON --reason WHY")),
                            "it has happened",
                        );
                        add(
                            driving(format!("windflow runs resolve {id} {node} --did-not --reason WHY")),
                            "it has not: try again",
                        );
                        let fail = format!("windflow runs resolve {id} {node} --fail --reason WHY");
                        add(driving(fail), "it counts as failed");
                    }
                    StepState::UndoFailed => {
                        add(driving(format!("windflow runs retry {id}")), "try to undo it again");
                        add(
                            driving(format!("windflow runs resolve {id} {} --undone --reason WHY", step.name)),
                            "undone by hand",
                        );
                    }
                    _ => {}
                }
            }
            add(format!("windflow runs give-up {id}"), "end it as failed, with the leftovers listed");
        }
        RunState::Failed => {
            if run.may(&Request::Compensate, &Principal::system()).is_ok() {
                add(driving(format!("windflow runs retry {id}")), "try the failed steps again");
                add(driving(format!("windflow runs compensate {id}")), "undo what was done");
            }
            add(format!("windflow runs show {id}"), "every step");
        }
        RunState::Paused => {
            add(driving(format!("windflow resume {id}")), "go on");
            add(format!("windflow runs cancel {id}"), "undo what was done");
        }
        RunState::Compensated | RunState::Terminated => add(format!("windflow runs events {id}"), "what happened"),
        RunState::Waiting | RunState::Running | RunState::Compensating | RunState::Pending => {
            for at in run.workflow().indices() {
                let step = run.step(at);
                if let (StepState::Parked, Some(signal)) = (step.state, step.signal) {
                    if run.workflow().node(at).uses.as_str() == "approve" {
                        add(format!("windflow runs approve {id} {}", step.name), "say yes; --reject says no");
                    } else {
                        add(format!("windflow runs signal {id} {signal} JSON"), "give it its signal");
                    }
                }
            }
            add(driving(format!("windflow resume {id}")), "drive it, or follow whoever does");
        }
        _ => {}
    }
    rows.dedup();
    rows
}

/// The runs a step has started: how many there are, and those that have not ended well.
fn children(run: &Run, at: NodeIndex) -> Option<String> {
    let (mut all, mut told) = (0, Vec::new());
    for child in run.child_runs(at) {
        all += 1;
        match child.state {
            Some(RunState::Succeeded) => {}
            Some(state) => told.push(format!("{} {state}", child.run)),
            None => told.push(format!("{} goes on", child.run)),
        }
    }
    const SHOWN: usize = 5;
    let more = told.len().saturating_sub(SHOWN);
    told.truncate(SHOWN);
    told.extend((more > 0).then(|| format!("{more} more")));
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
    (all > 0).then(|| format!("{}{told}", count(all, "run")))
}

/// A run in full, for people.
pub fn show(output: &Output, run: &Run, held: Option<&Holder>, now: Timestamp) {
    let summary = run.summary();
    let mut rows = vec![["NODE", "STATE", "ATTEMPT", "NOTE"].map(str::to_owned).to_vec()];
    for at in run.workflow().indices() {
        let step = run.step(at);
        let mut notes = Vec::new();
        if let Some(signal) = step.signal {
            notes.push(format!("signal {signal}"));
        }
        if let Some(due) = step.due {
            notes.push(format!("due in {}", duration(now.until(due))));
        }
        if let Some(error) = step.error {
            notes.push(clean(&error.to_string()));
        }
        notes.extend(children(run, at));
        let attempt = if step.attempt == 0 { "-".to_owned() } else { step.attempt.to_string() };
        rows.push(vec![step.name.to_string(), step.state.as_str().replace('_', " "), attempt, notes.join("; ")]);
    }
    output.text(format!("workflow {} ({})", summary.workflow, summary.hash));
    output.text(format!("started {}, last change {}", moment(summary.created_at), moment(summary.updated_at)));
    if let Some(held) = held {
        output.text(holder::sentence(held));
    }
    if !run.input().is_null() {
        output.text(format!("input:\n{}", indent(&clean_lines(&format!("{:#}", run.input())), 2)));
    }
    output.text(columns(&rows));
    report(output, run);
}
