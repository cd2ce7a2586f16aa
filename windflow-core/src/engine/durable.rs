//! Makes what a driver has decided durable, and tells of it.

use std::sync::Arc;
use std::time::Duration;

use super::driver::{Driver, End};
use super::kin::Kin;
use crate::id::{Epoch, Seq};
use crate::planted::{Bug, is_planted};
use crate::run::{Event, Recorded};
use crate::sink::Emitted;
use crate::store::{Batch, Fault, StoreError};
use crate::time::Timestamp;

/// How long it waits before it tries again for the first time.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// How long a driver waits while the store does not answer or is full.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of some news, to be made durable as one.
pub(super) struct Decided {
    pub(super) after: Seq,
    pub(super) at: Timestamp,
    pub(super) events: Arc<[Event]>,
    pub(super) consumed: Vec<u64>,
    pub(super) kin: Kin,
}

/// How a driver waits for a store that does not answer, or is full.
pub(super) struct Patience {
    give_up_at: Timestamp,
    delay: Duration,
}

impl Patience {
    /// Waits before the next try; the error, when it is not one that passes or there were tries enough.
    pub(super) async fn wait(&mut self, driver: &Driver, error: StoreError) -> Result<(), End> {
        let (inner, run) = (&driver.inner, driver.run.id());
        if !matches!(error.fault, Fault::Unavailable | Fault::Full) || inner.now() >= self.give_up_at {
            return Err(End::Lost(error));
        }
        // Told once where people see it: until it is over, the run stands still.
        if self.delay == FIRST_DELAY {
            tracing::error!(%run, %error, "the run waits for its state file");
        } else {
            tracing::warn!(%run, %error, "the run still waits for its state file");
        }
        inner.services.clock.sleep_until(inner.now().after(self.delay)).await;
        self.delay = (self.delay * 2).min(Duration::from_secs(2));
        Ok(())
    }
}

impl Driver {
    pub(super) fn patience(&self) -> Patience {
        Patience { give_up_at: self.inner.now().after(PATIENCE), delay: FIRST_DELAY }
    }

    fn batch(&self, decided: &Decided) -> Batch {
        Batch {
            lease: self.lease.clone(),
            after: decided.after,
            at: decided.at,
            events: Arc::clone(&decided.events),
            summary: self.run.summary(),
            consumed: decided.consumed.clone(),
            release: self.open.is_empty() && self.run.state().is_final(),
            children: decided.kin.children.iter().map(|child| child.new.clone()).collect(),
            submissions: decided.kin.submissions.clone(),
        }
    }

    pub(super) async fn append(&mut self, decided: Decided) -> Result<(), End> {
        let batch = self.batch(&decided);
        let release = batch.release;
        if let Err(error) = self.inner.store.append(batch).await {
            self.append_again(&decided, error).await?;
        }
        self.released = release;
        self.emit(&decided);
        self.spread(decided.kin);
        Ok(())
    }

    /// Makes a decision durable whose first append has failed.
    async fn append_again(&self, decided: &Decided, mut error: StoreError) -> Result<(), End> {
        let mut patience = self.patience();
        loop {
            match error.fault {
                // It may have happened: nothing is decided before that is known.
                Fault::Unknown if is_planted(Bug::UnknownCommitIsSuccess) || self.is_durable(decided).await => {
                    return Ok(());
                }
                _ => patience.wait(self, error).await?,
            }
            match self.inner.store.append(self.batch(decided)).await {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
    }

    /// Whether a decision is durable after all. When that cannot be found out either, the run is given up: the next claim
    /// fences out whatever may still be on its way.
    async fn is_durable(&self, Decided { after, events, consumed, .. }: &Decided) -> bool {
        let (store, run) = (&self.inner.store, self.run.id());
        if events.is_empty() {
            // What was asked came to nothing, and only the inbox can tell whether it has been taken out.
            return store.inbox(run).await.is_ok_and(|left| left.iter().all(|entry| !consumed.contains(&entry.id)));
        }
        store.journal(run, *after).await.is_ok_and(|found| {
            found.len() == events.len()
                && found.iter().zip(events.iter()).all(|(a, b)| a.epoch == self.lease.epoch && a.event == *b)
        })
    }

    fn emit(&self, Decided { after, at, events, .. }: &Decided) {
        if self.inner.sinks.is_empty() {
            return;
        }
        let recorded = record(*after, *at, self.lease.epoch, events);
        let emitted = Emitted { run: self.run.id(), workflow: self.run.workflow(), events: &recorded };
        self.inner.sinks.iter().for_each(|sink| sink.emit(&emitted));
    }
}

/// Events at their places.
pub(super) fn record(after: Seq, at: Timestamp, epoch: Epoch, events: &[Event]) -> Vec<Recorded> {
    (after.0 + 1..)
        .zip(events)
        .map(|(seq, event)| Recorded { seq: Seq(seq), at, epoch, event: event.clone() })
        .collect()
}
