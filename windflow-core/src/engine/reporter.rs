//! How steps report to the engine while they work.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::oneshot;

use super::builder::Inner;
use super::mailbox::{Mailbox, Message};
use crate::action::StepReporter;
use crate::hash::ContentHash;
use crate::id::{NodeName, RunId};
use crate::outcome::StepError;
use crate::workflow::Workflow;

#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) inner: Arc<Inner>,
    pub(super) run: RunId,
    pub(super) workflow: Arc<Workflow>,
    pub(super) mailbox: Arc<Mailbox>,
}

#[async_trait]
impl StepReporter for Reporter {
    async fn checkpoint(&self, node: &NodeName, attempt: u32, value: Value) -> Result<(), StepError> {
        let gone = || StepError::unknown("engine.gone", "the run is no longer driven here");
        let node = self.workflow.find(node.as_str()).ok_or_else(gone)?;
        let (done, durable) = oneshot::channel();
        self.mailbox.push(Message::Checkpoint { node, attempt, value, done });
        durable.await.unwrap_or_else(|_| Err(gone()))
    }

    fn progress(&self, node: &NodeName, text: &str) {
        self.inner.sinks.iter().for_each(|sink| sink.progress(&self.run, node, text));
    }

    async fn blob(&self, hash: ContentHash) -> Result<Arc<[u8]>, StepError> {
        match self.inner.store.blob(hash).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(StepError::terminal("blob.unknown", format_args!("the run pins no file {hash}"))),
            Err(error) => Err(StepError::retryable("store", error)),
        }
    }
}
