//! Finds runs that want to be driven, and keeps the leases of those that are.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::aside::is_for_good;
use super::builder::{Drive, Inner};
use super::driver::Driver;
use super::durable::record;
use super::error::WaitError;
use super::hub::Known;
use super::load::{check, read};
use super::mailbox::{Mailbox, Message};
use crate::id::{RunId, Seq};
use crate::run::{Event, Run};
use crate::sink::Emitted;
use crate::store::{Claim, Lease, StoreError};
use crate::time::Timestamp;
use crate::workflow::Severity;

/// How many due runs are looked at in one go.
const PAGE: u32 = 200;
/// How many runs that were asked something are looked at in one go.
const ASKED: u32 = 10_000;
/// The longest time between two looks, whatever the hints say: hints may be lost.
const LOOK: Duration = Duration::from_secs(5);

impl Inner {
    pub(super) fn is_active(&self, run: &RunId) -> bool {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).contains_key(run)
    }

    /// How many more runs may be driven here at the same time.
    pub(super) fn free_places(&self) -> usize {
        self.max_active.saturating_sub(self.active.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    pub(super) fn known(&self, run: &RunId) -> Known {
        if self.is_active(run) { Known::Active } else { Known::Idle }
    }

    /// Tells the driver of a run that its inbox has something, if it is driven here.
    pub(super) fn poke(&self, run: &RunId) {
        // Under the lock: what is pushed while the run is active is seen by whoever ends it.
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        match active.get(run) {
            Some(mailbox) => mailbox.push(Message::Inbox),
            None => self.look.notify_one(),
        }
    }

    /// Tells whoever drives a run that its inbox has something, and sees to it that it is driven.
    pub(super) fn poke_own(&self, run: &RunId) {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        match active.get(run) {
            Some(mailbox) => mailbox.push(Message::Inbox),
            None => {
                self.own_insert(run.clone(), Some(Timestamp(0)));
                self.look.notify_one();
            }
        }
    }

    /// Tells the sinks how a run began.
    pub(super) fn emit_first(&self, run: &Run, at: Timestamp, events: &[Event]) {
        if !self.sinks.is_empty() {
            let recorded = record(Seq(0), at, run.epoch(), events);
            let emitted = Emitted { run: run.id(), workflow: run.workflow(), events: &recorded };
            self.sinks.iter().for_each(|sink| sink.emit(&emitted));
        }
    }

    /// Gives a run to a driver of its own.
    pub(super) fn spawn(self: &Arc<Self>, lease: Lease, run: Run, claimed: bool) {
        let (mailbox, id) = (Arc::new(Mailbox::default()), run.id().clone());
        self.active.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::clone(&mailbox));
        self.hub.tell(&id, Known::Active);
        let driver = Driver::new(Arc::clone(self), lease, run, Arc::clone(&mailbox));
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let rest = driver.drive(claimed).await;
            let is_aside = inner.aside.has(&id, inner.now()); // then it is settled when it is looked at again
            {
                // Under the lock, as in `poke_own`: what it is asked comes before this, and is seen here, or after it.
                let mut active = inner.active.lock().unwrap_or_else(PoisonError::into_inner);
                active.remove(&id);
                let asked = mailbox.take().iter().any(|message| matches!(message, Message::Inbox));
                if rest.over && !asked && inner.drive == Drive::Own && !is_aside {
                    // Nothing more will come of it, and to ask the store would cost as much as one of its steps.
                    inner.own_remove(&id);
                } else if !is_aside {
                    inner.own_insert(id.clone(), if asked { Some(Timestamp(0)) } else { rest.wake_at });
                    // What came in while it was being given back must not wait for the next hint.
                    inner.look.notify_one();
                }
            }
            inner.hub.rest(&id);
        });
    }

    /// Claims a run and drives it. `Ok(false)` when somebody else holds it. A run that cannot be driven here is left as
    /// it is, for others.
    pub(super) async fn take(self: &Arc<Self>, id: &RunId) -> Result<bool, WaitError> {
        let taken = self.try_to_take(id).await;
        match &taken {
            Ok(_) => {}
            Err(why) if is_for_good(why) => self.leave_aside(id, why.clone()),
            Err(_) => {}
        }
        taken
    }

    /// Leaves a run alone, for a while or for good.
    pub(super) fn leave_aside(&self, id: &RunId, why: WaitError) {
        match self.aside.leave(id, why, self.now()) {
            Some(until) => self.own_insert(id.clone(), Some(until)),
            None => self.own_remove(id),
        }
    }

    async fn try_to_take(self: &Arc<Self>, id: &RunId) -> Result<bool, WaitError> {
        // The intake and a caller of `drive` may want the same run at the same moment: a second claim would fence the
        // first driver out in the middle of its first step.
        let _one = self.taking.lock().await;
        if self.is_active(id) {
            return Ok(true);
        }
        // Before anything is written, and be it the lease.
        check(&*self.store, id).await?;
        let claim = self.store.claim(id, &self.worker, self.now(), self.lease_until()).await?;
        let Claim::Taken(lease) = claim else { return Ok(false) };
        match self.load_fit(id).await {
            Ok(run) => {
                // Before its driver begins: that may leave it alone at once.
                self.aside.forget(id);
                self.spawn(lease, run, true);
                Ok(true)
            }
            Err(error) => {
                self.store.release(&lease).await?;
                Err(error)
            }
        }
    }

    /// A run from the store, if this engine has all it asks for. A run that was started where more is allowed must not
    /// fail, and be undone, because the wrong worker has found it.
    async fn load_fit(&self, id: &RunId) -> Result<Run, WaitError> {
        let run = read(&*self.store, id).await?;
        let mut findings = run.workflow().lint(&self.actions);
        findings.retain(|finding| finding.severity == Severity::Error);
        if findings.is_empty() { Ok(run) } else { Err(WaitError::Lacking { run: id.clone(), findings }) }
    }

    /// Looks for runs to drive until the engine closes.
    pub(super) async fn intake(self: Arc<Self>) {
        let mut renew_at = self.now().after(self.lease / 3);
        let mut seen = 0;
        loop {
            let now = self.now();
            if now >= renew_at {
                self.renew().await;
                renew_at = now.after(self.lease / 3);
            }
            let next = match self.look(now).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be looked through");
                    now.after(Duration::from_secs(1))
                }
            };
            self.hub.wake_all();
            let next = next.min(renew_at);
            tokio::select! {
                biased;
                () = self.kill.cancelled() => return,
                () = self.closing.cancelled() => return,
                () = self.look.notified() => {}
                news = self.store.news(&self.namespace, seen) => {
                    seen = news;
                    self.poke_asked().await;
                }
                () = self.services.clock.sleep_until(next) => {}
            }
        }
    }

    async fn renew(&self) {
        if self.active.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return;
        }
        if let Err(error) = self.store.renew(&self.worker, self.lease_until()).await {
            tracing::warn!(%error, "the leases could not be renewed");
        }
    }

    /// Tells the drivers of runs that were asked something by another process.
    async fn poke_asked(&self) {
        match self.store.asked(&self.namespace, ASKED).await {
            Ok(runs) => {
                let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
                runs.iter().filter_map(|run| active.get(run)).for_each(|mailbox| mailbox.push(Message::Inbox));
            }
            Err(error) => tracing::warn!(%error, "the inboxes cannot be looked through"),
        }
    }

    /// Takes what is due and answers when to look again.
    async fn look(self: &Arc<Self>, now: Timestamp) -> Result<Timestamp, StoreError> {
        let free = self.free_places();
        let due = match self.drive {
            Drive::All if free == 0 => Vec::new(),
            Drive::All => {
                // What is left alone stays due, and must not keep others out of the page.
                let page = free.min(PAGE as usize) + self.aside.count(now);
                let due = self.store.due(&self.namespace, now, u32::try_from(page).unwrap_or(u32::MAX)).await?;
                // Somebody else may have driven them to their end. That one of them cannot be read holds nobody up.
                for run in self.aside.to_look_at(now) {
                    if self.store.summary(&run).await.is_ok_and(|row| row.is_none_or(|row| row.state.is_final())) {
                        self.aside.forget(&run);
                    }
                }
                due
            }
            Drive::Own => self.own_due(now).await?,
        };
        let mut taken = 0;
        for run in due {
            if self.is_active(&run) || self.aside.has(&run, now) || self.closing.is_cancelled() {
                continue;
            }
            match self.take(&run).await {
                Ok(true) => taken += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%run, %error, "the run is left alone");
                    self.leave_aside(&run, error);
                }
            }
        }
        if taken >= PAGE as usize {
            return Ok(now);
        }
        let wake = match self.drive {
            Drive::All => self.store.next_wake(&self.namespace, now).await?,
            Drive::Own => self.own_wake(),
        };
        // A run that is due and could not be taken must not make this loop spin.
        let soonest = now.after(Duration::from_millis(100));
        Ok(wake.map_or(now.after(LOOK), |at| at.max(soonest)).min(now.after(LOOK)))
    }
}
