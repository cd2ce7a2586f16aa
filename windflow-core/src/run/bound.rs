//! How long a journal may get: a run that goes round for ever must not fill the store, or take an hour to be read again.

use super::advance::Advance;
use super::event::Event;
use super::input::{Refused, Request};
use super::value::{Phase, Run};
use crate::id::Principal;
use crate::outcome::StepError;

/// Events any run may have, whatever its workflow: signals, pauses, waits that look again.
const ANY: u64 = 100_000;
/// Events each node adds: a thousand attempts, and undoing each, with room to spare.
const PER_NODE: u64 = 5_000;

impl Run {
    /// The most events its journal may hold before it is paused. What undoes a run may go beyond.
    #[must_use]
    pub fn most_events(&self) -> u64 {
        ANY + PER_NODE * self.steps.len() as u64
    }

    /// The most it may hold before an action may leave no more checkpoints. Undoing has room of its own.
    fn most_with_checkpoints(&self) -> u64 {
        if self.phase == Phase::Forward { self.most_events() } else { self.most_events().saturating_mul(2) }
    }

    fn is_full(&self) -> bool {
        self.phase == Phase::Forward && self.seq.0 >= self.most_events()
    }

    fn bound(&self) -> String {
        let most = self.most_with_checkpoints();
        format!("its journal has reached {most} events, the most a run of its size may have")
    }

    /// Why an action may not leave a checkpoint any more, if so.
    pub(crate) fn no_checkpoint(&self) -> Option<StepError> {
        let full = self.seq.0 >= self.most_with_checkpoints();
        full.then(|| StepError::terminal("journal.full", self.bound()))
    }

    /// Refuses what would let a run grow on. It can still be cancelled, terminated or given up.
    pub(super) fn may_grow(&self, request: &Request) -> Result<(), Refused> {
        let grows =
            matches!(request, Request::Signal { .. } | Request::Pause { .. } | Request::Resume | Request::Retry { .. });
        if grows && self.is_full() {
            return Err(Refused::Bound { request: request.name(), bound: self.bound() });
        }
        Ok(())
    }
}

impl Advance<'_> {
    /// Lets nothing new start in a run whose journal has reached its bound.
    pub(super) fn pause_if_full(&mut self) -> Result<(), Refused> {
        if self.run.is_full() && !self.run.paused {
            let reason = format!("{}; cancel or terminate it", self.run.bound());
            self.emit(Event::Paused { principal: Principal::system(), reason })?;
        }
        Ok(())
    }
}
