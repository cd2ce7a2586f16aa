//! One run, as its caller sees it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::builder::Inner;
use super::error::WaitError;
use super::hub::Known;
use super::load::load;
use crate::id::{NodeName, RunId};
use crate::run::{Leftover, Recorded, Run, RunState, Summary};
use crate::store::StoreError;
use crate::time::Timestamp;

/// How a run came out, or why it cannot go on by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The run.
    pub run: RunId,
    /// How it is: over, stuck or paused.
    pub state: RunState,
    /// Its output.
    pub output: Value,
    /// What went wrong first, if something did.
    pub problem: Option<String>,
    /// What it leaves behind: node and reason.
    pub leftovers: Vec<(NodeName, String)>,
}

impl Report {
    pub(super) fn of(run: &Run) -> Self {
        let named = |leftover: &Leftover| (run.workflow().node(leftover.node).name.clone(), leftover.why.clone());
        Self {
            run: run.id().clone(),
            state: run.state(),
            output: run.output().cloned().unwrap_or_default(),
            problem: run.summary().problem,
            leftovers: run.leftovers().iter().map(named).collect(),
        }
    }
}

/// How long a run that wants to be driven may be without anybody who does, until whoever waits hears why it is left alone
/// here: another engine that can drive it takes it within half of that.
const FORSAKEN: Duration = Duration::from_secs(10);

/// A run, wherever it is driven.
#[derive(Clone, Debug)]
pub struct RunHandle {
    pub(super) inner: Arc<Inner>,
    pub(super) id: RunId,
}

impl RunHandle {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The run's row now.
    ///
    /// # Errors
    /// When the store fails, or there is no such run.
    pub async fn summary(&self) -> Result<Summary, WaitError> {
        let found = self.inner.store.summary(&self.id).await?;
        found.ok_or_else(|| WaitError::NotFound { run: self.id.clone() })
    }

    /// The run as its journal has it now.
    ///
    /// # Errors
    /// When the store fails, there is no such run, or its journal cannot be understood.
    pub async fn load(&self) -> Result<Run, WaitError> {
        load(&*self.inner.store, &self.id).await
    }

    /// The run's journal.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn journal(&self) -> Result<Vec<Recorded>, StoreError> {
        self.inner.store.journal(&self.id, crate::id::Seq(0)).await
    }

    /// Waits until the run is over, or cannot go on by itself: stuck, or paused. It need not be driven here.
    ///
    /// # Errors
    /// [`WaitError::Closing`] when the engine is shut down before; the run goes on when it is driven again. Why the run is
    /// left alone here for good, when it wants to be driven and nobody else has taken it for ten seconds.
    pub async fn wait(&self) -> Result<Arc<Report>, WaitError> {
        let mut known = self.inner.hub.subscribe(&self.id, self.inner.known(&self.id));
        let mut forsaken: Option<Timestamp> = None;
        loop {
            let now = known.borrow_and_update().clone();
            match now {
                Known::Ended(report) => return Ok(report),
                Known::Active => {}
                Known::Idle => {
                    let left = self.inner.aside.why_for_good(&self.id);
                    // Asked first: whoever gives a run back has written down before that how it is.
                    let free = left.is_some() && self.inner.store.holder(&self.id).await?.is_none();
                    let Summary { state, wake_at, .. } = self.summary().await?;
                    if state.is_final() || matches!(state, RunState::Stuck | RunState::Paused) {
                        return Ok(Arc::new(Report::of(&self.load().await?)));
                    }
                    let now = self.inner.now();
                    let due = free
                        && (wake_at.is_some_and(|at| at <= now) || !self.inner.store.inbox(&self.id).await?.is_empty());
                    let since = forsaken.filter(|_| due).unwrap_or(now);
                    forsaken = due.then_some(since);
                    if let Some(why) = left.filter(|_| now >= since.after(FORSAKEN)) {
                        return Err(why);
                    }
                }
            }
            let clock = &self.inner.services.clock;
            let again = self.inner.now().after(Duration::from_secs(1));
            tokio::select! {
                biased;
                changed = known.changed() => if changed.is_err() {
                    known = self.inner.hub.subscribe(&self.id, self.inner.known(&self.id));
                },
                () = self.inner.closing.cancelled() => {
                    return Err(WaitError::Closing { run: self.id.clone() });
                }
                () = self.inner.kill.cancelled() => {
                    return Err(WaitError::Closing { run: self.id.clone() });
                }
                // A run that is driven by another process tells nobody here: look again now and then.
                () = clock.sleep_until(again), if !self.inner.is_active(&self.id) => {
                    self.inner.hub.tell(&self.id, Known::Idle);
                }
            }
        }
    }
}
