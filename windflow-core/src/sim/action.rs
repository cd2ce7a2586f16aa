//! An action that misbehaves in every way an action can, the same way in every replay.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::faults::Faults;
use super::ledger::{Ledger, Outside};
use super::plan::Plans;
use crate::action::{Action, StepContext};
use crate::id::Seq;
use crate::outcome::{Guarantee, Outcome, Reversal, Seen, StepError, Undone, Until};
use crate::run::Event;
use crate::store::{MemoryStore, Store as _};

#[derive(Clone, Debug)]
pub(super) struct SimAction {
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) outside: Outside,
    pub(super) store: MemoryStore,
    pub(super) plans: Arc<Plans>,
    pub(super) guarantee: Guarantee,
}

impl SimAction {
    /// A draw that depends only on the seed and on what is being done.
    fn draw(&self, cx: &StepContext, what: &str) -> fastrand::Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, cx.run_id(), cx.node(), cx.attempt(), what).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }

    fn misbehaves(&self, rng: &mut fastrand::Rng) -> bool {
        rng.u8(0..100) < self.faults.action
    }

    /// No effect begins before its start record is durable (I4).
    async fn check_start(&self, cx: &StepContext, undo: bool) {
        let journal = self.store.journal(cx.run_id(), Seq(0)).await.unwrap_or_default();
        let plan = journal.first().and_then(|first| match &first.event {
            Event::Created(created) => self.plans.get(&created.workflow),
            _ => None,
        });
        let node = plan.and_then(|plan| plan.find(cx.node().as_str()));
        let found = journal.iter().any(|recorded| match &recorded.event {
            Event::Started { node: of, attempt } => !undo && Some(*of) == node && *attempt == cx.attempt(),
            Event::UndoStarted { node: of, attempt } => undo && Some(*of) == node && *attempt == cx.attempt(),
            _ => false,
        });
        if !found {
            let (node, attempt) = (cx.node(), cx.attempt());
            self.outside.violation(format!(
                "I4: attempt {attempt} of {node} (undo: {undo}) began before its start was durable"
            ));
        }
    }

    /// The same for each attempt of a step; whether a round was enough depends on which run it was.
    fn output(&self, cx: &StepContext) -> Value {
        let mut hasher = DefaultHasher::new();
        (self.seed, cx.run_id()).hash(&mut hasher);
        json!({ "by": cx.node().as_str(), "enough": hasher.finish().is_multiple_of(2) })
    }

    fn apply(&self, cx: &StepContext) -> Value {
        let mut ledger = self.outside.lock();
        if !fence(&mut ledger, cx) {
            // A worker that froze in the middle of a step and goes on after its run was taken over. Against a target
            // that compares no epochs nothing helps: it may undo what the new worker did (see `Guarantee::Fenced`).
            return self.output(cx);
        }
        let place = (cx.run_id().clone(), cx.node().clone());
        let output = self.output(cx);
        ledger.keys.entry(place.clone()).or_default().insert(cx.idempotency_key());
        ledger.counters.effects += 1;
        let effect = ledger.effects.entry(place).or_default();
        let again = effect.there;
        effect.there = true;
        effect.output = output.clone();
        ledger.counters.duplicates += u64::from(again);
        output
    }
}

/// Whether the world still listens to this worker: to the newest it has heard of, for each run.
fn fence(ledger: &mut Ledger, cx: &StepContext) -> bool {
    let newest = ledger.epochs.entry(cx.run_id().clone()).or_default();
    *newest = cx.epoch().max(*newest);
    let listens = cx.epoch() == *newest;
    ledger.counters.stale += u64::from(!listens);
    listens
}

