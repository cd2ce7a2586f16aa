//! Virtual time: tokio's paused clock, which jumps to the next timer whenever nothing else can be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::time::{Clock, Timestamp};

/// The world's clock.
#[derive(Debug, Clone)]
pub(super) struct VirtualClock {
    start: Instant,
    looks: Arc<AtomicU64>,
}

/// Nobody looks at the clock so often in a world of minutes, unless something spins.
const MOST_LOOKS: u64 = 2_000_000;

/// What is wrong with a world in which something spins.
pub(super) const SPINNING: &str = "I10: something spins";

/// When the world begins.
const BEGINNING: Timestamp = Timestamp(1_000_000);

impl VirtualClock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), looks: Arc::default() }
    }

    /// Ends the world when something in it spins: virtual time would never move on.
    fn look(&self) {
        if self.looks.fetch_add(1, Ordering::Relaxed) > MOST_LOOKS {
            std::panic::resume_unwind(Box::new(SPINNING));
        }
    }

    pub(super) fn is_spinning(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > MOST_LOOKS
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.look();
        BEGINNING.after(self.start.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.look();
        tokio::time::sleep_until(self.start + BEGINNING.until(at)).await;
    }
}
