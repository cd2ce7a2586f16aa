//! What follows by itself once the news has been taken in: timers that are due, steps that may start, the end.

use super::RunState;
use super::advance::Advance;
use super::event::{Cause, Event, Leftover};
use super::input::Refused;
use super::step::StepState;
use super::value::Phase;
use crate::id::{NodeIndex, Principal};
use crate::outcome::{Resumed, Undone};
use crate::workflow::{Compensate, OnFailure};

impl Advance<'_> {
    /// Goes on until nothing more follows.
    pub(super) fn settle(&mut self) -> Result<(), Refused> {
        // What a run has to tell its parent goes with an append: it does not end before it is there.
        if !self.creating {
            self.deadline()?;
        }
        self.due()?;
        loop {
            let before = self.events.len();
            self.stirred()?;
            match self.run.phase {
                Phase::Forward => self.forward()?,
                Phase::Stopping => self.stopping()?,
                Phase::Compensating => self.compensating()?,
                Phase::Over(_) => {}
            }
            if self.events.len() == before {
                return Ok(());
            }
        }
    }

    fn deadline(&mut self) -> Result<(), Refused> {
        let passed = self.run.run_deadline().is_some_and(|deadline| deadline <= self.now);
        if self.run.phase != Phase::Forward || !passed {
            return Ok(());
        }
        let own = self.run.plan.spec().deadline;
        let reason = match own.filter(|limit| self.run.created_at.after(*limit) <= self.now) {
            Some(limit) => format!("it took longer than its deadline of {limit:?}"),
            None => "it took longer than what it is a part of may take".to_owned(),
        };
        self.emit(Event::Stopping { cause: Cause::Cancel { principal: Principal::system(), reason } })
    }

    /// Handles each timer that is due once; one that finds no free place stays due.
    fn due(&mut self) -> Result<(), Refused> {
        if !self.starts || self.run.paused || self.run.timers.first().is_none_or(|(at, _)| *at > self.now) {
            return Ok(());
        }
        let due: Vec<NodeIndex> =
            self.run.timers.iter().take_while(|(at, _)| *at <= self.now).map(|(_, node)| *node).collect();
        for node in due {
            let late = self.run.step_deadline(node).is_some_and(|deadline| deadline <= self.now);
            match self.state(node) {
                StepState::Backoff | StepState::Parked if late => self.deadline_passed(node)?,
                StepState::Backoff if self.run.has_place() => self.start(node)?,
                StepState::Parked => {
                    let waits = self.run.steps[node.index()].extra.as_deref().is_some_and(|e| e.signal.is_some());
                    self.unpark(node, if waits { Resumed::TimedOut } else { Resumed::Time })?;
                }
                StepState::UndoBackoff if self.run.has_place() => self.start_undo(node)?,
                StepState::Calling => self.run.stirred.0.push_back(node),
                _ => {}
            }
        }
        Ok(())
    }

    fn start(&mut self, node: NodeIndex) -> Result<(), Refused> {
        let attempt = self.run.steps[node.index()].attempt + 1;
        self.emit(Event::Started { node, attempt })
    }

    fn start_undo(&mut self, node: NodeIndex) -> Result<(), Refused> {
        let attempt = self.run.steps[node.index()].extra.as_deref().map_or(0, |extra| extra.undo_attempt) + 1;
        self.emit(Event::UndoStarted { node, attempt })
    }

    fn forward(&mut self) -> Result<(), Refused> {
        if self.run.is_failing() && self.run.plan.spec().on_failure == OnFailure::Compensate {
            let cause = match self.run.first_failed {
                Some(node) => Cause::Failure { node },
                None => Cause::Outputs,
            };
            return self.emit(Event::Stopping { cause });
        }
        if !self.run.is_failing() {
            while let Some(node) = self.run.skippable.front().copied() {
                self.emit(Event::Skipped { node })?;
            }
            while self.starts
                && !self.run.paused
                && self.run.has_place()
                && let Some(node) = self.run.ready.front().copied()
                && !(self.creating && self.run.plan.node(node).body.is_some())
            {
                self.start(node)?;
            }
        }
        self.forward_end()
    }

    fn forward_end(&mut self) -> Result<(), Refused> {
        use StepState::{Backoff, Calling, Deciding, Judging, Parked, Preparing, Ready, Running, Unknown, Unresolved};
        if self.run.stuck {
            return Ok(());
        }
        let count = |state| self.run.count(state);
        let started = count(Running) + count(Unknown) + count(Backoff) + count(Parked);
        let opening = if self.run.is_failing() { 0 } else { count(Deciding) + count(Preparing) + count(Ready) };
        if started + opening + count(Judging) > 0 {
            return Ok(());
        }
        if count(Calling) > 0 {
            return self.stuck_if(Vec::new());
        }
        if count(Unresolved) > 0 {
            let leftovers = self.leftovers(&[Unresolved], "nobody can tell whether it has happened");
            return self.emit(Event::Stuck { leftovers });
        }
        if self.run.is_failing() {
            return self.finish(RunState::Failed, Vec::new());
        }
        if self.run.owes_outputs() {
            return Ok(());
        }
        self.finish(RunState::Succeeded, Vec::new())
    }

    fn stopping(&mut self) -> Result<(), Refused> {
        if self.run.count(StepState::Running) + self.run.count(StepState::Undoing) > 0 {
            return Ok(());
        }
        if !self.run.calling.is_empty() {
            return self.stuck_if(Vec::new());
        }
        if matches!(self.run.cause, Some(Cause::Terminate { .. })) {
            let leftovers = self
                .nodes(|advance, node| {
                    advance.run.steps[node.index()].has_started() && advance.state(node) != StepState::Undone
                })
                .map(|node| Leftover { node, why: "the run was terminated, nothing was undone".to_owned() })
                .collect();
            return self.finish(RunState::Terminated, leftovers);
        }
        self.emit(Event::CompensationBegan)
    }

    fn compensating(&mut self) -> Result<(), Refused> {
        use StepState::{UndoBackoff, UndoFailed, UndoPreparing, UndoReady, Undoing};
        while self.starts
            && !self.run.paused
            && self.run.has_place()
            && let Some(node) = self.run.ready.front().copied()
        {
            self.start_undo(node)?;
        }
        if self.run.undo_left == 0 {
            let state = match self.run.cause {
                Some(Cause::Cancel { .. }) => RunState::Cancelled,
                _ => RunState::Compensated,
            };
            let leftovers = self.not_undone();
            return self.finish(state, leftovers);
        }
        let moving = [UndoPreparing, UndoReady, Undoing, UndoBackoff].map(|state| self.run.count(state));
        if !self.run.stuck && moving.iter().sum::<u32>() == 0 {
            let mut leftovers = self.leftovers(&[UndoFailed], "its compensation failed");
            if !self.run.calling.is_empty() {
                return self.stuck_if(leftovers);
            }
            leftovers.extend(self.leftovers_behind());
            return self.emit(Event::Stuck { leftovers });
        }
        Ok(())
    }

    /// Nothing moves but runs of its own: it is stuck if they are.
    fn stuck_if(&mut self, mut leftovers: Vec<Leftover>) -> Result<(), Refused> {
        let stuck = self.stuck_children();
        if self.run.stuck || stuck.is_empty() {
            return Ok(());
        }
        leftovers.extend(stuck);
        self.emit(Event::Stuck { leftovers })
    }

    pub(super) fn finish(&mut self, state: RunState, leftovers: Vec<Leftover>) -> Result<(), Refused> {
        let output =
            if state == RunState::Succeeded { self.run.output.clone().unwrap_or_default() } else { Default::default() };
        self.emit(Event::Finished { state, output, leftovers })
    }

    fn nodes(&self, keep: impl Fn(&Self, NodeIndex) -> bool) -> impl Iterator<Item = NodeIndex> {
        self.run.plan.indices().filter(move |node| keep(self, *node))
    }

    /// The steps in these states, each with its own error where it has one.
    pub(super) fn leftovers(&self, states: &[StepState], otherwise: &str) -> Vec<Leftover> {
        self.nodes(|advance, node| states.contains(&advance.state(node)))
            .map(|node| {
                let error = self.run.step(node).error.map(ToString::to_string);
                Leftover {
                    node,
                    why: error.map_or_else(|| otherwise.to_owned(), |error| format!("{otherwise}: {error}")),
                }
            })
            .collect()
    }

    /// The steps that cannot be undone before those whose compensation failed.
    pub(super) fn leftovers_behind(&self) -> Vec<Leftover> {
        let waits = |advance: &Self, node: NodeIndex| {
            let declared = matches!(advance.run.plan.node(node).compensate.as_deref(), Some(Compensate::Nothing));
            advance.run.steps[node.index()].has_started()
                && !declared
                && !matches!(advance.state(node), StepState::Undone | StepState::UndoFailed)
        };
        self.nodes(waits)
            .map(|node| Leftover { node, why: "it waits for the steps that depend on it to be undone".to_owned() })
            .collect()
    }

    /// The steps whose compensation said that they cannot be undone.
    fn not_undone(&self) -> Vec<Leftover> {
        self.nodes(|_, _| true)
            .filter_map(|node| match self.run.step(node).undone {
                Some(Undone::NotUndoable { why }) => Some(Leftover { node, why: why.clone() }),
                _ => None,
            })
            .collect()
    }
}
