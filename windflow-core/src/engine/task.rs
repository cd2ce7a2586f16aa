//! A command as a future that ends in news for the run.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;

use crate::action::{Action, StepContext};
use crate::evaluator::{Evaluator, Scope};
use crate::id::NodeIndex;
use crate::outcome::{ErrorClass, Outcome, Seen, StepError, Undone};
use crate::run::{Input, Subject};

/// The largest value a step may hand on; larger things belong into a file or a registry, and a reference here.
pub(super) const MAX_PAYLOAD: usize = 1024 * 1024;

/// How long an action may take to find out whether an attempt has happened, each time it is asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something a run is owed.
#[derive(Debug)]
pub(super) enum Task {
    /// A node's action is to do something.
    Step(Step),
    /// An expression is to be evaluated, which touches nothing.
    Evaluate { subject: Subject, template: Value, scope: Scope, evaluator: Arc<dyn Evaluator> },
    /// The node's action is not registered here.
    Missing(Option<Input>),
}

/// An action and what it is given.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) job: Job,
    pub(super) node: NodeIndex,
    pub(super) attempt: u32,
    pub(super) action: Arc<dyn Action>,
    pub(super) input: Value,
    pub(super) cx: StepContext,
    pub(super) grace: Duration,
}

/// What an action is to do.
#[derive(Debug)]
pub(super) enum Job {
    Execute,
    Observe,
    Compensate {
        output: Option<Value>,
    },
    /// Undo the step of another action.
    Counteract,
}

impl Task {
    /// Whether it changes nothing in the world.
    pub(super) fn is_question(&self) -> bool {
        match self {
            Self::Step(step) => matches!(step.job, Job::Observe),
            Self::Evaluate { .. } => true,
            Self::Missing(_) => false,
        }
    }

    /// Does it. Never panics, whatever the action does. Borrows what it works with where it lies: to move it about costs
    /// as much as a small step.
    pub(super) async fn run(mut self) -> Input {
        match &mut self {
            Self::Step(step) => step.run().await,
            Self::Evaluate { subject, template, scope, evaluator } => {
                let work = evaluator.evaluate(template, scope);
                let result = match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(result) => result.map_err(|error| StepError::terminal("expression", error)),
                    Err(_) => Err(StepError::terminal("panic", "the evaluator panicked")),
                };
                Input::Evaluated { subject: *subject, result: result.and_then(bounded) }
            }
            Self::Missing(input) => input.take().unwrap_or(Input::Woke),
        }
    }
}

impl Step {
    async fn run(&mut self) -> Input {
        let Self { job, node, attempt, action, input, cx, grace } = self;
        let (node, attempt, cx, grace) = (*node, *attempt, &*cx, *grace);
        let masker = &cx.scope.services.masker;
        let mask = |error: StepError| StepError {
            message: masker.mask(&error.message),
            hint: error.hint.as_deref().map(|hint| masker.mask(hint)),
            ..error
        };
        match job {
            Job::Execute => {
                let result = limited(cx, grace, action.perform(cx, input.take())).await.map_err(mask);
                let result = result.and_then(|outcome| match outcome {
                    Outcome::Done(output) => bounded(masker.mask_value(output)).map(Outcome::Done),
                    parked => Ok(parked),
                });
                Input::Ended { node, attempt, result }
            }
            Job::Observe => {
                let guarantee = action.guarantee(input);
                // Seldom needed, and large.
                let result = Box::pin(observe(cx, grace, &**action, input)).await.map_err(mask);
                let result = result.and_then(|seen| match seen {
                    Seen::Happened(output) => bounded(masker.mask_value(output)).map(Seen::Happened),
                    other => Ok(other),
                });
                Input::Observed { node, attempt, result, guarantee }
            }
            Job::Compensate { output } => {
                let result = limited(cx, grace, action.compensate(cx, input, output.as_ref())).await.map_err(mask);
                Input::Compensated { node, attempt, result }
            }
            Job::Counteract => {
                let result = limited(cx, grace, action.perform(cx, input.take())).await.map_err(mask);
                let result = result.and_then(|outcome| match outcome {
                    Outcome::Done(_) => Ok(Undone::Reversed),
                    Outcome::Parked(_) => {
                        Err(StepError::terminal("compensate.parked", "a compensating action cannot wait for anything"))
                    }
                });
                Input::Compensated { node, attempt, result }
            }
        }
    }
}

/// Looks whether an attempt has happened; an action that cannot look now is asked a few times more.
async fn observe(cx: &StepContext, grace: Duration, action: &dyn Action, input: &Value) -> Result<Seen, StepError> {
    let mut delay = Duration::from_millis(200);
    for _ in 0..4 {
        match look(cx, grace, action, input).await {
            Err(error) if error.class != ErrorClass::Terminal => {
                cx.sleep_until(cx.now().after(delay)).await;
                delay *= 3;
            }
            result => return result,
        }
    }
    look(cx, grace, action, input).await
}

/// Looks once, for no longer than a person would wait for an answer: an action that hangs must not hold its run for
/// ever.
async fn look(cx: &StepContext, grace: Duration, action: &dyn Action, input: &Value) -> Result<Seen, StepError> {
    tokio::select! {
        biased;
        result = limited(cx, grace, action.observe(cx, input)) => result,
        () = cx.sleep_until(cx.now().after(PATIENCE)) => Err(StepError::retryable("timeout", "there was no answer")),
    }
}

/// Runs an action's future until its deadline and, once it has been asked to stop, for the grace period.
async fn limited<T>(
    cx: &StepContext,
    grace: Duration,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let panicked = |result: Result<Result<T, StepError>, _>| {
        result.unwrap_or_else(|payload: Box<dyn std::any::Any + Send>| {
            let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(StepError::unknown("panic", format_args!("the action panicked: {text}")))
        })
    };
    let Some(deadline) = cx.deadline else { return panicked(work.await) };
    // What was done in spite of the deadline counts; what failed because of it is a timeout, for the reason it gives.
    let late = |error: StepError| match error.code.as_str() {
        "cancelled" => timeout(),
        _ => StepError { hint: error.hint, ..timeout_for(error.message) },
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => {
            let late = |error| if cx.now() >= deadline { late(error) } else { error };
            return panicked(result).map_err(late);
        }
        () = cx.sleep_until(deadline) => cx.cancel.cancel(),
    }
    tokio::select! {
        biased;
        result = &mut work => panicked(result).map_err(late),
        () = cx.sleep_until(deadline.after(grace)) => Err(timeout()),
    }
}

fn timeout() -> StepError {
    StepError::unknown("timeout", "the attempt did not end in time")
}

fn timeout_for(why: impl std::fmt::Display) -> StepError {
    StepError::unknown("timeout", format_args!("the attempt did not end in time: {why}"))
}

/// Refuses a value that is too large to be journaled.
fn bounded(value: Value) -> Result<Value, StepError> {
    if size(&value) <= MAX_PAYLOAD {
        return Ok(value);
    }
    Err(StepError::terminal("output.size", format_args!("the value is larger than {MAX_PAYLOAD} bytes"))
        .with_hint("keep it in a file or a registry, and hand on where it is"))
}

/// About how many bytes a value takes when written.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + size(item) + 4).sum::<usize>() + 2,
        _ => 8,
    }
}
