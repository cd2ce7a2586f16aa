//! The state files a command has opened, to be closed before its process ends.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use windflow_workflow::SqliteStore;

/// How long the end of a process waits for its state files. What is not closed by then loses nothing: its log is read by
/// whoever opens the file next.
const PATIENCE: Duration = Duration::from_secs(1);

type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which files. Clones are handles to the same list, and keep no file open.
#[derive(Clone, Default)]
pub struct Opened(Arc<Mutex<Vec<Closed>>>);

impl Opened {
    /// Notes a file.
    pub fn note(&self, store: &SqliteStore) {
        self.all().push(Box::pin(store.closed()));
    }

    /// Waits until all are closed, within bounds.
    pub async fn closed(self) {
        let all = std::mem::take(&mut *self.all());
        let closed = async {
            for closed in all {
                closed.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, closed).await;
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Closed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({})", self.all().len())
    }
}
