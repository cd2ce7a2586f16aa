//! Runs that are left alone because they cannot be driven here: for a while, or for as long as this engine lives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::WaitError;
use crate::id::RunId;
use crate::store::Fault;
use crate::time::Timestamp;

/// How long a run is left alone that may be driven when it is tried again.
const ASIDE: Duration = Duration::from_secs(60);

/// Which runs, until when, and why.
#[derive(Debug, Default)]
pub(super) struct Aside(Mutex<BTreeMap<RunId, (Timestamp, WaitError)>>);

impl Aside {
    fn all(&self) -> MutexGuard<'_, BTreeMap<RunId, (Timestamp, WaitError)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says until when, unless it is for good.
    pub(super) fn leave(&self, run: &RunId, why: WaitError, now: Timestamp) -> Option<Timestamp> {
        let until = (!is_for_good(&why)).then(|| now.after(ASIDE));
        self.all().insert(run.clone(), (until.unwrap_or(Timestamp(u64::MAX)), why));
        until
    }

    /// It can be driven after all.
    pub(super) fn forget(&self, run: &RunId) {
        self.all().remove(run);
    }

    pub(super) fn has(&self, run: &RunId, now: Timestamp) -> bool {
        self.all().get(run).is_some_and(|(until, _)| *until > now)
    }

    pub(super) fn why(&self, run: &RunId, now: Timestamp) -> Option<WaitError> {
        self.all().get(run).filter(|(until, _)| *until > now).map(|(_, why)| why.clone())
    }

    /// How many there are at this time: whoever looks for work must look past them.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let mut all = self.all();
        all.retain(|_, (until, _)| *until > now);
        all.len()
    }

    /// Those that are not among these.
    pub(super) fn others(&self, than: &[RunId]) -> Vec<RunId> {
        let all = self.all();
        if all.is_empty() {
            return Vec::new();
        }
        let than: BTreeSet<&RunId> = than.iter().collect();
        all.keys().filter(|run| !than.contains(run)).cloned().collect()
    }

    /// Those that nothing will change about while this engine lives.
    pub(super) fn for_good(&self) -> Vec<(RunId, WaitError)> {
        let all = self.all();
        let kept = all.iter().filter(|(_, (_, why))| is_for_good(why));
        kept.map(|(run, (_, why))| (run.clone(), why.clone())).collect()
    }
}

/// Whether a run that cannot be driven for this reason never can be, by this engine.
pub(super) fn is_for_good(why: &WaitError) -> bool {
    match why {
        WaitError::Unreadable { .. } | WaitError::Lacking { .. } => true,
        WaitError::Store(error) => matches!(error.fault, Fault::Newer | Fault::Corrupt),
        _ => false,
    }
}
