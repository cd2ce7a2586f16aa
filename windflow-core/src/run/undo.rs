//! The way back: who may be undone when, in reverse dependency order.

use std::sync::Arc;

use super::step::StepState;
use super::value::{Phase, Run};
use crate::id::NodeIndex;
use crate::planted::{Bug, is_planted};
use crate::workflow::{Compensate, has_expression};

impl Run {
    pub(super) fn fold_compensation_began(&mut self) {
        self.phase = Phase::Compensating;
        let count = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.undo_left = count;
        self.undo_pending = self
            .plan
            .indices()
            .map(|node| u32::try_from(self.plan.dependents(node).len()).unwrap_or(u32::MAX))
            .collect();
        let every = is_planted(Bug::ForwardOrderCompensation);
        let free: Vec<NodeIndex> =
            self.plan.indices().filter(|node| every || self.undo_pending[node.index()] == 0).collect();
        free.into_iter().for_each(|node| self.begin_undo(node));
        self.touch_all();
    }

    /// Undoes a step all of whose dependents are undone, or passes it by when there is nothing to undo.
    pub(super) fn begin_undo(&mut self, node: NodeIndex) {
        // A stack of its own: a long chain of nodes that never started must not use up the program's.
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            if self.needs_undo(node) {
                let templated = match self.plan.node(node).compensate.as_deref() {
                    Some(Compensate::Action { with, .. }) => has_expression(with),
                    _ => false,
                };
                if templated {
                    self.set(node, StepState::UndoPreparing);
                } else {
                    self.set(node, StepState::UndoReady);
                    self.ready.push_back(node);
                }
            } else {
                self.pass_undo(node, &mut open);
            }
        }
    }

    pub(super) fn needs_undo(&self, node: NodeIndex) -> bool {
        let declared = matches!(self.plan.node(node).compensate.as_deref(), Some(Compensate::Nothing));
        let forgotten = is_planted(Bug::ForgetStartedAndFailed) && self.steps[node.index()].output.is_none();
        self.steps[node.index()].has_started() && !declared && !forgotten
    }

    pub(super) fn pass_undo(&mut self, node: NodeIndex, open: &mut Vec<NodeIndex>) {
        self.undo_left -= 1;
        if is_planted(Bug::ForwardOrderCompensation) {
            return;
        }
        let plan = Arc::clone(&self.plan);
        for need in plan.needs(node) {
            self.undo_pending[need.index()] -= 1;
            if self.undo_pending[need.index()] == 0 {
                open.push(*need);
            }
        }
    }

    pub(super) fn undo_finished(&mut self, node: NodeIndex) {
        self.set(node, StepState::Undone);
        let mut open = Vec::new();
        self.pass_undo(node, &mut open);
        open.into_iter().for_each(|node| self.begin_undo(node));
    }

    pub(super) fn undo_again(&mut self, node: NodeIndex) {
        let extra = self.steps[node.index()].extra();
        (extra.undo_failures, extra.crashes) = (0, 0);
        self.set(node, StepState::UndoReady);
        self.ready.push_back(node);
    }
}
