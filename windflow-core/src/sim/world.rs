//! One world: workers that die and freeze, people who meddle, a time to heal, and a check of what is left.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::action::SimAction;
use super::check::{Remains, told_to_stop, violations};
use super::clock::{SPINNING, VirtualClock};
use super::faults::{Counters, Faults};
use super::ledger::Outside;
use super::plan::{Plans, plans, random};
use super::pondering::Pondering;
use super::store::{Acknowledged, FaultyStore};
use crate::engine::{Drive, Engine, StartOptions};
use crate::id::{Principal, RunId, Seq};
use crate::outcome::Guarantee;
use crate::run::{Event, Request, RunState, Summary};
use crate::store::{MemoryStore, RunQuery, Store as _};
use crate::workflow::Workflow;

/// What came of a world.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Every rule that did not hold.
    pub violations: Vec<String>,
    /// What happened.
    pub counters: Counters,
    /// A hash over everything that was written: the same for the same seed.
    pub trace: u64,
}

/// Runs the world of a seed, on a virtual clock, in this thread.
///
/// # Errors
/// When no runtime can be made.
pub fn simulate(seed: u64) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    // Made inside, where the clock is the virtual one.
    let world = AssertUnwindSafe(|| runtime.block_on(async { World::new(seed).live().await }));
    Ok(std::panic::catch_unwind(world).unwrap_or_else(|payload| {
        let what = payload.downcast_ref::<&str>().copied().unwrap_or("the world ended in a panic");
        Outcome { violations: vec![what.to_owned()], ..Outcome::default() }
    }))
}

struct World {
    seed: u64,
    rng: fastrand::Rng,
    faults: Faults,
    plan: Option<Arc<Workflow>>,
    store: MemoryStore,
    outside: Outside,
    acknowledged: Acknowledged,
    healed: Arc<AtomicBool>,
    clock: VirtualClock,
}

