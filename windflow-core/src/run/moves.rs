//! How a step moves from state to state, and what moves with it: counts, the queue, timers, whoever waits for it.

use std::sync::Arc;

use serde_json::Value;

use super::step::{Step, StepState};
use super::value::{Phase, Run};
use crate::id::NodeIndex;
use crate::planted::{Bug, is_planted};
use crate::time::Timestamp;
use crate::workflow::Join;

impl Run {
    /// Moves a step to a state; every change of state passes here.
    pub(super) fn set(&mut self, node: NodeIndex, state: StepState) {
        let step = &mut self.steps[node.index()];
        self.counts[step.state as usize] -= 1;
        self.counts[state as usize] += 1;
        let before = std::mem::replace(&mut step.state, state);
        self.touched.0.push_back(node);
        let calls = |state| matches!(state, StepState::Calling | StepState::UndoCalling);
        match (calls(before), calls(state)) {
            (false, true) => drop(self.calling.insert(node)),
            (true, false) => drop(self.calling.remove(&node)),
            _ => {}
        }
    }

    pub(super) fn touch_all(&mut self) {
        self.touched.0.clear();
        let active = |step: &Step| {
            !matches!(step.state, StepState::Blocked | StepState::Succeeded | StepState::Skipped | StepState::Undone)
        };
        let nodes = self.plan.indices().filter(|node| active(&self.steps[node.index()]));
        self.touched.0.extend(nodes);
    }

    /// Lets a step whose needs are met go on: to its condition, its input, or the queue.
    pub(super) fn enter(&mut self, node: NodeIndex) {
        let spec = self.plan.node(node);
        let step = &self.steps[node.index()];
        let has_input = step.extra.as_deref().is_some_and(|extra| extra.input.is_some());
        let next = if spec.when.is_some() && !step.decided {
            StepState::Deciding
        } else if self.plan.is_templated(node) && !has_input {
            StepState::Preparing
        } else {
            self.ready.push_back(node);
            StepState::Ready
        };
        self.set(node, next);
    }

    pub(super) fn leave_queue(&mut self, node: NodeIndex) {
        if self.ready.front() == Some(&node) {
            self.ready.pop_front();
        } else if matches!(self.steps[node.index()].state, StepState::Ready | StepState::UndoReady) {
            self.ready.retain(|other| *other != node);
        }
    }

    pub(super) fn complete(&mut self, node: NodeIndex, output: Value) {
        let step = &mut self.steps[node.index()];
        step.output = Some(output);
        if let Some(extra) = step.extra.as_mut() {
            (extra.resumed, extra.crashes) = (None, 0);
        }
        self.finish(node, StepState::Succeeded);
    }

    /// Ends a step for good, and lets those that waited for it go on.
    pub(super) fn finish(&mut self, node: NodeIndex, state: StepState) {
        self.set(node, state);
        if self.phase != Phase::Forward {
            return;
        }
        let plan = Arc::clone(&self.plan);
        for dependent in plan.dependents(node) {
            let step = &mut self.steps[dependent.index()];
            step.unmet -= 1;
            step.supported |= state == StepState::Succeeded;
            if step.state != StepState::Blocked {
                continue;
            }
            let (unmet, supported) = (step.unmet, step.supported);
            match plan.node(*dependent).join {
                _ if unmet == 0 && !supported => self.skippable.push_back(*dependent),
                Join::Any if supported => self.enter(*dependent),
                Join::All if unmet == 0 || (unmet == 1 && is_planted(Bug::StartTooEarly)) => self.enter(*dependent),
                _ => {}
            }
        }
    }

    pub(super) fn fail(&mut self, node: NodeIndex) {
        self.first_failed.get_or_insert(node);
        self.set(node, StepState::Failed);
    }

    pub(super) fn give_up_or_wait(&mut self, node: NodeIndex, retry_at: Option<Timestamp>, wait: StepState) {
        self.clear_timer(node);
        match retry_at {
            Some(at) => {
                if !is_planted(Bug::LoseRetryTimer) {
                    self.set_timer(node, Some(at));
                }
                self.set(node, wait);
            }
            None if wait == StepState::UndoBackoff => self.set(node, StepState::UndoFailed),
            None => {
                if let Some(name) = self.steps[node.index()].extra().signal.take()
                    && let Some(listeners) = self.listeners.get_mut(&name)
                {
                    listeners.remove(&node);
                }
                self.fail(node);
            }
        }
    }

    pub(super) fn set_timer(&mut self, node: NodeIndex, due: Option<Timestamp>) {
        self.steps[node.index()].extra().due = due;
        if let Some(due) = due {
            self.timers.insert((due, node));
        }
    }

    pub(super) fn clear_timer(&mut self, node: NodeIndex) {
        if let Some(due) = self.steps[node.index()].extra.as_mut().and_then(|extra| extra.due.take()) {
            self.timers.remove(&(due, node));
        }
    }
}
