//! From what a run is owed to what an action is given.

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::builder::Inner;
use super::task::{Job, Task};
use crate::action::{Action, RunScope, StepContext};
use crate::id::{ActionName, NodeIndex};
use crate::outcome::{Guarantee, StepError};
use crate::run::{Command, Input, Run, Subject};
use crate::workflow::Compensate;

/// The task that pays what is owed.
pub(super) fn task(
    inner: &Inner,
    run: &Run,
    scope: &Arc<RunScope>,
    stop: &CancellationToken,
    command: Command,
) -> Option<Task> {
    let missing =
        |uses: &ActionName| StepError::terminal("action.unknown", format_args!("there is no action '{uses}' here"));
    let action = |uses: &ActionName| inner.actions.get(uses).cloned().ok_or_else(|| missing(uses));
    let (job, node) = match command {
        Command::Execute { node, attempt } => {
            let job = match action(&run.workflow().node(node).uses) {
                Ok(action) => Job::Execute { node, attempt, action, input: run.step_input(node) },
                Err(error) => Job::Missing { input: Input::Ended { node, attempt, result: Err(error) } },
            };
            (job, node)
        }
        Command::Observe { node, attempt } => {
            let job = match action(&run.workflow().node(node).uses) {
                Ok(action) => Job::Observe { node, attempt, action, input: run.step_input(node) },
                Err(error) => Job::Missing {
                    input: Input::Observed { node, attempt, result: Err(error), guarantee: Guarantee::AtLeastOnce },
                },
            };
            (job, node)
        }
        Command::Compensate { node, attempt } => (compensation(run, node, attempt, &action), node),
        Command::Evaluate(subject) => return Some(evaluation(inner, run, subject)),
        Command::WakeAt(_) => return None,
    };
    let compensating = matches!(command, Command::Compensate { .. });
    let deadline = run.attempt_deadline(node);
    let step = run.step(node);
    let cx = StepContext {
        scope: Arc::clone(scope),
        node: step.name.clone(),
        attempt: match command {
            Command::Compensate { attempt, .. } => attempt,
            _ => step.attempt,
        },
        generation: run.generation(node),
        compensating,
        // An observation is not the attempt: it is bounded by the engine's own patience.
        deadline: if matches!(command, Command::Observe { .. }) { None } else { deadline },
        // Only an attempt that can be ended alone needs a token of its own.
        cancel: if deadline.is_some() { stop.child_token() } else { stop.clone() },
        checkpoint: step.checkpoint.map(|value| Arc::new(value.clone())),
        resumed: run.resumed(node).map(|resumed| Arc::new(resumed.clone())),
    };
    Some(Task { job, cx: Some(cx), grace: inner.grace })
}

/// Finds an action by its name.
type Lookup<'a> = dyn Fn(&ActionName) -> Result<Arc<dyn Action>, StepError> + 'a;

fn compensation(run: &Run, node: NodeIndex, attempt: u32, action: &Lookup<'_>) -> Job {
    let spec = run.workflow().node(node);
    let job = match spec.compensate.as_deref() {
        Some(Compensate::Action { uses, .. }) => {
            action(uses).map(|action| Job::Counteract { node, attempt, action, input: run.undo_input(node) })
        }
        _ => action(&spec.uses).map(|action| {
            let output = run.step(node).output.cloned();
            Job::Compensate { node, attempt, action, input: run.step_input(node), output }
        }),
    };
    job.unwrap_or_else(|error| Job::Missing { input: Input::Compensated { node, attempt, result: Err(error) } })
}

fn evaluation(inner: &Inner, run: &Run, subject: Subject) -> Task {
    let plan = run.workflow();
    let template = match subject {
        Subject::If(node) => {
            let when = plan.node(node).when.as_deref().unwrap_or("true");
            Value::String(format!("${{{{ {when} }}}}"))
        }
        Subject::With(node) => plan.node(node).with.clone(),
        Subject::CompensateWith(node) => match plan.node(node).compensate.as_deref() {
            Some(Compensate::Action { with, .. }) => with.clone(),
            _ => Value::Null,
        },
        Subject::Outputs => plan.spec().outputs.clone().unwrap_or_default(),
    };
    let job = Job::Evaluate { subject, template, scope: run.scope(subject), evaluator: Arc::clone(&inner.evaluator) };
    Task { job, cx: None, grace: inner.grace }
}
