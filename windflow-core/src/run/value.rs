//! The run itself: what is known of one execution, and nothing that touches the world.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::children::ChildView;
use super::event::{Around, Cause, Leftover, Parent};
use super::step::{Buffered, Step, StepState, StepView};
use super::{Command, RunState, Subject, Summary};
use crate::evaluator::Scope;
use crate::id::{Epoch, Namespace, NodeIndex, RunId, Seq, SignalName};
use crate::outcome::Resumed;
use crate::time::Timestamp;
use crate::workflow::{Compensate, Retry, Workflow};

/// How long a compensation attempt may take when its node names no timeout.
pub(super) const UNDO_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// One execution as a value. Holds no handle to anything.
///
/// [`Run::apply`] is the only writer; [`Run::advance`] decides what to write, and [`Run::commands`] reads off what the
/// world owes.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) id: RunId,
    pub(super) namespace: Namespace,
    pub(super) plan: Arc<Workflow>,
    pub(super) input: Arc<Value>,
    pub(super) seed: u64,
    /// The version of the vocabulary it is written in.
    pub(super) version: u16,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) seq: Seq,
    pub(super) epoch: Epoch,
    pub(super) phase: Phase,
    pub(super) cause: Option<Cause>,
    /// Nothing new starts.
    pub(super) paused: bool,
    /// Only an operator can move it on.
    pub(super) stuck: bool,
    pub(super) steps: Vec<Step>,
    /// How many steps are in each state.
    pub(super) counts: [u32; StepState::COUNT],
    /// Steps that may start, forwards or backwards, in the order they became so.
    pub(super) ready: VecDeque<NodeIndex>,
    /// Steps all of whose needs were skipped.
    pub(super) skippable: VecDeque<NodeIndex>,
    pub(super) timers: BTreeSet<(Timestamp, NodeIndex)>,
    pub(super) signals: BTreeMap<SignalName, VecDeque<Buffered>>,
    pub(super) listeners: BTreeMap<SignalName, BTreeSet<NodeIndex>>,
    pub(super) first_failed: Option<NodeIndex>,
    /// For each node, how many of its dependents are not undone yet; empty until the undoing begins.
    pub(super) undo_pending: Vec<u32>,
    /// How many nodes are not undone yet.
    pub(super) undo_left: u32,
    pub(super) output: Option<Value>,
    pub(super) output_error: Option<String>,
    /// What it left behind when it last got stuck or ended.
    pub(super) leftovers: Vec<Leftover>,
    /// The run it is a child of.
    pub(super) parent: Option<Arc<Parent>>,
    /// Steps that have runs of their own under way, forwards or backwards.
    pub(super) calling: BTreeSet<NodeIndex>,
    /// Which of them have news that nothing has followed from yet.
    pub(super) stirred: Touched,
    pub(super) touched: Touched,
}

/// Where a run stands between its beginning and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Steps run.
    Forward,
    /// Open attempts are brought to an end.
    Stopping,
    /// Steps are undone.
    Compensating,
    /// It is over.
    Over(RunState),
}

/// The nodes that may have to be looked at since somebody last did: a note, no part of the state.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched(pub(super) VecDeque<NodeIndex>);

impl PartialEq for Touched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten here.
        let Self {
            id, namespace, plan, input, seed, version, created_at, updated_at, seq, epoch, phase, cause, ..
        } = self;
        let Self { paused, stuck, steps, counts, ready, skippable, timers, signals, listeners, .. } = self;
        let Self { first_failed, undo_pending, undo_left, output, output_error, leftovers, touched, .. } = self;
        let Self { parent, calling, stirred, .. } = self;
        (id, namespace, plan, input, seed, created_at)
            == (&other.id, &other.namespace, &other.plan, &other.input, &other.seed, &other.created_at)
            && (updated_at, seq, epoch, phase, cause, version)
                == (&other.updated_at, &other.seq, &other.epoch, &other.phase, &other.cause, &other.version)
            && (paused, stuck, steps, counts, ready)
                == (&other.paused, &other.stuck, &other.steps, &other.counts, &other.ready)
            && (skippable, timers, signals, listeners)
                == (&other.skippable, &other.timers, &other.signals, &other.listeners)
            && (first_failed, undo_pending, undo_left) == (&other.first_failed, &other.undo_pending, &other.undo_left)
            && (output, output_error, leftovers, touched)
                == (&other.output, &other.output_error, &other.leftovers, &other.touched)
            && (parent, calling, stirred) == (&other.parent, &other.calling, &other.stirred)
    }
}

