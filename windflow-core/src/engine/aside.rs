//! Runs that are left alone because they cannot be driven here: for a while, or for as long as this engine lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::WaitError;
use crate::id::RunId;
use crate::store::Fault;
use crate::time::Timestamp;

/// How long a run is left alone that may be driven when it is tried again.
const ASIDE: Duration = Duration::from_secs(60);

/// How many of those that are left alone for good are looked at in one go.
const FEW: usize = 10;

/// Which runs.
#[derive(Debug, Default)]
pub(super) struct Aside(Mutex<BTreeMap<RunId, Left>>);

/// How a run is left alone.
#[derive(Debug)]
struct Left {
    why: WaitError,
    /// Until when, unless it is for good.
    until: Option<Timestamp>,
    /// When somebody looks whether it is over.
    look_at: Timestamp,
}

impl Left {
    fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl Aside {
    fn all(&self) -> MutexGuard<'_, BTreeMap<RunId, Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says until when, unless it is for good.
    pub(super) fn leave(&self, run: &RunId, why: WaitError, now: Timestamp) -> Option<Timestamp> {
        let until = (!is_for_good(&why)).then(|| now.after(ASIDE));
        self.all().insert(run.clone(), Left { why, until, look_at: now.after(ASIDE) });
        until
    }

    /// It can be driven after all.
    pub(super) fn forget(&self, run: &RunId) {
        self.all().remove(run);
    }

    pub(super) fn has(&self, run: &RunId, now: Timestamp) -> bool {
        self.all().get(run).is_some_and(|left| left.holds(now))
    }

    pub(super) fn why(&self, run: &RunId, now: Timestamp) -> Option<WaitError> {
        self.all().get(run).filter(|left| left.holds(now)).map(|left| left.why.clone())
    }

    /// Why nothing will come of a run while this engine lives, if that is so.
    pub(super) fn why_for_good(&self, run: &RunId) -> Option<WaitError> {
        self.all().get(run).filter(|left| left.until.is_none()).map(|left| left.why.clone())
    }

    /// How many there are at this time: whoever looks for work must look past them.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let mut all = self.all();
        all.retain(|_, left| left.holds(now));
        all.len()
    }

    /// Those left alone for good that nobody has looked at for a while, a few at a time.
    pub(super) fn to_look_at(&self, now: Timestamp) -> Vec<RunId> {
        let mut all = self.all();
        let due = all.iter_mut().filter(|(_, left)| left.until.is_none() && left.look_at <= now).take(FEW);
        due.map(|(run, left)| {
            left.look_at = now.after(ASIDE);
            run.clone()
        })
        .collect()
    }

    /// Those that nothing will change about while this engine lives.
    pub(super) fn for_good(&self) -> Vec<(RunId, WaitError)> {
        let all = self.all();
        let kept = all.iter().filter(|(_, left)| left.until.is_none());
        kept.map(|(run, left)| (run.clone(), left.why.clone())).collect()
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
