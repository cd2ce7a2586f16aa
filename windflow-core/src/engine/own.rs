//! The runs an engine started or was told to drive, and when each wants to be driven next.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;
use std::time::Duration;

use super::builder::{Drive, Inner};
use crate::id::RunId;
use crate::store::StoreError;
use crate::time::Timestamp;

/// How many due runs are asked for at once: others may want driving, too.
const DUE: u32 = 10_000;
/// How soon a run that somebody else holds is looked at again.
const HELD: Duration = Duration::from_millis(200);

/// For each run when it wants to be driven, as far as is known here: the engine knows it from when it last drove the
/// run, so that a thousand runs that wait cost no more questions than one.
#[derive(Debug, Default)]
pub(super) struct Own(BTreeMap<RunId, Option<Timestamp>>);

impl Inner {
    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after a run from now on, which wants to be driven at `wake`.
    pub(super) fn own_insert(&self, run: RunId, wake: Option<Timestamp>) {
        if self.drive == Drive::Own {
            self.own().0.insert(run, wake);
        }
    }

    /// Looks after a run no longer: nothing more will come of it.
    pub(super) fn own_remove(&self, run: &RunId) {
        self.own().0.remove(run);
    }

    /// Those of its own that want to be driven and are held by nobody.
    pub(super) async fn own_due(&self, now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        if self.own().0.is_empty() {
            return Ok(Vec::new());
        }
        let mut due = self.store.due(&self.namespace, now, DUE).await?;
        // Then it may be due and yet not be listed: others wait longer.
        let full = due.len() >= DUE as usize;
        due.retain(|run| self.own().0.contains_key(run));
        if full {
            // Nor is one that waits and was asked something a moment ago.
            let asked = self.store.asked(&self.namespace, DUE).await?;
            let listed: HashSet<&RunId> = due.iter().collect();
            // One lock after the other: elsewhere this one is taken within that of the active runs.
            let own = |run: &RunId| self.own().0.contains_key(run);
            let asked = asked.into_iter().filter(|run| own(run));
            let more: Vec<RunId> = asked.filter(|run| !listed.contains(run) && !self.is_active(run)).collect();
            due.extend(more);
        }
        // What should be due by what is known here and is not: it is over, somebody else drives it, or has.
        let listed: HashSet<&RunId> = due.iter().collect();
        let mut late = self.own_idle(|wake| wake.is_some_and(|at| at <= now));
        late.retain(|run| !listed.contains(run));
        for run in late {
            match self.store.summary(&run).await? {
                Some(summary) if !summary.state.is_final() => {
                    let again = summary.wake_at.map(|at| at.max(now.after(HELD)));
                    self.own().0.insert(run.clone(), again);
                    if full && summary.wake_at.is_some_and(|at| at <= now) {
                        due.push(run); // a claim tells whether somebody holds it
                    }
                }
                None => self.own_remove(&run),
                Some(_) => {
                    // In this order: what it was asked since it was looked for is in its inbox before it is looked after.
                    self.own_remove(&run);
                    let asked = self.store.inbox(&run).await.map(|inbox| !inbox.is_empty());
                    if !matches!(asked, Ok(false)) {
                        self.own_insert(run.clone(), Some(Timestamp(0)));
                    }
                    if asked? {
                        due.push(run);
                    }
                }
            }
        }
        Ok(due)
    }

    /// When the next of its own wants to be driven.
    pub(super) fn own_wake(&self) -> Option<Timestamp> {
        let active: BTreeSet<RunId> =
            self.active.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        self.own().0.iter().filter(|(run, _)| !active.contains(*run)).filter_map(|(_, wake)| *wake).min()
    }

    fn own_idle(&self, wanted: impl Fn(Option<Timestamp>) -> bool) -> Vec<RunId> {
        let own: Vec<RunId> =
            self.own().0.iter().filter(|(_, wake)| wanted(**wake)).map(|(run, _)| run.clone()).collect();
        own.into_iter().filter(|run| !self.is_active(run)).collect()
    }
}