/// See [`Run::footing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footing {
    phase: Phase,
    paused: bool,
    failing: bool,
}

impl Run {
    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its pinned workflow.
    #[must_use]
    pub fn workflow(&self) -> &Arc<Workflow> {
        &self.plan
    }

    /// Its input.
    #[must_use]
    pub fn input(&self) -> &Value {
        &self.input
    }

    /// The run it is a child of, if it is one.
    #[must_use]
    pub fn parent(&self) -> Option<&Parent> {
        self.parent.as_deref()
    }

    /// The runs a step has started, each at its place.
    pub fn child_runs(&self, at: NodeIndex) -> impl Iterator<Item = ChildView<'_>> {
        self.children(at).into_iter().flat_map(|children| &children.list).map(|child| ChildView {
            run: &child.run,
            state: child.state,
            problem: child.problem.as_deref(),
        })
    }

    /// The runs it has started that are not over.
    pub(crate) fn open_children(&self) -> impl Iterator<Item = &RunId> {
        let all = self.calling.iter().flat_map(|node| self.child_runs(*node));
        all.filter(|child| child.state.is_none_or(|state| !state.is_final())).map(|child| child.run)
    }

    /// Its output, once all nodes are finished.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        self.output.as_ref()
    }

    /// The last position of its journal.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// When its journal last grew.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// Under which epoch it was last taken.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Why it stops or stopped, if it did.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> RunState {
        match self.phase {
            Phase::Over(state) => state,
            _ if self.stuck => RunState::Stuck,
            _ if self.paused => RunState::Paused,
            Phase::Compensating | Phase::Stopping => RunState::Compensating,
            Phase::Forward if self.has_work() || self.has_children_at_work() => RunState::Running,
            Phase::Forward if self.seq.0 <= 1 => RunState::Pending,
            Phase::Forward => RunState::Waiting,
        }
    }

    /// Whether it owes something now, rather than at some moment or to somebody.
    pub(crate) fn has_work(&self) -> bool {
        use StepState::{Deciding, Judging, Preparing, Ready, Running, UndoPreparing, UndoReady, Undoing, Unknown};
        match self.phase {
            Phase::Over(_) => false,
            _ if self.paused => self.count(Running) + self.count(Undoing) > 0,
            Phase::Forward => {
                let opening = if self.is_failing() {
                    0
                } else {
                    self.count(Deciding) + self.count(Preparing) + self.count(Ready)
                };
                opening + self.count(Running) + self.count(Unknown) + self.count(Judging) > 0 || self.owes_outputs()
            }
            // Runs of its own that stop say so.
            Phase::Stopping => self.count(Running) + self.count(Undoing) > 0 || self.calling.is_empty(),
            Phase::Compensating => self.count(UndoPreparing) + self.count(UndoReady) + self.count(Undoing) > 0,
        }
    }

    pub(super) fn count(&self, state: StepState) -> u32 {
        self.counts[state as usize]
    }

    /// How many nodes are finished.
    pub(super) fn finished(&self) -> u32 {
        self.count(StepState::Succeeded) + self.count(StepState::Skipped)
    }

    /// Whether a step has failed, so that nothing new may start.
    pub(super) fn is_failing(&self) -> bool {
        self.first_failed.is_some() || self.output_error.is_some()
    }

    /// What decides over all steps at once whether they may begin. When it changes, no step is touched for that.
    pub(crate) fn footing(&self) -> Footing {
        Footing { phase: self.phase, paused: self.paused, failing: self.is_failing() }
    }

    /// Whether another attempt may be opened.
    pub(super) fn has_place(&self) -> bool {
        self.count(StepState::Running) + self.count(StepState::Undoing) < self.plan.spec().max_parallel
    }

    pub(super) fn owes_outputs(&self) -> bool {
        self.phase == Phase::Forward
            && self.finished() as usize == self.steps.len()
            && self.plan.spec().outputs.is_some()
            && self.output.is_none()
            && self.output_error.is_none()
    }

    /// A step as outsiders see it.
    #[must_use]
    pub fn step(&self, at: NodeIndex) -> StepView<'_> {
        let step = &self.steps[at.index()];
        let extra = step.extra.as_deref();
        StepView {
            name: &self.plan.node(at).name,
            state: step.state,
            attempt: step.attempt,
            output: step.output.as_ref(),
            error: extra.and_then(|extra| extra.error.as_ref()),
            due: extra.and_then(|extra| extra.due),
            signal: extra.and_then(|extra| extra.signal.as_ref()),
            checkpoint: extra.and_then(|extra| extra.checkpoint.as_ref()),
            undone: extra.and_then(|extra| extra.undone.as_ref()),
        }
    }

    /// The input of a step: evaluated, corrected, or as it is written.
    #[must_use]
    pub fn step_input(&self, at: NodeIndex) -> Value {
        self.input_of(at).clone()
    }

    pub(super) fn input_of(&self, at: NodeIndex) -> &Value {
        let input = self.steps[at.index()].extra.as_deref().and_then(|extra| extra.input.as_ref());
        input.unwrap_or_else(|| &self.plan.node(at).with)
    }

    /// The input of a step's compensating action: evaluated, or as it is written.
    #[must_use]
    pub fn undo_input(&self, at: NodeIndex) -> Value {
        let input = self.steps[at.index()].extra.as_deref().and_then(|extra| extra.undo_input.clone());
        input.unwrap_or_else(|| match self.plan.node(at).compensate.as_deref() {
            Some(Compensate::Action { with, .. }) => with.clone(),
            _ => Value::Null,
        })
    }

    /// Which idempotency key a step is at.
    #[must_use]
    pub fn generation(&self, at: NodeIndex) -> u32 {
        self.steps[at.index()].extra.as_deref().map_or(0, |extra| extra.generation)
    }

    /// Why a step is performed again after waiting.
    #[must_use]
    pub fn resumed(&self, at: NodeIndex) -> Option<&Resumed> {
        self.steps[at.index()].extra.as_deref().and_then(|extra| extra.resumed.as_ref())
    }

    /// When the open attempt of a step must end, forwards or backwards.
    #[must_use]
    pub fn attempt_deadline(&self, at: NodeIndex) -> Option<Timestamp> {
        let (step, node) = (&self.steps[at.index()], self.plan.node(at));
        let extra = step.extra.as_deref();
        match step.state {
            StepState::Undoing => extra.map(|extra| extra.last_started.after(node.timeout.unwrap_or(UNDO_TIMEOUT))),
            _ => {
                let attempt = extra.zip(node.timeout).map(|(extra, timeout)| extra.last_started.after(timeout));
                [attempt, self.step_deadline(at)].into_iter().flatten().min()
            }
        }
    }

    /// When a step must be finished, over all its attempts.
    pub(super) fn step_deadline(&self, at: NodeIndex) -> Option<Timestamp> {
        let extra = self.steps[at.index()].extra.as_deref()?;
        Some(extra.first_started.after(self.plan.node(at).deadline?))
    }

    pub(super) fn run_deadline(&self) -> Option<Timestamp> {
        let own = self.plan.spec().deadline.map(|deadline| self.created_at.after(deadline));
        let given = self.parent.as_deref().and_then(|parent| parent.deadline);
        own.into_iter().chain(given).min()
    }

    pub(super) fn retry_of(&self, at: NodeIndex) -> Retry {
        let node = self.plan.node(at);
        // What runs within has retries of its own.
        let otherwise = || if node.body.is_some() { Retry::never() } else { Retry::default() };
        node.retry.as_deref().cloned().unwrap_or_else(otherwise)
    }

    pub(super) fn undo_retry_of(&self, at: NodeIndex) -> Retry {
        match self.plan.node(at).compensate.as_deref() {
            Some(Compensate::Own { retry } | Compensate::Action { retry: Some(retry), .. }) => (**retry).clone(),
            _ => Retry::default(),
        }
    }

    /// What an expression may read.
    #[must_use]
    pub fn scope(&self, subject: Subject) -> Scope {
        let mut scope = Scope::new(Some(self.id.clone()), (*self.input).clone());
        if let Some(Around { nodes, item, key }) = self.parent.as_deref().and_then(|parent| parent.around.as_ref()) {
            scope.nodes.clone_from(nodes);
            (scope.item, scope.key) = (item.clone(), key.clone());
        }
        let reads = match subject {
            Subject::Outputs => self.plan.output_reads(),
            Subject::If(node) | Subject::With(node) | Subject::CompensateWith(node) => self.plan.reads(node),
            Subject::Until(node) => {
                (scope.item, scope.key) = self.last_round(node);
                self.plan.reads(node)
            }
        };
        for node in reads {
            let output = self.steps[node.index()].output.clone().unwrap_or_default();
            scope.nodes.insert(self.plan.node(*node).name.clone(), output);
        }
        scope
    }

    /// What the world owes for one node, if anything.
    #[must_use]
    pub fn owed(&self, node: NodeIndex) -> Option<Command> {
        let step = &self.steps[node.index()];
        let undo_attempt = || step.extra.as_deref().map_or(0, |extra| extra.undo_attempt);
        match (self.phase, step.state) {
            (Phase::Forward, StepState::Running) => Some(Command::Execute { node, attempt: step.attempt }),
            (Phase::Compensating, StepState::Undoing) => Some(Command::Compensate { node, attempt: undo_attempt() }),
            _ if self.paused => None,
            (Phase::Forward, StepState::Judging) => Some(Command::Evaluate(Subject::Until(node))),
            (Phase::Forward, StepState::Unknown) => Some(Command::Observe { node, attempt: step.attempt }),
            (Phase::Forward, _) if self.is_failing() => None,
            (Phase::Forward, StepState::Deciding) => Some(Command::Evaluate(Subject::If(node))),
            (Phase::Forward, StepState::Preparing) => Some(Command::Evaluate(Subject::With(node))),
            (Phase::Compensating, StepState::UndoPreparing) => Some(Command::Evaluate(Subject::CompensateWith(node))),
            _ => None,
        }
    }

    /// The attempt or compensation of a node that has been started and has not ended, whether it is still owed or not.
    pub(crate) fn started(&self, node: NodeIndex) -> Option<Command> {
        let step = &self.steps[node.index()];
        match step.state {
            StepState::Running => Some(Command::Execute { node, attempt: step.attempt }),
            StepState::Undoing => {
                let attempt = step.extra.as_deref().map_or(0, |extra| extra.undo_attempt);
                Some(Command::Compensate { node, attempt })
            }
            _ => None,
        }
    }

    /// Everything the world owes this run now, in a fixed order: nodes in theirs, then the output, then the alarm.
    pub fn commands(&self) -> impl Iterator<Item = Command> + '_ {
        let nodes = self.plan.indices().filter_map(|node| self.owed(node));
        let outputs = (self.owes_outputs() && !self.paused).then_some(Command::Evaluate(Subject::Outputs));
        nodes.chain(outputs).chain(self.next_alarm().map(Command::WakeAt))
    }

    /// Whether the run's output is to be evaluated.
    #[must_use]
    pub fn owed_outputs(&self) -> Option<Command> {
        (self.owes_outputs() && !self.paused).then_some(Command::Evaluate(Subject::Outputs))
    }

    /// When it must be looked at, if nothing else happens before.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Timestamp> {
        if matches!(self.phase, Phase::Over(_)) {
            return None;
        }
        // A retry that is due and finds no free place needs no alarm: the step that frees a place lets it start.
        let crowded = !self.has_place();
        let waits_for_place = |node: NodeIndex| {
            crowded && matches!(self.steps[node.index()].state, StepState::Backoff | StepState::UndoBackoff)
        };
        let timer = self.timers.iter().find(|(_, node)| !self.paused && !waits_for_place(*node)).map(|(at, _)| *at);
        let deadline = if self.phase == Phase::Forward { self.run_deadline() } else { None };
        [timer, deadline].into_iter().flatten().min()
    }

    /// What it left behind when it last got stuck or ended.
    #[must_use]
    pub fn leftovers(&self) -> &[Leftover] {
        &self.leftovers
    }

    /// Has a node looked at again.
    pub(crate) fn touch(&mut self, node: NodeIndex) {
        self.touched.0.push_back(node);
    }

    /// The next node whose owed command may have changed since this was last asked; a node may be named twice. Whoever
    /// folds events in for long takes them all, now and then: they are kept until then.
    pub fn next_touched(&mut self) -> Option<NodeIndex> {
        self.touched.0.pop_front()
    }

    /// The row a store indexes.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let problem = self.first_failed.map(|node| {
            let step = self.step(node);
            format!("{}: {}", step.name, step.error.map_or_else(|| "failed".to_owned(), ToString::to_string))
        });
        Summary {
            run: self.id.clone(),
            namespace: self.namespace.clone(),
            workflow: self.plan.name().clone(),
            hash: self.plan.hash(),
            state: self.state(),
            seq: self.seq,
            created_at: self.created_at,
            updated_at: self.updated_at,
            wake_at: if self.has_work() { Some(Timestamp(0)) } else { self.next_alarm() },
            finished: self.finished(),
            total: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            problem: problem.or_else(|| self.output_error.clone()),
            version: self.version,
            build: Summary::BUILD.into(),
            parent: self.parent.as_deref().map(|parent| parent.run.clone()),
        }
    }
}