#[async_trait]
impl Action for SimAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        self.guarantee
    }

    fn reversal(&self) -> Reversal {
        Reversal::Own
    }

    fn check(&self, _input: &Value) -> Vec<(String, String)> {
        Vec::new()
    }

    async fn perform(&self, cx: &StepContext, _input: Value) -> Result<Outcome, StepError> {
        self.check_start(cx, false).await;
        let mut rng = self.draw(cx, "perform");
        let place = (cx.run_id().clone(), cx.node().clone());
        {
            let mut ledger = self.outside.lock();
            *ledger.performed.entry(place).or_default() += 1;
            ledger.attempted.insert((cx.run_id().clone(), cx.node().clone(), cx.attempt()));
        }
        if rng.u8(0..10) == 0 && cx.resumed_by().is_none() {
            self.outside.lock().counters.parked += 1;
            return Ok(Outcome::Parked(Until::Time(cx.now().after(Duration::from_millis(rng.u64(0..60_000))))));
        }
        if rng.u8(0..4) == 0 {
            cx.checkpoint(json!({ "attempt": cx.attempt() })).await?;
        }
        if rng.u8(0..2) == 0 {
            let slow = cx.now().after(Duration::from_millis(rng.u64(0..20_000)));
            let tough = rng.bool();
            tokio::select! {
                biased;
                // What is nearly done may as well be finished.
                () = cx.cancelled(), if !tough => return Err(cx.cancelled_error()),
                () = cx.sleep_until(slow) => {}
            }
        }
        if !self.misbehaves(&mut rng) {
            return Ok(Outcome::Done(self.apply(cx)));
        }
        let kind = rng.u8(0..10);
        // Half of what goes wrong goes wrong after the effect.
        if rng.bool() {
            self.apply(cx);
        }
        let mut ledger = self.outside.lock();
        match kind {
            0..5 => {
                ledger.counters.retryable += 1;
                Err(StepError::retryable("sim", "not now"))
            }
            5 => {
                ledger.counters.terminal += 1;
                Err(StepError::terminal("sim", "no"))
            }
            6 | 7 => {
                ledger.counters.unknown += 1;
                Err(StepError::unknown("sim", "who knows"))
            }
            8 => {
                ledger.counters.panics += 1;
                drop(ledger);
                // Not `panic!`: the hook would print it ten thousand times.
                std::panic::resume_unwind(Box::new("a simulated panic"));
            }
            _ => {
                drop(ledger);
                // It hangs for long, and when it is asked to stop it takes its time.
                let long = cx.now().after(Duration::from_secs(rng.u64(60..900)));
                tokio::select! {
                    biased;
                    () = cx.cancelled() => cx.sleep_until(cx.now().after(Duration::from_secs(rng.u64(0..60)))).await,
                    () = cx.sleep_until(long) => return Err(StepError::retryable("sim", "it took too long")),
                }
                Err(cx.cancelled_error())
            }
        }
    }

    async fn observe(&self, cx: &StepContext, _input: &Value) -> Result<Seen, StepError> {
        let mut rng = self.draw(cx, "observe");
        if rng.u8(0..3) == 0 {
            self.outside.lock().counters.slow_looks += 1;
            let slow = cx.now().after(Duration::from_millis(rng.u64(0..50_000)));
            tokio::select! {
                biased;
                () = cx.cancelled() => return Err(cx.cancelled_error()),
                () = cx.sleep_until(slow) => {}
            }
        }
        let mut ledger = self.outside.lock();
        ledger.counters.observed += 1;
        let fails = rng.u8(0..10) == 0;
        if fails || self.guarantee == Guarantee::AtLeastOnce || rng.u8(0..4) == 0 {
            ledger.untold.insert((cx.run_id().clone(), cx.node().clone(), cx.attempt()));
            return if fails { Err(StepError::retryable("sim", "cannot look now")) } else { Ok(Seen::CannotTell) };
        }
        Ok(match ledger.effects.get(&(cx.run_id().clone(), cx.node().clone())) {
            Some(effect) if effect.there => Seen::Happened(effect.output.clone()),
            _ => Seen::DidNot,
        })
    }

    async fn compensate(&self, cx: &StepContext, _input: &Value, output: Option<&Value>) -> Result<Undone, StepError> {
        self.check_start(cx, true).await;
        let mut rng = self.draw(cx, "compensate");
        if rng.u8(0..3) == 0 {
            cx.sleep_until(cx.now().after(Duration::from_millis(rng.u64(0..3_000)))).await;
        }
        let fails = self.misbehaves(&mut rng) && rng.bool();
        let late = rng.bool();
        let mut ledger = self.outside.lock();
        let place = (cx.run_id().clone(), cx.node().clone());
        if !fence(&mut ledger, cx) {
            return Err(StepError::terminal("sim", "a newer worker has been here"));
        }
        if !fails || late {
            ledger.counters.undos += 1;
            if let Some(effect) = ledger.effects.get_mut(&place) {
                if output.is_some_and(|output| *output != effect.output) {
                    ledger
                        .violations
                        .push(format!("I5: {} is compensated with an output that is not its own", cx.node()));
                } else {
                    effect.there = false;
                }
            }
        }
        match (fails, rng.u8(0..12)) {
            (false, _) => Ok(Undone::Reversed),
            (true, 0) => Err(StepError::terminal("sim", "cannot be undone")),
            (true, _) => Err(StepError::retryable("sim", "cannot be undone now")),
        }
    }
}
