//! The events of a run as they become durable, wherever it is driven.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;

use super::error::WaitError;
use super::handle::RunHandle;
use super::hub::Known;
use crate::id::Seq;
use crate::run::Recorded;

/// Follows a run's journal. Made by [`RunHandle::subscribe`].
///
/// Nothing is lost and nothing comes twice: it reads the journal, and what is told in this process only says when to
/// look again.
#[derive(Debug)]
pub struct Subscription {
    handle: RunHandle,
    after: Seq,
    read: VecDeque<Recorded>,
    news: watch::Receiver<Known>,
}

impl RunHandle {
    /// The run's events after a position, and then each as it becomes durable. [`Seq`] `0` begins with the first.
    #[must_use]
    pub fn subscribe(&self, after: Seq) -> Subscription {
        let news = self.inner.hub.follow(&self.id, self.inner.known(&self.id));
        Subscription { handle: self.clone(), after, read: VecDeque::new(), news }
    }
}

impl Subscription {
    /// The next event; `None` when the run is over and all have been given.
    ///
    /// # Errors
    /// [`WaitError`] when the store fails, there is no such run, or the engine is shut down.
    pub async fn next(&mut self) -> Result<Option<Recorded>, WaitError> {
        loop {
            if let Some(recorded) = self.read.pop_front() {
                self.after = recorded.seq;
                return Ok(Some(recorded));
            }
            self.news.borrow_and_update();
            // Asked before the journal is read, so that no event between the two is missed.
            let over = self.handle.summary().await?.state.is_final();
            self.read = self.handle.inner.store.journal(&self.handle.id, self.after).await?.into();
            if !self.read.is_empty() {
                continue;
            }
            if over {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    async fn wait(&mut self) -> Result<(), WaitError> {
        let inner = &self.handle.inner;
        let closing = || WaitError::Closing { run: self.handle.id.clone() };
        // A run that is driven by another process tells nobody here.
        let again = inner.now().after(Duration::from_millis(250));
        tokio::select! {
            biased;
            changed = self.news.changed() => if changed.is_err() {
                self.news = inner.hub.follow(&self.handle.id, inner.known(&self.handle.id));
            },
            () = inner.kill.cancelled() => return Err(closing()),
            () = inner.closing.cancelled() => return Err(closing()),
            () = inner.services.clock.sleep_until(again), if !inner.is_active(&self.handle.id) => {}
        }
        Ok(())
    }
}
