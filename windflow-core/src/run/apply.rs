//! The only writer: folds one event into a run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::event::{After, Cause, Created, Event, Recorded, Resolution};
use super::grammar::may_follow;
use super::state::CorruptJournal;
use super::step::{Step, StepState};
use super::value::{Phase, Run, Touched};
use super::{RunState, Subject};
use crate::id::{Epoch, NodeIndex, Seq};
use crate::outcome::{Resumed, Seen, StepError, Until};
use crate::planted::{Bug, is_planted};
use crate::time::Timestamp;
use crate::workflow::Workflow;

impl Run {
    /// The run that a first event makes.
    pub(super) fn create(created: &Created, at: Timestamp, plan: Arc<Workflow>) -> Result<Self, CorruptJournal> {
        let corrupt = |why: String| CorruptJournal { seq: Seq(1), why };
        if !(1..=Event::VERSION).contains(&created.version) {
            let (theirs, ours) = (created.version, Event::VERSION);
            return Err(corrupt(format!("it is written in version {theirs}; this build reads versions 1 to {ours}")));
        }
        if created.workflow != plan.hash() {
            return Err(corrupt(format!("it pins workflow {}, not {}", created.workflow, plan.hash())));
        }
        let steps: Vec<Step> = plan.indices().map(|node| Step::new(plan.needs(node).len())).collect();
        let mut counts = [0; StepState::COUNT];
        counts[StepState::Blocked as usize] = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let mut run = Self {
            id: created.run.clone(),
            namespace: created.namespace.clone(),
            input: Arc::new(created.input.clone()),
            seed: created.seed,
            version: created.version,
            created_at: at,
            updated_at: at,
            seq: Seq(1),
            epoch: created.epoch,
            phase: Phase::Forward,
            cause: None,
            paused: false,
            stuck: false,
            steps,
            counts,
            ready: VecDeque::new(),
            skippable: VecDeque::new(),
            timers: BTreeSet::new(),
            signals: BTreeMap::new(),
            listeners: BTreeMap::new(),
            first_failed: None,
            undo_pending: Vec::new(),
            undo_left: 0,
            output: None,
            output_error: None,
            leftovers: Vec::new(),
            parent: created.parent.clone().map(Arc::from),
            calling: BTreeSet::new(),
            stirred: Touched::default(),
            touched: Touched::default(),
            plan,
        };
        for node in run.plan.indices() {
            if run.plan.needs(node).is_empty() {
                run.enter(node);
            }
        }
        Ok(run)
    }

    /// A run from its journal: the ordinary way to load one. `plan` is the workflow the first event pins.
    ///
    /// # Errors
    /// [`CorruptJournal`] when it does not fold.
    pub fn replay(plan: Arc<Workflow>, journal: impl IntoIterator<Item = Recorded>) -> Result<Self, CorruptJournal> {
        let mut journal = journal.into_iter();
        let corrupt = |seq, why: &str| CorruptJournal { seq, why: why.to_owned() };
        let first = journal.next().ok_or_else(|| corrupt(Seq(0), "it is empty"))?;
        let Event::Created(created) = &first.event else {
            return Err(corrupt(first.seq, "it does not begin with the run's creation"));
        };
        if first.seq != Seq(1) {
            return Err(corrupt(first.seq, "its first record is not number 1"));
        }
        let mut run = Self::create(created, first.at, plan)?;
        for recorded in journal {
            if recorded.seq.0 != run.seq.0 + 1 {
                return Err(corrupt(recorded.seq, "a record is missing before it"));
            }
            run.apply(recorded.at, &recorded.event)?;
            if recorded.epoch != run.epoch {
                return Err(corrupt(recorded.seq, "its epoch is not that of the last claim"));
            }
        }
        run.touched.0.clear();
        run.stirred.0.clear();
        Ok(run)
    }

