//! How a driver lets go: of attempts that do not end, of the run, and of its lease.

use std::time::Duration;

use super::driver::{Driver, End};
use super::mailbox::Message;
use crate::outcome::StepError;
use crate::planted::{Bug, is_planted};
use crate::run::{Command, Input};

impl Driver {
    /// Drops attempts that were asked to stop and did not: nobody knows how they ended.
    pub(super) fn drop_late(&mut self) {
        if self.stop.late_at.is_none_or(|at| at > self.inner.now()) {
            return;
        }
        self.stop.cut.all.cancel();
        self.drop_questions();
        let error = || StepError::unknown("stopped", "the attempt did not stop within the grace period");
        for command in self.open.commands() {
            match command {
                Command::Execute { node, attempt } => {
                    self.news.push(Input::Ended { node, attempt, result: Err(error()) });
                }
                Command::Compensate { node, attempt } => {
                    self.news.push(Input::Compensated { node, attempt, result: Err(error()) });
                }
                Command::Observe { .. } | Command::Evaluate(_) | Command::WakeAt(_) => {}
            }
        }
    }

    /// Brings the open attempts to an end, writes down which have ended well, and lets go of the run: whoever takes it
    /// next closes what is left open.
    pub(super) async fn let_go(&mut self) -> Result<(), End> {
        self.leaving = !is_planted(Bug::StartWhileLeaving);
        self.drop_questions();
        self.stop.asked.cancel();
        let until = self.inner.now().after(self.inner.grace);
        while !self.open.is_empty() {
            tokio::select! {
                biased;
                () = self.mailbox.wait() => {}
                () = self.inner.services.clock.sleep_until(until) => break,
            }
            let messages = self.mailbox.take();
            let inputs = messages.into_iter().flat_map(|message| match message {
                Message::Input(input) => vec![input],
                Message::Inputs(inputs) => inputs,
                Message::Checkpoint { node, attempt, value, done } => {
                    self.checkpoint(node, attempt, value, done).into_iter().collect()
                }
                Message::Inbox => Vec::new(),
            });
            for input in inputs.collect::<Vec<_>>() {
                match &input {
                    // It failed because it was told to stop: that is not the step's failure.
                    Input::Ended { result: Err(_), .. } | Input::Compensated { result: Err(_), .. } => {
                        self.close(&input);
                    }
                    _ => self.news.push(input),
                }
            }
            self.take_in(Vec::new()).await?;
        }
        self.news.push(Input::Released);
        self.take_in(Vec::new()).await
    }

    /// Gives the lease back, however long the store is away: a lease that is kept and not used would be renewed for
    /// ever, and nobody else could take the run.
    pub(super) async fn give_back(&self) {
        let mut delay = Duration::from_millis(100);
        while let Err(error) = self.inner.store.release(&self.lease).await {
            tracing::warn!(run = %self.run.id(), %error, "the lease could not be given back");
            if self.inner.closing.is_cancelled() {
                return;
            }
            self.inner.services.clock.sleep_until(self.inner.now().after(delay)).await;
            delay = (delay * 2).min(Duration::from_secs(5));
        }
    }
}
