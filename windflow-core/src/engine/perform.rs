//! From what a run is owed to what an action is given.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::builder::Inner;
use super::task::{Job, Step, Task};
use crate::action::{RunScope, StepContext};
use crate::id::ActionName;
use crate::outcome::{Guarantee, StepError};
use crate::run::{Command, Input, Run, Subject};
use crate::workflow::{Body, Compensate};

/// The task that pays what is owed.
pub(super) fn task(
    inner: &Inner,
    run: &Run,
    scope: &Arc<RunScope>,
    stop: &Arc<CancellationToken>,
    command: Command,
) -> Option<Task> {
    let spec = |node| run.workflow().node(node);
    let (node, attempt, uses, input, job) = match command {
        Command::Execute { node, attempt } => (node, attempt, &spec(node).uses, run.step_input(node), Job::Execute),
        Command::Observe { node, attempt } => (node, attempt, &spec(node).uses, run.step_input(node), Job::Observe),
        Command::Compensate { node, attempt } => match spec(node).compensate.as_deref() {
            Some(Compensate::Action { uses, .. }) => (node, attempt, uses, run.undo_input(node), Job::Counteract),
            _ => {
                let job = Job::Compensate { output: run.step(node).output.cloned() };
                (node, attempt, &spec(node).uses, run.step_input(node), job)
            }
        },
        Command::Evaluate(subject) => return Some(evaluation(inner, run, subject)),
        Command::WakeAt(_) => return None,
    };
    let Some(action) = inner.actions.get(uses).cloned() else { return Some(missing(command, uses)) };
    let deadline = run.attempt_deadline(node);
    let step = run.step(node);
    let cx = StepContext {
        scope: Arc::clone(scope),
        node: step.name.clone(),
        attempt: if matches!(command, Command::Compensate { .. }) { attempt } else { step.attempt },
        generation: run.generation(node),
        compensating: matches!(command, Command::Compensate { .. }),
        // An observation is not the attempt: it is bounded by the engine's own patience, and never asked to stop, so
        // that what it says is always what it saw.
        deadline: if command.is_question() { None } else { deadline },
        cancel: match (command.is_question(), deadline) {
            (true, _) => Arc::default(),
            // Only an attempt that can be ended alone needs a token of its own.
            (false, Some(_)) => Arc::new(stop.child_token()),
            (false, None) => Arc::clone(stop),
        },
        checkpoint: step.checkpoint.map(|value| Arc::new(value.clone())),
        resumed: run.resumed(node).map(|resumed| Arc::new(resumed.clone())),
    };
    Some(Task::Step(Step { job, node, attempt, action, input, cx, grace: inner.grace }))
}

/// What is said of a step whose action is not registered here.
fn missing(command: Command, uses: &ActionName) -> Task {
    let error = StepError::terminal("action.unknown", format_args!("there is no action '{uses}' here"));
    Task::Missing(match command {
        Command::Execute { node, attempt } => Some(Input::Ended { node, attempt, result: Err(error) }),
        Command::Observe { node, attempt } => {
            Some(Input::Observed { node, attempt, result: Err(error), guarantee: Guarantee::AtLeastOnce })
        }
        Command::Compensate { node, attempt } => Some(Input::Compensated { node, attempt, result: Err(error) }),
        Command::Evaluate(_) | Command::WakeAt(_) => None,
    })
}

fn evaluation(inner: &Inner, run: &Run, subject: Subject) -> Task {
    let plan = run.workflow();
    let template = match subject {
        Subject::If(node) => {
            let when = plan.node(node).when.as_deref().unwrap_or("true");
            // On a line of its own: it may end in a comment.
            Value::String(format!("${{{{ {when}\n}}}}"))
        }
        Subject::With(node) => plan.node(node).with.clone(),
        Subject::CompensateWith(node) => match plan.node(node).compensate.as_deref() {
            Some(Compensate::Action { with, .. }) => with.clone(),
            _ => Value::Null,
        },
        Subject::Until(node) => match plan.node(node).body.as_deref() {
            Some(Body::Repeat { until, .. }) => Value::String(format!("${{{{ {until}\n}}}}")),
            _ => Value::Bool(true),
        },
        Subject::Outputs => plan.spec().outputs.clone().unwrap_or_default(),
    };
    Task::Evaluate { subject, template, scope: run.scope(subject), evaluator: Arc::clone(&inner.evaluator) }
}