    /// Folds one fact. The only function that changes a run; its cost is that of what changes.
    ///
    /// # Errors
    /// [`CorruptJournal`] when the event cannot follow what came before. The run must then be dropped.
    pub fn apply(&mut self, at: Timestamp, event: &Event) -> Result<(), CorruptJournal> {
        self.seq = Seq(self.seq.0 + 1);
        self.updated_at = self.updated_at.max(at);
        let corrupt = |why: String| Err(CorruptJournal { seq: self.seq, why });
        if let Some(node) = event.node() {
            if node.index() >= self.steps.len() {
                return corrupt(format!("{} names node {node:?}, and there are {}", event.kind(), self.steps.len()));
            }
            let state = self.steps[node.index()].state;
            if !may_follow(self.phase, state, event) {
                return corrupt(format!("{} cannot follow {} of {node:?}", event.kind(), state.as_str()));
            }
        }
        if matches!(self.phase, Phase::Over(_))
            && !matches!(
                event,
                Event::Claimed { .. }
                    | Event::Reopened { .. }
                    | Event::RequestRefused { .. }
                    | Event::Stopping { .. }
                    | Event::Signalled { .. }
            )
        {
            return corrupt(format!("{} cannot follow the end of the run", event.kind()));
        }
        self.fold(at, event)
    }

    fn fold(&mut self, at: Timestamp, event: &Event) -> Result<(), CorruptJournal> {
        match event {
            Event::Created(_) => {
                return Err(CorruptJournal { seq: self.seq, why: "the run is created twice".to_owned() });
            }
            Event::Claimed { epoch } => self.fold_claimed(*epoch)?,
            Event::Released => self.close_open(0),
            Event::Evaluated { subject, value } => self.fold_evaluated(at, *subject, value),
            Event::EvaluationFailed { subject, error } => self.fold_evaluation_failed(*subject, error),
            Event::Skipped { node } => {
                self.skippable.retain(|other| other != node);
                self.finish(*node, StepState::Skipped);
            }
            Event::Started { node, attempt } => self.fold_started(at, *node, *attempt),
            Event::Checkpointed { node, value } => {
                self.steps[node.index()].extra().checkpoint = Some(value.clone());
            }
            Event::Parked { node, until } => self.fold_parked(*node, until),
            Event::Unparked { node, resumed } => self.fold_unparked(*node, resumed),
            Event::Succeeded { node, output } => self.complete(*node, output.clone()),
            Event::Failed { node, error, retry_at } => {
                let extra = self.steps[node.index()].extra();
                extra.error = Some((**error).clone());
                (extra.failures, extra.crashes) = (extra.failures + 1, 0);
                self.give_up_or_wait(*node, *retry_at, StepState::Backoff);
            }
            Event::Interrupted { node, error } => {
                let extra = self.steps[node.index()].extra();
                (extra.error, extra.counts) = (Some((**error).clone()), true);
                let stops = self.phase == Phase::Stopping;
                self.set(*node, if stops { StepState::Stopped } else { StepState::Unknown });
            }
            Event::Observed { node, seen, then } => self.fold_observed(*node, seen, then),
            Event::Signalled { name, payload, principal } => {
                self.signals.entry(name.clone()).or_default().push_back((payload.clone(), principal.clone()));
            }
            Event::Paused { .. } | Event::Quarantined { .. } => {
                self.paused = true;
                self.touch_all();
                self.stir_all();
            }
            Event::Resumed { .. } => {
                self.paused = false;
                self.steps.iter_mut().filter_map(|step| step.extra.as_mut()).for_each(|extra| extra.crashes = 0);
                self.touch_all();
                self.stir_all();
            }
            Event::Stopping { cause } => self.fold_stopping(cause),
            Event::CompensationBegan => self.fold_compensation_began(),
            Event::UndoStarted { node, attempt } => {
                self.leave_queue(*node);
                self.clear_timer(*node);
                let extra = self.steps[node.index()].extra();
                (extra.undo_attempt, extra.last_started) = (*attempt, at);
                if self.undoes_children(*node) {
                    self.set(*node, StepState::UndoCalling);
                    self.stirred.0.push_back(*node);
                } else {
                    self.set(*node, StepState::Undoing);
                }
            }
            Event::Undone { node, undone } => {
                self.steps[node.index()].extra().undone = Some(undone.clone());
                self.undo_finished(*node);
            }
            Event::UndoFailed { node, error, retry_at } => {
                let extra = self.steps[node.index()].extra();
                extra.error = Some((**error).clone());
                (extra.undo_failures, extra.crashes) = (extra.undo_failures + 1, 0);
                self.give_up_or_wait(*node, *retry_at, StepState::UndoBackoff);
            }
            Event::Stuck { leftovers } => {
                self.stuck = true;
                self.leftovers.clone_from(leftovers);
            }
            Event::Resolved { node, resolution, reason, .. } => self.fold_resolved(*node, resolution, reason),
            Event::Reopened { nodes, .. } => self.fold_reopened(nodes)?,
            Event::RequestRefused { .. } => {}
            Event::ChildStarted { .. } | Event::ChildAsked { .. } | Event::ChildTold { .. } => {
                self.fold_child(event).map_err(|why| CorruptJournal { seq: self.seq, why })?;
            }
            Event::Joined { node } => self.fold_joined(*node),
            Event::Finished { state, output, leftovers } => {
                self.leftovers.clone_from(leftovers);
                if !state.is_final() {
                    return Err(CorruptJournal { seq: self.seq, why: format!("a run cannot end as {state}") });
                }
                self.phase = Phase::Over(*state);
                self.stuck = false;
                self.paused = false;
                self.timers.clear();
                if *state == RunState::Succeeded {
                    self.output = Some(output.clone());
                }
            }
        }
        Ok(())
    }

