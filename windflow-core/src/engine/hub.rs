//! Tells whoever waits in this process how a run is.

use std::collections::HashMap;
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

/// One channel for each run somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<HashMap<RunId, watch::Sender<Known>>>);

impl Hub {
    pub(super) fn subscribe(&self, run: &RunId, known: Known) -> watch::Receiver<Known> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever stopped waiting leaves nothing behind for long.
        if all.len() > 64 && all.len().is_power_of_two() {
            all.retain(|_, sender| sender.receiver_count() > 0);
        }
        all.entry(run.clone()).or_insert_with(|| watch::Sender::new(known)).subscribe()
    }

    pub(super) fn tell(&self, run: &RunId, known: Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = all.get(run) {
            if sender.receiver_count() == 0 {
                all.remove(run);
            } else {
                sender.send_replace(known);
            }
        }
    }

    /// Notes that a run is no longer driven here, unless it is known how it ended.
    pub(super) fn rest(&self, run: &RunId) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = all.get(run) {
            sender.send_if_modified(|known| {
                let active = matches!(known, Known::Active);
                if active {
                    *known = Known::Idle;
                }
                active
            });
        }
    }

    /// Wakes everybody, so that they look again.
    pub(super) fn wake_all(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in all.values() {
            sender.send_if_modified(|known| matches!(known, Known::Idle));
        }
    }
}