/// A worker, and what ends it.
struct Worker {
    engine: Engine,
    crash: CancellationToken,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            seed,
            faults: Faults::draw(&mut rng),
            plan: random(&mut rng),
            rng,
            store: MemoryStore::new(),
            outside: Outside::default(),
            acknowledged: Arc::default(),
            healed: Arc::default(),
            clock: VirtualClock::new(),
        }
    }

    fn worker(&mut self, plans: &Arc<Plans>) -> Worker {
        let crash = CancellationToken::new();
        let store = FaultyStore {
            inner: self.store.clone(),
            faults: self.faults,
            rng: Arc::new(Mutex::new(self.rng.fork())),
            outside: self.outside.clone(),
            acknowledged: Arc::clone(&self.acknowledged),
            crash: crash.clone(),
            frozen: Arc::default(),
            healed: Arc::clone(&self.healed),
        };
        let action = |guarantee| SimAction {
            seed: self.seed,
            faults: self.faults,
            outside: self.outside.clone(),
            store: self.store.clone(),
            plans: Arc::clone(plans),
            guarantee,
        };
        let engine = Engine::builder(store)
            .action("act", action(Guarantee::Convergent))
            .action("loose", action(Guarantee::AtLeastOnce))
            .evaluator(Arc::new(Pondering {
                seed: self.seed,
                chance: self.faults.pondering,
                outside: self.outside.clone(),
            }))
            .clock(Arc::new(self.clock.clone()))
            .drive(Drive::All)
            .seed(self.seed)
            .build();
        Worker { engine, crash }
    }

    async fn live(mut self) -> Outcome {
        let Some(plan) = self.plan.take() else {
            return Outcome { violations: vec!["no workflow could be drawn".to_owned()], ..Outcome::default() };
        };
        let runs: Vec<RunId> = (0..self.rng.u8(1..=3)).filter_map(|i| RunId::new(format!("run-{i}")).ok()).collect();
        let plans = Arc::new(plans(&plan));
        let mut workers: Vec<Worker> = (0..self.rng.u8(1..=2)).map(|_| self.worker(&plans)).collect();
        let heal_after = Duration::from_secs(self.rng.u64(30..400));
        let heal_at = tokio::time::Instant::now() + heal_after;
        // Chaos: whoever dies is replaced, whoever starts runs tries until told that they are there.
        let mut unstarted = runs.clone();
        while tokio::time::Instant::now() < heal_at {
            let next = heal_at.min(tokio::time::Instant::now() + Duration::from_millis(self.rng.u64(1..20_000)));
            self.start(&mut unstarted, &workers, &plan).await;
            let crashes: Vec<CancellationToken> = workers.iter().map(|worker| worker.crash.clone()).collect();
            let died = futures_util::future::select_all(crashes.iter().map(|crash| Box::pin(crash.cancelled())));
            tokio::select! {
                biased;
                (_, place, _) = died => {
                    workers.remove(place);
                    workers.push(self.worker(&plans));
                }
                () = tokio::time::sleep_until(next) => {
                    self.meddle().await;
                    self.replace(&mut workers, &plans).await;
                }
            }
        }
        // Healing: the faults end, a fresh worker takes what is left, and everything must come to its end.
        self.healed.store(true, Ordering::SeqCst);
        for place in (0..workers.len()).rev() {
            if workers[place].crash.is_cancelled() {
                workers.remove(place);
            }
        }
        workers.push(self.worker(&plans));
        self.start(&mut unstarted, &workers, &plan).await;
        self.settle().await;
        let mut outcome = self.examine(&runs, &plans).await;
        let left = workers.iter().filter(|worker| !worker.crash.is_cancelled());
        for (run, why) in left.flat_map(|worker| worker.engine.left_alone()) {
            outcome.violations.push(format!("I7: {run} was left alone for good: {why}"));
        }
        for worker in &workers {
            worker.engine.shutdown().await;
        }
        outcome.violations.sort();
        outcome
    }

    async fn start(&self, unstarted: &mut Vec<RunId>, workers: &[Worker], plan: &Arc<Workflow>) {
        let mut left = Vec::new();
        for run in unstarted.drain(..) {
            let Some(worker) = workers.iter().find(|worker| !worker.crash.is_cancelled()) else {
                left.push(run);
                continue;
            };
            let input = json!({ "yes": true, "no": false });
            let options = StartOptions::default().run(run.clone());
            let started = tokio::select! {
                biased;
                () = worker.crash.cancelled() => false,
                started = worker.engine.start_with(Arc::clone(plan), input, options) => started.is_ok(),
                // A worker that is frozen is not waited for.
                () = tokio::time::sleep(Duration::from_secs(200)) => false,
            };
            if !started {
                left.push(run);
            }
        }
        *unstarted = left;
    }

    /// Somebody updates a worker: it shuts down in good order, and another takes its place.
    async fn replace(&mut self, workers: &mut Vec<Worker>, plans: &Arc<Plans>) {
        if self.rng.u8(0..100) >= self.faults.shutdown {
            return;
        }
        let worker = workers.remove(self.rng.usize(0..workers.len()));
        self.outside.lock().counters.shutdowns += 1;
        tokio::select! {
            biased;
            () = worker.crash.cancelled() => {}
            () = worker.engine.shutdown() => {}
            // A worker that is frozen is not waited for.
            () = tokio::time::sleep(Duration::from_secs(200)) => worker.crash.cancel(),
        }
        workers.push(self.worker(plans));
    }

    /// Somebody asks something of some run.
    async fn meddle(&mut self) {
        if self.rng.u8(0..100) >= self.faults.meddling {
            return;
        }
        let runs = self.all().await;
        if runs.is_empty() {
            return;
        }
        let run = &runs[self.rng.usize(0..runs.len())].run;
        let reason = "meddling".to_owned();
        let request = match self.rng.u8(0..6) {
            0 | 1 => Request::Pause { reason },
            2 | 3 => Request::Resume,
            _ => Request::Cancel { reason },
        };
        self.ask(run, request).await;
    }

    async fn ask(&self, run: &RunId, request: Request) {
        let Ok(Some(summary)) = self.store.summary(run).await else { return };
        if summary.state.is_final() {
            return;
        }
        let (cancel, pause) = (matches!(request, Request::Cancel { .. }), matches!(request, Request::Pause { .. }));
        let submission = crate::store::Submission {
            run: run.clone(),
            request,
            principal: Principal::unverified("meddler"),
            dedup: None,
            at: crate::time::Clock::now(&self.clock),
        };
        if self.store.submit(submission).await.is_err() {
            return;
        }
        let mut ledger = self.outside.lock();
        ledger.counters.pauses += u64::from(pause);
        if cancel {
            ledger.cancelled.insert(run.clone());
            ledger.counters.cancels += 1;
        }
    }

    async fn is_heard(&self, run: &RunId) -> bool {
        self.store.inbox(run).await.is_ok_and(|inbox| inbox.is_empty())
    }

    /// Every run there is, the newest first.
    async fn all(&self) -> Vec<Summary> {
        let query = RunQuery { limit: 10_000, ..RunQuery::default() };
        self.store.list(&query).await.unwrap_or_default()
    }

    /// Waits for the end of all runs, and acts as the operator of those that cannot go on by themselves (I7: none is left
    /// behind).
    async fn settle(&self) {
        let mut helped: BTreeMap<RunId, u32> = BTreeMap::new();
        let mut left = Vec::new();
        for _ in 0..600 {
            left.clear();
            let all = self.all().await;
            for summary in &all {
                // What was asked while its end was being written down is answered as well.
                if summary.state.is_final() && self.is_heard(&summary.run).await {
                    continue;
                }
                left.push(summary.clone());
                match summary.state {
                    RunState::Paused => self.ask(&summary.run, Request::Resume).await,
                    // A run that waits for others that are stuck goes on with them.
                    RunState::Stuck if !all.iter().any(|child| is_stuck_child(child, &summary.run)) => {
                        let helped = helped.entry(summary.run.clone()).or_default();
                        *helped += 1;
                        let reason = "it is enough".to_owned();
                        let request =
                            if *helped < 3 { Request::Retry { inputs: [].into() } } else { Request::GiveUp { reason } };
                        self.ask(&summary.run, request).await;
                    }
                    _ => {}
                }
            }
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        for summary in left {
            let journal = self.store.journal(&summary.run, Seq(0)).await.unwrap_or_default();
            let last: Vec<String> = journal.iter().rev().take(6).map(|recorded| format!("{recorded:?}")).collect();
            self.outside.violation(format!(
                "I7: {} was left behind: {summary:?}; its journal ends with\n    {}",
                summary.run,
                last.join("\n    ")
            ));
        }
    }

    async fn examine(&self, started: &[RunId], plans: &Plans) -> Outcome {
        let mut outcome = Outcome::default();
        let mut trace = std::hash::DefaultHasher::new();
        let ledger = self.outside.lock().clone();
        outcome.counters = ledger.counters;
        outcome.counters.worlds = 1;
        outcome.violations.clone_from(&ledger.violations);
        if self.clock.is_spinning() {
            outcome.violations.push(SPINNING.to_owned());
        }
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = self.all().await;
        all.reverse();
        for id in started.iter().filter(|id| all.iter().all(|summary| summary.run != **id)) {
            outcome.violations.push(format!("{id} was never started"));
        }
        let states: BTreeMap<RunId, RunState> =
            all.iter().map(|summary| (summary.run.clone(), summary.state)).collect();
        let mut journals = BTreeMap::new();
        for Summary { run, .. } in &all {
            journals.insert(run, self.store.journal(run, Seq(0)).await.unwrap_or_default());
        }
        let stopped: BTreeMap<_, _> = journals.values().flat_map(|journal| told_to_stop(journal)).collect();
        for summary in &all {
            let id = &summary.run;
            let journal = &journals[id];
            let stopped_at = stopped.get(id).copied();
            let Some(plan) = plans.get(&summary.hash) else {
                outcome.violations.push(format!("{id} has a workflow that nobody has drawn"));
                continue;
            };
            outcome.counters.children += u64::from(summary.parent.is_some());
            let mine: Vec<(u64, Event)> = acknowledged
                .iter()
                .filter(|(run, _, _)| run == id)
                .flat_map(|(_, after, events)| (after.0 + 1..).zip(events.iter().cloned()))
                .collect();
            let remains = Remains {
                id,
                plan,
                journal,
                summary,
                stopped_at,
                states: &states,
                ledger: &ledger,
                acknowledged: &mine,
            };
            outcome.violations.extend(violations(&remains));
            count(&mut outcome.counters, journal, summary.state);
            std::hash::Hash::hash(&format!("{journal:?}"), &mut trace);
        }
        outcome.trace = std::hash::Hasher::finish(&trace);
        outcome
    }
}

fn is_stuck_child(child: &Summary, of: &RunId) -> bool {
    child.state == RunState::Stuck && child.parent.as_ref() == Some(of)
}

fn count(counters: &mut Counters, journal: &[crate::run::Recorded], state: RunState) {
    counters.runs += 1;
    counters.events += journal.len() as u64;
    let mut epoch_of_timer = None;
    for recorded in journal {
        match &recorded.event {
            Event::Quarantined { .. } => counters.quarantined += 1,
            Event::Stuck { .. } => counters.stuck += 1,
            Event::Failed { retry_at: Some(_), .. } | Event::Parked { .. } => epoch_of_timer = Some(recorded.epoch),
            Event::Started { attempt, .. } if *attempt > 1 => {
                counters.timers += u64::from(epoch_of_timer.take().is_some_and(|epoch| epoch < recorded.epoch));
            }
            _ => {}
        }
    }
    match state {
        RunState::Succeeded => counters.succeeded += 1,
        RunState::Compensated => counters.compensated += 1,
        RunState::Cancelled => counters.cancelled += 1,
        RunState::Failed => counters.failed += 1,
        _ => {}
    }
}
