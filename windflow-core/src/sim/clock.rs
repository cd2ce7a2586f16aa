//! Virtual time: tokio's paused clock, which jumps to the next timer whenever nothing else can be done.

use async_trait::async_trait;
use tokio::time::Instant;

use crate::time::{Clock, Timestamp};

/// The world's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct VirtualClock {
    start: Instant,
}

/// When the world begins.
const BEGINNING: Timestamp = Timestamp(1_000_000);

impl VirtualClock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        BEGINNING.after(self.start.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.start + BEGINNING.until(at)).await;
    }
}
