//! An evaluator that takes its time, the same in every replay.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::ledger::Outside;
use crate::evaluator::{EvaluateError, Evaluator, PathEvaluator, Scope};

#[derive(Clone, Debug)]
pub(super) struct Pondering {
    pub(super) seed: u64,
    /// In how many of a hundred cases.
    pub(super) chance: u8,
    pub(super) outside: Outside,
}

#[async_trait]
impl Evaluator for Pondering {
    async fn evaluate(&self, template: &Value, scope: &Scope) -> Result<Value, EvaluateError> {
        let mut hasher = DefaultHasher::new();
        (self.seed, &scope.run, scope.nodes.len(), template.to_string()).hash(&mut hasher);
        let mut rng = fastrand::Rng::with_seed(hasher.finish());
        if rng.u8(0..100) < self.chance {
            self.outside.lock().counters.pondered += 1;
            tokio::time::sleep(Duration::from_millis(rng.u64(0..60_000))).await;
        }
        PathEvaluator.evaluate(template, scope).await
    }
}