    fn fold_claimed(&mut self, epoch: Epoch) -> Result<(), CorruptJournal> {
        if epoch <= self.epoch {
            let why = format!("epoch {epoch} claims it after epoch {}", self.epoch);
            return Err(CorruptJournal { seq: self.seq, why });
        }
        self.epoch = epoch;
        self.close_open(1);
        self.stir_all();
        Ok(())
    }

    /// Ends every open attempt, nobody knows how.
    fn close_open(&mut self, crashes: u32) {
        if is_planted(Bug::LeaveAttemptsOpen) {
            return self.touch_all();
        }
        for node in self.plan.indices() {
            if is_planted(Bug::RunCompletedAgain) && self.steps[node.index()].state == StepState::Succeeded {
                self.set(node, StepState::Ready);
                self.ready.push_back(node);
            }
            let next = match (self.steps[node.index()].state, self.phase) {
                (StepState::Running, Phase::Stopping) => StepState::Stopped,
                (StepState::Running, _) => StepState::Unknown,
                (StepState::Undoing, _) => StepState::UndoReady,
                _ => continue,
            };
            let extra = self.steps[node.index()].extra();
            (extra.crashes, extra.counts) = (extra.crashes + crashes, false);
            self.set(node, next);
            if next == StepState::UndoReady {
                self.ready.push_back(node);
            }
        }
        self.touch_all();
    }

    fn fold_evaluated(&mut self, at: Timestamp, subject: Subject, value: &Value) {
        match subject {
            Subject::If(node) => {
                self.steps[node.index()].decided = true;
                if *value == Value::Bool(false) {
                    self.skippable.push_back(node);
                } else {
                    self.enter(node);
                }
            }
            Subject::With(node) => {
                self.steps[node.index()].extra().input = Some(value.clone());
                self.enter(node);
            }
            Subject::CompensateWith(node) => {
                self.steps[node.index()].extra().undo_input = Some(value.clone());
                self.set(node, StepState::UndoReady);
                self.ready.push_back(node);
            }
            Subject::Until(node) => self.fold_judged(node, at, *value == Value::Bool(true)),
            Subject::Outputs => self.output = Some(value.clone()),
        }
    }

    fn fold_evaluation_failed(&mut self, subject: Subject, error: &StepError) {
        match subject {
            Subject::Outputs => self.output_error = Some(format!("outputs: {error}")),
            Subject::If(node) | Subject::With(node) | Subject::Until(node) => {
                self.steps[node.index()].extra().error = Some(error.clone());
                self.fail(node);
            }
            Subject::CompensateWith(node) => {
                self.steps[node.index()].extra().error = Some(error.clone());
                self.set(node, StepState::UndoFailed);
            }
        }
    }

    fn fold_started(&mut self, at: Timestamp, node: NodeIndex, attempt: u32) {
        self.leave_queue(node);
        self.clear_timer(node);
        let timed = self.plan.node(node).timeout.is_some() || self.plan.node(node).deadline.is_some();
        let step = &mut self.steps[node.index()];
        let first = step.attempt == 0;
        step.attempt = attempt;
        if timed || step.extra.is_some() {
            let extra = step.extra();
            extra.last_started = at;
            if first {
                extra.first_started = at;
            }
        }
        if self.plan.node(node).body.is_some() {
            return self.fold_calling(node);
        }
        self.set(node, StepState::Running);
    }

