//! News on its way to the driver of one run.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use crate::id::NodeIndex;
use crate::outcome::StepError;
use crate::run::Input;

/// What a driver is told.
#[derive(Debug)]
pub(super) enum Message {
    /// News for the run.
    Input(Input),
    /// Several pieces of it.
    Inputs(Vec<Input>),
    /// A checkpoint, and whom to tell when it is durable.
    Checkpoint { node: NodeIndex, attempt: u32, value: Value, done: oneshot::Sender<Result<(), StepError>> },
    /// Something may be in the run's inbox.
    Inbox,
}

/// A queue with one reader. Unbounded, because its writers are: at most one message for each open attempt, and one for
/// each checkpoint an attempt waits for.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: Mutex<Vec<Message>>,
    news: Notify,
}

impl Mailbox {
    pub(super) fn push(&self, message: Message) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.news.notify_one();
    }

    /// Everything that is there now.
    pub(super) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when there may be something.
    pub(super) async fn wait(&self) {
        self.news.notified().await;
    }
}
