//! The bell behind [`Store::news`](super::Store::news).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::id::Namespace;

/// What a store inside one process builds `news` on: rung after a change, heard by whoever waits, and remembered until
/// the next wait when nobody does.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<BTreeMap<Namespace, bool>>,
    notify: Notify,
}

impl Bell {
    /// A bell that has not been rung.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells who waits for this namespace, or who waits for it next.
    pub fn ring(&self, namespace: &Namespace) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.clone(), true);
        self.notify.notify_waiters();
    }

    /// Tells who waits, whatever for: something has changed, nobody knows where.
    pub fn ring_all(&self) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|rung| *rung = true);
        self.notify.notify_waiters();
    }

    /// Returns when the bell has been rung for this namespace since it was last heard.
    pub async fn heard(&self, namespace: &Namespace) {
        loop {
            // Registered before the look, so that a ring in between is not missed.
            let mut notified = std::pin::pin!(self.notify.notified());
            notified.as_mut().enable();
            {
                let mut all = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
                if std::mem::take(all.entry(namespace.clone()).or_default()) {
                    return;
                }
            }
            notified.await;
        }
    }
}
