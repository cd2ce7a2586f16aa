//! What brings the tasks of one run to their end, from the mildest to the hardest.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::task::Task;
use crate::time::Timestamp;

/// Attempts and compensations change the world: they are asked to stop, and given time for it. Questions, which are
/// observations and evaluations, change nothing: one that is not wanted any more is dropped as it is, and never heard of
/// again.
#[derive(Debug)]
pub(super) struct Stop {
    /// Asks attempts and compensations to stop.
    pub(super) asked: Arc<CancellationToken>,
    /// When those that were asked and did not are dropped.
    pub(super) late_at: Option<Timestamp>,
    pub(super) cut: Cut,
}

/// What drops tasks without a word, like a crash.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) all: CancellationToken,
    pub(super) questions: CancellationToken,
}

impl Cut {
    fn new(engine: &CancellationToken) -> Self {
        let all = engine.child_token();
        Self { questions: all.child_token(), all }
    }

    /// What drops this one.
    pub(super) fn of(&self, task: &Task) -> &CancellationToken {
        if task.is_question() { &self.questions } else { &self.all }
    }
}

impl Stop {
    /// Nothing is stopped yet; everything is, without a word, when the engine is.
    pub(super) fn new(engine: &CancellationToken) -> Self {
        Self { asked: Arc::default(), late_at: None, cut: Cut::new(engine) }
    }

    /// Drops all questions.
    pub(super) fn drop_questions(&mut self) {
        self.cut.questions.cancel();
        self.cut.questions = self.cut.all.child_token();
    }
}
