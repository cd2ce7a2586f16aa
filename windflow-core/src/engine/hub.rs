//! Tells whoever waits in this process how a run is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::handle::Report;
use crate::id::RunId;

/// What is known of a run in this process.
#[derive(Clone, Debug, Default)]
pub(super) enum Known {
    /// It is being driven here.
    #[default]
    Active,
    /// It is not: ask the store.
    Idle,
    /// It cannot go on by itself.
    Ended(Arc<Report>),
}

/// One channel for each run somebody waits for or follows.
#[derive(Debug, Default)]
pub(super) struct Hub {
    channels: Mutex<HashMap<RunId, Channel>>,
    /// How many of them are followed: as long as none is, an append tells nobody, and looks nobody up.
    followed: AtomicUsize,
}

#[derive(Debug)]
struct Channel {
    known: watch::Sender<Known>,
    /// Whether somebody wants to hear of every append. Whoever only waits for the end must not be woken by each: in
    /// memory that would cost more than a step.
    followed: bool,
}

impl Hub {
    /// For whoever waits for the end.
    pub(super) fn subscribe(&self, run: &RunId, known: Known) -> watch::Receiver<Known> {
        self.channel(run, known, false)
    }

    /// For whoever wants to hear of every append, too.
    pub(super) fn follow(&self, run: &RunId, known: Known) -> watch::Receiver<Known> {
        self.channel(run, known, true)
    }

    fn channel(&self, run: &RunId, known: Known, follows: bool) -> watch::Receiver<Known> {
        let mut all = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever stopped waiting leaves nothing behind for long.
        if all.len() > 64 && all.len().is_power_of_two() {
            all.retain(|_, channel| channel.known.receiver_count() > 0);
            self.count(&all);
        }
        let new = || Channel { known: watch::Sender::new(known), followed: false };
        let channel = all.entry(run.clone()).or_insert_with(new);
        channel.followed |= follows;
        let receiver = channel.known.subscribe();
        if follows {
            self.count(&all);
        }
        receiver
    }

    fn count(&self, all: &HashMap<RunId, Channel>) {
        // Whoever follows reads the journal after this, and whoever has appended to it looks at this after that.
        self.followed.store(all.values().filter(|channel| channel.followed).count(), Ordering::SeqCst);
    }

    /// Whether anybody wants to hear of every append to any run.
    pub(super) fn is_followed(&self) -> bool {
        self.followed.load(Ordering::SeqCst) > 0
    }

    pub(super) fn tell(&self, run: &RunId, known: Known) {
        let mut all = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Channel { known: sender, .. }) = all.get(run) {
            if sender.receiver_count() == 0 {
                if all.remove(run).is_some_and(|channel| channel.followed) {
                    self.count(&all);
                }
            } else {
                sender.send_replace(known);
            }
        }
    }

    /// Tells that a run that is driven here has gone on.
    pub(super) fn grew(&self, run: &RunId) {
        let all = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = all.get(run) {
            channel.known.send_if_modified(|known| {
                let was = std::mem::take(known);
                channel.followed || !matches!(was, Known::Active)
            });
        }
    }

    /// Notes that a run is no longer driven here, unless it is known how it ended.
    pub(super) fn rest(&self, run: &RunId) {
        let all = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Channel { known: sender, .. }) = all.get(run) {
            // Whoever follows it hears of it in any case: from now on nobody tells him more, and he must look himself.
            sender.send_modify(|known| {
                if matches!(known, Known::Active) {
                    *known = Known::Idle;
                }
            });
        }
    }

    /// Wakes everybody, so that they look again.
    pub(super) fn wake_all(&self) {
        let all = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in all.values() {
            channel.known.send_if_modified(|known| matches!(known, Known::Idle));
        }
    }
}
