//! The bell behind [`Store::news`](super::Store::news).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::id::Namespace;

/// What a store inside one process builds `news` on: rung after a change, and heard by everybody who has not heard of it.
#[derive(Debug)]
pub struct Bell {
    /// How often it was rung for each namespace.
    rung: Mutex<BTreeMap<Namespace, u64>>,
    notify: Notify,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: Mutex::default(), notify: Notify::new() }
    }
}

impl Bell {
    /// A bell that has not been rung.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells who waits for this namespace, or who waits for it next.
    pub fn ring(&self, namespace: &Namespace) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        match rung.get_mut(namespace) {
            Some(count) => *count += 1,
            None => drop(rung.insert(namespace.clone(), 1)),
        }
        drop(rung);
        self.notify.notify_waiters();
    }

    /// Tells who waits, whatever for: something has changed, nobody knows where.
    pub fn ring_all(&self) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|count| *count += 1);
        self.notify.notify_waiters();
    }

    /// Returns when the bell has been rung for this namespace more often than `seen`, with how often.
    pub async fn heard(&self, namespace: &Namespace, seen: u64) -> u64 {
        loop {
            // Registered before the look, so that a ring in between is not missed.
            let mut notified = std::pin::pin!(self.notify.notified());
            notified.as_mut().enable();
            {
                let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
                let count = *rung.entry(namespace.clone()).or_default();
                if count > seen {
                    return count;
                }
            }
            notified.await;
        }
    }
}
