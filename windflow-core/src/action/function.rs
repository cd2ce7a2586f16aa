//! Typed actions from plain async functions.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Action, StepContext};
use crate::outcome::{Guarantee, Outcome, Reversal, Seen, StepError, Undone};

type Perform<I, O> = Arc<dyn Fn(StepContext, I) -> BoxFuture<'static, Result<O, StepError>> + Send + Sync>;
type Compensate<I, O> =
    Arc<dyn Fn(StepContext, I, Option<O>) -> BoxFuture<'static, Result<(), StepError>> + Send + Sync>;

/// An [`Action`] made of an async function, with typed input and output. Made by [`action_fn`].
///
/// It is [`Guarantee::Convergent`] unless told otherwise: the function is performed again after a crash, with the same
/// idempotency key.
pub struct FunctionAction<I, O> {
    perform: Perform<I, O>,
    compensate: Option<Compensate<I, O>>,
    guarantee: Guarantee,
    reversal: Reversal,
    types: PhantomData<fn(I) -> O>,
}

/// An action from an async function.
///
/// ```
/// use windflow_core::{StepContext, StepError, action_fn};
/// let double = action_fn(|_cx: StepContext, n: u64| async move { Ok::<u64, StepError>(n * 2) })
///     .compensate_with(|_cx, _n, _doubled: Option<u64>| async move { Ok(()) });
/// # let _ = double;
/// ```
pub fn action_fn<I, O, F, Fut>(perform: F) -> FunctionAction<I, O>
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + DeserializeOwned + Send + 'static,
    F: Fn(StepContext, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, StepError>> + Send + 'static,
{
    FunctionAction {
        perform: Arc::new(move |cx, input| Box::pin(perform(cx, input))),
        compensate: None,
        guarantee: Guarantee::Convergent,
        reversal: Reversal::None,
        types: PhantomData,
    }
}

impl<I, O> FunctionAction<I, O> {
    /// What happens when it is performed twice with one key.
    #[must_use]
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Says that it changes nothing outside, so that nothing has to be taken back.
    #[must_use]
    pub fn pure(mut self) -> Self {
        self.reversal = Reversal::NotNeeded;
        self
    }

    /// How its work is taken back. The output is absent when the step started and never finished.
    #[must_use]
    pub fn compensate_with<F, Fut>(mut self, compensate: F) -> Self
    where
        F: Fn(StepContext, I, Option<O>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), StepError>> + Send + 'static,
    {
        self.compensate = Some(Arc::new(move |cx, input, output| Box::pin(compensate(cx, input, output))));
        self.reversal = Reversal::Own;
        self
    }
}

impl<I, O> fmt::Debug for FunctionAction<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FunctionAction({} -> {})", std::any::type_name::<I>(), std::any::type_name::<O>())
    }
}

fn typed<T: DeserializeOwned>(what: &str, value: Value) -> Result<T, StepError> {
    serde_json::from_value(value)
        .map_err(|error| StepError::terminal("input", format_args!("{what} does not fit: {error}")))
}

#[async_trait]
impl<I, O> Action for FunctionAction<I, O>
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + DeserializeOwned + Send + 'static,
{
    fn guarantee(&self, _input: &Value) -> Guarantee {
        self.guarantee
    }

    fn reversal(&self) -> Reversal {
        self.reversal
    }

    fn check(&self, _input: &Value) -> Vec<(String, String)> {
        Vec::new()
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        let output = (self.perform)(cx.clone(), typed("the input", input)?).await?;
        serde_json::to_value(output)
            .map(Outcome::Done)
            .map_err(|error| StepError::terminal("output", format_args!("the output cannot be written: {error}")))
    }

    async fn observe(&self, _cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        Ok(Seen::CannotTell)
    }

    async fn compensate(&self, cx: &StepContext, input: &Value, output: Option<&Value>) -> Result<Undone, StepError> {
        let Some(compensate) = &self.compensate else {
            return Ok(match self.reversal {
                Reversal::NotNeeded => Undone::NothingToUndo,
                _ => Undone::NotUndoable { why: "the action has no compensation".to_owned() },
            });
        };
        let output = output.map(|output| typed("the output", output.clone())).transpose()?;
        compensate(cx.clone(), typed("the input", input.clone())?, output).await?;
        Ok(Undone::Reversed)
    }
}
