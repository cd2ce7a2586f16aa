//! A step that waits for somebody.

use async_trait::async_trait;
use serde_json::{Value, json};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, SignalName, StepContext, StepError, Undone, outcome::Until,
};

/// Waits for the signal `go`.
#[derive(Debug)]
pub struct Gate;

#[async_trait]
impl Action for Gate {
    fn guarantee(&self, _: &Value) -> Guarantee {
        Guarantee::Convergent
    }
    fn reversal(&self) -> Reversal {
        Reversal::NotNeeded
    }
    fn check(&self, _: &Value) -> Vec<(String, String)> {
        Vec::new()
    }
    async fn perform(&self, cx: &StepContext, _: Value) -> Result<Outcome, StepError> {
        Ok(match cx.resumed_by() {
            Some(_) => Outcome::Done(json!("gone")),
            None => Outcome::Parked(Until::Signal { name: SignalName::new("go").unwrap(), deadline: None }),
        })
    }
    async fn observe(&self, _: &StepContext, _: &Value) -> Result<Seen, StepError> {
        Ok(Seen::DidNot)
    }
    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NothingToUndo)
    }
}
