//! What an action owes the engine.

use std::fmt;

use async_trait::async_trait;
use serde_json::Value;

use super::StepContext;
use crate::outcome::{Guarantee, Outcome, Reversal, Seen, StepError, Undone};

/// The code a node names.
///
/// An action may be performed more than once for one step: after a retryable failure, or after a crash. All
/// performances of one step carry the same [`StepContext::idempotency_key`], so that they come to the same place.
/// It takes nothing from globals or the process environment; its whole world is its [`StepContext`].
///
/// A future that is dropped equals a crash: the step's end is then unknown, and [`Action::observe`] is asked first.
#[async_trait]
pub trait Action: fmt::Debug + Send + Sync + 'static {
    /// What happens when it is performed twice with one key. It may depend on the input: an HTTP `PUT` converges,
    /// a `POST` without a key does not.
    fn guarantee(&self, input: &Value) -> Guarantee;

    /// Whether it can take its own work back.
    fn reversal(&self) -> Reversal;

    /// Whether `input` is something this action could ever accept, found out before anything runs.
    ///
    /// `input` may still hold `${{ … }}` expressions; what depends on one is not judged. Each problem is a
    /// JSON-pointer-like path into the input (`/url`) and a sentence.
    fn check(&self, input: &Value) -> Vec<(String, String)>;

    /// Does the work.
    ///
    /// # Errors
    /// [`StepError`], whose class says what may be done about it. After `Unknown` the engine observes first.
    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError>;

    /// Finds out whether an attempt whose end nobody saw has happened. It only looks, or ends what is left of that
    /// attempt: when the answer is not wanted any more (the run was paused, the engine shuts down) the future is dropped,
    /// and it may be asked again later. After a minute without an answer it is asked anew, five times in all; then nobody
    /// can tell.
    ///
    /// # Errors
    /// [`StepError`] when it cannot find out now; retried like the step itself.
    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError>;

    /// Takes the work back. A step that started and failed has no `output` and is compensated too; what it got done
    /// is found by its key, or in [`StepContext::last_checkpoint`]. May run more than once.
    ///
    /// # Errors
    /// [`StepError`]; retryable ones are tried again, and a terminal one leaves the run stuck with this step listed.
    async fn compensate(&self, cx: &StepContext, input: &Value, output: Option<&Value>) -> Result<Undone, StepError>;
}