    fn fold_parked(&mut self, node: NodeIndex, until: &Until) {
        let (due, signal) = match until {
            Until::Time(at) => (Some(*at), None),
            Until::Signal { name, deadline } => (*deadline, Some(name.clone())),
        };
        let due = [due, self.step_deadline(node)].into_iter().flatten().min();
        let extra = self.steps[node.index()].extra();
        (extra.signal, extra.resumed, extra.crashes) = (signal.clone(), None, 0);
        self.set_timer(node, due);
        if let Some(name) = signal {
            self.listeners.entry(name).or_default().insert(node);
        }
        self.set(node, StepState::Parked);
    }

    fn fold_unparked(&mut self, node: NodeIndex, resumed: &Resumed) {
        self.clear_timer(node);
        if let Some(name) = self.steps[node.index()].extra().signal.take() {
            if let Some(listeners) = self.listeners.get_mut(&name) {
                listeners.remove(&node);
            }
            self.listeners.retain(|_, nodes| !nodes.is_empty());
            if matches!(resumed, Resumed::Signal { .. }) {
                if let Some(waiting) = self.signals.get_mut(&name) {
                    waiting.pop_front();
                }
                self.signals.retain(|_, waiting| !waiting.is_empty());
            }
        }
        self.steps[node.index()].extra().resumed = Some(resumed.clone());
        self.set(node, StepState::Ready);
        self.ready.push_back(node);
    }

    fn fold_observed(&mut self, node: NodeIndex, seen: &Seen, then: &After) {
        match (then, seen) {
            (After::Complete, Seen::Happened(output)) => self.complete(node, output.clone()),
            // A completion without an output is refused by `may_follow`.
            (After::Complete | After::Again, _) => {
                self.set(node, StepState::Ready);
                self.ready.push_back(node);
            }
            (After::Retry { at }, _) => {
                self.steps[node.index()].extra().failures += 1;
                self.set_timer(node, Some(*at));
                self.set(node, StepState::Backoff);
            }
            (After::Fail, _) => {
                self.steps[node.index()].extra().failures += 1;
                self.fail(node);
            }
            (After::Unresolved, _) => self.set(node, StepState::Unresolved),
        }
    }

    fn fold_stopping(&mut self, cause: &Cause) {
        self.phase = Phase::Stopping;
        self.cause = Some(cause.clone());
        self.paused = false;
        self.unstick();
        self.timers.clear();
        self.listeners.clear();
        self.ready.clear();
        self.touch_all();
        self.stir_all();
        // There is nothing left to stop.
        let judged: Vec<NodeIndex> = match self.count(StepState::Judging) {
            0 => Vec::new(),
            _ => self.plan.indices().filter(|node| self.steps[node.index()].state == StepState::Judging).collect(),
        };
        judged.into_iter().for_each(|node| self.set(node, StepState::Stopped));
    }

    /// What it left behind is being dealt with.
    pub(super) fn unstick(&mut self) {
        self.stuck = false;
        self.leftovers.clear();
    }

    fn fold_resolved(&mut self, node: NodeIndex, resolution: &Resolution, reason: &str) {
        self.unstick();
        match resolution {
            Resolution::Happened { output } => self.complete(node, output.clone()),
            Resolution::DidNot if self.steps[node.index()].state == StepState::Unresolved => {
                self.set(node, StepState::Ready);
                self.ready.push_back(node);
            }
            Resolution::DidNot => self.undo_again(node),
            Resolution::Fail => {
                let error = StepError::terminal("resolved", format_args!("an operator took it as failed: {reason}"));
                self.steps[node.index()].extra().error.get_or_insert(error);
                self.fail(node);
            }
            Resolution::Undone => self.undo_finished(node),
        }
    }

    fn fold_reopened(&mut self, nodes: &[(NodeIndex, Option<Value>)]) -> Result<(), CorruptJournal> {
        self.unstick();
        if self.phase != Phase::Compensating {
            self.phase = Phase::Forward;
            (self.first_failed, self.output_error) = (None, None);
            self.touch_all();
        }
        for (node, input) in nodes {
            let Some(step) = self.steps.get_mut(node.index()) else {
                return Err(CorruptJournal { seq: self.seq, why: format!("reopened names node {node:?}") });
            };
            if step.state == StepState::UndoFailed {
                self.undo_again(*node);
                continue;
            }
            let extra = step.extra();
            (extra.failures, extra.crashes, extra.error) = (0, 0, None);
            if let Some(input) = input {
                extra.input = Some(input.clone());
                extra.generation += 1;
                (extra.checkpoint, extra.resumed) = (None, None);
            }
            self.enter(*node);
        }
        Ok(())
    }
}
