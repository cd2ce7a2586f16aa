//! The world outside: what actions have done to it, whatever the engine believes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::faults::Counters;
use crate::id::{Epoch, NodeName, RunId};

/// What an action has done under one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect {
    /// Whether it is there now.
    pub(super) there: bool,
    /// Its output.
    pub(super) output: Value,
}

/// Everything done to the world, and everything that was against the rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) effects: BTreeMap<(RunId, NodeName), Effect>,
    /// Under which keys each step was performed.
    pub(super) keys: BTreeMap<(RunId, NodeName), BTreeSet<String>>,
    /// The newest epoch under which anything was done for each run.
    pub(super) epochs: BTreeMap<RunId, Epoch>,
    /// How often each step was performed.
    pub(super) performed: BTreeMap<(RunId, NodeName), u32>,
    /// The attempts that somebody began to perform.
    pub(super) attempted: BTreeSet<(RunId, NodeName, u32)>,
    /// The attempts of which somebody who looked could not tell whether they had happened.
    pub(super) untold: BTreeSet<(RunId, NodeName, u32)>,
    pub(super) counters: Counters,
    pub(super) violations: Vec<String>,
    /// Runs for which a cancel was acknowledged while they could still be cancelled.
    pub(super) cancelled: BTreeSet<RunId>,
}

/// A ledger that no engine can roll back.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside(Arc<Mutex<Ledger>>);

impl Outside {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violation(&self, what: impl Into<String>) {
        self.lock().violations.push(what.into());
    }
}
