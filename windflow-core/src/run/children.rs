//! Runs within a run: what is known of them, and what a step that has some does next.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::advance::{Advance, Start};
use super::event::{Around, Ask, Cause, Event, Leftover, Parent, Told};
use super::input::Refused;
use super::state::RunState;
use super::step::StepState;
use super::value::{Phase, Run};
use crate::id::{Epoch, NodeIndex, NodeName, Principal, RunId};
use crate::outcome::{ErrorClass, StepError, Undone};
use crate::planted::{Bug, is_planted};
use crate::workflow::{Body, Compensate, MAX_CHILDREN, OnItemFailure, Workflow, WorkflowSpec, mix};

/// The runs of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Children {
    /// Each at its place.
    pub(super) list: Vec<Child>,
    /// How many are not over.
    pub(super) open: u32,
    /// How many of those are stuck.
    pub(super) stuck: u32,
    /// How many are over and have not succeeded.
    pub(super) bad: u32,
    /// Whether the last round of a repeated block was enough.
    pub(super) enough: bool,
}

/// A run that a step has started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Child {
    pub(super) run: RunId,
    /// Which run at its place, counted from 1.
    pub(super) number: u32,
    /// How it is: stuck, or over; none while it goes on.
    pub(super) state: Option<RunState>,
    /// What it was asked last.
    pub(super) asked: Option<Ask>,
    /// Whether it was asked to pause, and not to go on.
    pub(super) paused: bool,
    /// Whether another attempt of the step wants it to be run again.
    pub(super) again: bool,
    pub(super) output: Value,
    pub(super) problem: Option<String>,
    pub(super) leftovers: Vec<String>,
}

/// A run that a step has started, as outsiders see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChildView<'a> {
    /// The run.
    pub run: &'a RunId,
    /// How it is, as far as it has said: stuck, or over; none while it goes on.
    pub state: Option<RunState>,
    /// What was wrong, if something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'a str>,
}

impl Child {
    fn is_over(&self) -> bool {
        self.state.is_some_and(RunState::is_final)
    }

    fn has_failed(&self) -> bool {
        self.is_over() && self.state != Some(RunState::Succeeded)
    }

    fn failure(&self) -> String {
        let state = self.state.unwrap_or(RunState::Running);
        let problem = self.problem.as_deref().map(|problem| format!(": {problem}")).unwrap_or_default();
        format!("its run '{}' is {state}{problem}", self.run)
    }
}

impl Children {
    fn has(&self, place: u32) -> bool {
        (place as usize) < self.list.len()
    }

    /// Counts a child anew that has changed.
    fn change(&mut self, place: u32, change: impl FnOnce(&mut Child)) {
        let Some(child) = self.list.get_mut(place as usize) else { return };
        let tally = |child: &Child| {
            let stuck = child.state == Some(RunState::Stuck);
            (u32::from(!child.is_over()), u32::from(stuck), u32::from(child.has_failed()))
        };
        let before = tally(child);
        change(child);
        let after = tally(child);
        self.open = self.open + after.0 - before.0;
        self.stuck = self.stuck + after.1 - before.1;
        self.bad = self.bad + after.2 - before.2;
    }

    /// Whether all that are not over are stuck.
    fn is_stuck(&self) -> bool {
        self.open > 0 && self.stuck == self.open
    }
}

/// What is folded in.
impl Run {
    pub(super) fn children(&self, node: NodeIndex) -> Option<&Children> {
        self.steps[node.index()].extra.as_deref().map(|extra| &extra.children)
    }

    /// Whether a run that it has started goes on, or waits for something by itself.
    pub(super) fn has_children_at_work(&self) -> bool {
        let works = |node: &NodeIndex| self.children(*node).is_some_and(|children| children.open > children.stuck);
        self.calling.iter().any(works)
    }

    fn body(&self, node: NodeIndex) -> Option<&Body> {
        self.plan.node(node).body.as_deref()
    }

    /// Whether undoing a step means undoing its runs.
    pub(super) fn undoes_children(&self, node: NodeIndex) -> bool {
        let spec = self.plan.node(node);
        spec.body.is_some() && !matches!(spec.compensate.as_deref(), Some(Compensate::Action { .. }))
    }

    /// Has those looked at again that have runs of their own.
    pub(super) fn stir_all(&mut self) {
        self.stirred.0.clear();
        self.stirred.0.extend(self.calling.iter().copied());
    }

    /// Another attempt of a step begins: what has not succeeded is run again.
    pub(super) fn fold_calling(&mut self, node: NodeIndex) {
        let children = &mut self.steps[node.index()].extra().children;
        children.list.iter_mut().filter(|child| child.has_failed()).for_each(|child| child.again = true);
        self.set(node, StepState::Calling);
        self.stirred.0.push_back(node);
    }

    /// Something about one of the runs of a step.
    pub(super) fn fold_child(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::ChildStarted { node, place, child } => self.fold_child_started(*node, *place, child),
            Event::ChildAsked { node, place, ask } => self.fold_child_asked(*node, *place, *ask),
            Event::ChildTold { node, place, told } => self.fold_child_told(*node, *place, told),
            _ => Ok(()),
        }
    }

    fn fold_child_started(&mut self, node: NodeIndex, place: u32, run: &RunId) -> Result<(), String> {
        self.clear_timer(node);
        let children = &mut self.steps[node.index()].extra().children;
        if place as usize > children.list.len() {
            return Err(format!("run {place} of {node:?} starts before the one at the place before"));
        }
        let fresh = |number| Child {
            run: run.clone(),
            number,
            state: None,
            asked: None,
            paused: false,
            again: false,
            output: Value::Null,
            problem: None,
            leftovers: Vec::new(),
        };
        if children.has(place) {
            children.change(place, |child| *child = fresh(child.number + 1));
        } else {
            children.list.push(fresh(1));
            children.open += 1;
        }
        Ok(())
    }

    fn fold_child_asked(&mut self, node: NodeIndex, place: u32, ask: Ask) -> Result<(), String> {
        let children = &mut self.steps[node.index()].extra().children;
        if !children.has(place) {
            return Err(format!("there is no run {place} of {node:?} to ask something"));
        }
        children.change(place, |child| {
            child.paused = ask == Ask::Pause;
            match ask {
                Ask::Pause | Ask::Resume => {}
                Ask::Cancel | Ask::Terminate => child.asked = Some(ask),
                Ask::Retry | Ask::Compensate => {
                    (child.asked, child.again, child.state) = (Some(ask), false, None);
                }
            }
        });
        Ok(())
    }

    fn fold_child_told(&mut self, node: NodeIndex, place: u32, told: &Told) -> Result<(), String> {
        let forward = self.phase == Phase::Forward;
        let repeats = matches!(self.body(node), Some(Body::Repeat { .. }));
        let step = &mut self.steps[node.index()];
        let calling = step.state == StepState::Calling;
        let children = &mut step.extra().children;
        if !children.has(place) {
            return Err(format!("there is no run {place} of {node:?} to tell anything"));
        }
        children.change(place, |child| {
            child.state = (told.state.is_final() || told.state == RunState::Stuck).then_some(told.state);
            child.output.clone_from(&told.output);
            child.problem.clone_from(&told.problem);
            child.leftovers.clone_from(&told.leftovers);
        });
        let is_last = place as usize + 1 == children.list.len();
        if self.stuck {
            self.unstick();
        }
        if repeats && forward && calling && is_last && told.state == RunState::Succeeded {
            self.set(node, StepState::Judging);
        }
        self.stirred.0.push_back(node);
        Ok(())
    }

    /// Whether a round was enough is known.
    pub(super) fn fold_judged(&mut self, node: NodeIndex, at: crate::time::Timestamp, enough: bool) {
        self.steps[node.index()].extra().children.enough = enough;
        self.set(node, StepState::Calling);
        let every = match self.body(node) {
            Some(Body::Repeat { every, .. }) if !enough && !every.is_zero() => Some(*every),
            _ => None,
        };
        self.set_timer(node, every.map(|every| at.after(every)));
        self.stirred.0.push_back(node);
    }

    pub(super) fn fold_joined(&mut self, node: NodeIndex) {
        let output = self.joined(node);
        self.complete(node, output);
    }

    /// The output of the last round of a repeated block, and its number.
    pub(super) fn last_round(&self, node: NodeIndex) -> (Value, Value) {
        let list = self.children(node).map(|children| children.list.as_slice()).unwrap_or_default();
        let output = list.last().map(|child| child.output.clone()).unwrap_or_default();
        (output, Value::from(list.len().saturating_sub(1)))
    }

    /// What a child is started with, and its workflow.
    pub(crate) fn child_start(&self, node: NodeIndex, place: u32, run: RunId) -> Option<(Start, Arc<Workflow>)> {
        let (spec, input) = (self.plan.node(node), self.input_of(node));
        let body = spec.body.as_deref()?;
        let plan = Arc::clone(self.plan.bodies(node).get(body.chosen(input)?)?);
        let around = body.is_block().then(|| self.around(node, body, place, plan.spec()));
        let input = match body.is_block() {
            true => (*self.input).clone(),
            // It was looked at before the child was.
            false => plan.resolve_input(input.clone()).ok()?,
        };
        let number = self.children(node)?.list.get(place as usize)?.number;
        let seed = mix(self.seed ^ mix(u64::from(node.0) << 32 | u64::from(place)) ^ u64::from(number));
        let deadline = [self.run_deadline(), self.step_deadline(node)].into_iter().flatten().min();
        let parent = Parent { run: self.id.clone(), node: spec.name.clone(), at: node, place, deadline, around };
        let principal = Principal::run(&self.id);
        let namespace = self.namespace.clone();
        let start = Start { run, namespace, input, seed, principal, epoch: Epoch(1), parent: Some(Box::new(parent)) };
        Some((start, plan))
    }

    fn around(&self, node: NodeIndex, body: &Body, place: u32, block: &WorkflowSpec) -> Around {
        let outer = self.parent.as_deref().and_then(|parent| parent.around.as_ref());
        let own = |name: &NodeName| {
            let at = self.plan.find(name.as_str())?;
            Some(self.steps[at.index()].output.clone().unwrap_or_default())
        };
        let above = |name: &NodeName| outer.and_then(|outer| outer.nodes.get(name)).cloned();
        let value = |name: &NodeName| own(name).or_else(|| above(name)).unwrap_or_default();
        let nodes = block.captures.iter().flatten().map(|name| (name.clone(), value(name))).collect();
        let at = place as usize;
        let (item, key) = match (body, self.input_of(node)) {
            (Body::ForEach { .. }, Value::Array(items)) => (items.get(at).cloned(), Value::from(place)),
            (Body::ForEach { .. }, Value::Object(items)) => {
                let item = items.iter().nth(at);
                (item.map(|(_, item)| item.clone()), item.map(|(key, _)| Value::from(key.as_str())).unwrap_or_default())
            }
            (Body::Repeat { .. }, _) => {
                let before = self.children(node).and_then(|children| children.list.get(at.checked_sub(1)?));
                (before.map(|child| child.output.clone()), Value::from(place))
            }
            _ => (outer.map(|outer| outer.item.clone()), outer.map(|outer| outer.key.clone()).unwrap_or_default()),
        };
        Around { nodes, item: item.unwrap_or_default(), key }
    }

    /// The output of a step whose runs have ended.
    fn joined(&mut self, node: NodeIndex) -> Value {
        let plan = Arc::clone(&self.plan);
        let keys: Option<Vec<String>> = self.input_of(node).as_object().map(|items| items.keys().cloned().collect());
        let list = &mut self.steps[node.index()].extra().children.list;
        match plan.node(node).body.as_deref() {
            Some(Body::ForEach { on_item_failure, .. }) => {
                let collect = *on_item_failure == OnItemFailure::Collect;
                let outputs = list.iter_mut().map(|child| {
                    let output = child.output.take();
                    match (collect, &child.problem) {
                        (false, _) => output,
                        (true, None) => serde_json::json!({ "state": child.state, "output": output }),
                        (true, Some(problem)) => serde_json::json!({ "state": child.state, "problem": problem }),
                    }
                });
                match keys {
                    Some(keys) => Value::Object(keys.into_iter().zip(outputs).collect()),
                    None => Value::Array(outputs.collect()),
                }
            }
            _ => list.last_mut().map(|child| child.output.take()).unwrap_or_default(),
        }
    }
}

/// What follows.
impl Advance<'_> {
    /// Goes on with every step whose runs have news.
    pub(super) fn stirred(&mut self) -> Result<(), Refused> {
        while let Some(node) = self.run.stirred.0.pop_front() {
            while let Some(event) = self.next_of(node) {
                self.emit(event)?;
            }
        }
        Ok(())
    }

    /// What a child has said, unless it is out of date.
    pub(super) fn child_told(&mut self, node: NodeIndex, place: u32, run: &RunId, told: Told) -> Result<(), Refused> {
        let concerns = node.index() < self.run.steps.len()
            && matches!(self.state(node), StepState::Calling | StepState::UndoCalling)
            && matches!(self.run.phase, Phase::Forward | Phase::Stopping | Phase::Compensating)
            && self
                .run
                .children(node)
                .and_then(|children| children.list.get(place as usize))
                .is_some_and(|child| child.run == *run && !child.is_over());
        if !concerns {
            return Ok(());
        }
        self.emit(Event::ChildTold { node, place, told: Box::new(told) })
    }

    fn next_of(&self, node: NodeIndex) -> Option<Event> {
        let children = self.run.children(node)?;
        let state = self.state(node);
        match (self.run.phase, state) {
            (Phase::Stopping, StepState::Calling | StepState::UndoCalling) => self.next_stopping(node, children, state),
            (Phase::Forward, StepState::Calling) | (Phase::Compensating, StepState::UndoCalling) => {
                let paused = self.run.paused;
                let otherwise = |child: &Child| !child.is_over() && child.paused != paused;
                if let Some(place) = children.list.iter().position(otherwise) {
                    let ask = if paused { Ask::Pause } else { Ask::Resume };
                    return Some(asked(node, place, ask));
                }
                match state {
                    _ if paused => None,
                    StepState::Calling => {
                        self.next_forward(node, children).and_then(|next| self.in_time(node, children, next))
                    }
                    _ => self.next_undo(node, children),
                }
            }
            _ => None,
        }
    }

    fn next_stopping(&self, node: NodeIndex, children: &Children, state: StepState) -> Option<Event> {
        let ask = match self.run.cause {
            Some(Cause::Terminate { .. }) => Ask::Terminate,
            _ => Ask::Cancel,
        };
        if children.open > 0 {
            let unasked = |child: &Child| !child.is_over() && child.asked != Some(ask);
            return children.list.iter().position(unasked).map(|place| asked(node, place, ask));
        }
        let error = Box::new(StepError::terminal("cancelled", "the run was stopped, and so were its own runs"));
        Some(match state {
            StepState::Calling => Event::Interrupted { node, error },
            _ => Event::UndoFailed { node, error, retry_at: None },
        })
    }

    fn next_forward(&self, node: NodeIndex, children: &Children) -> Option<Event> {
        if let Some(place) = children.list.iter().position(|child| child.again) {
            let child = &children.list[place];
            return Some(match child.state {
                // What it has done is still there: it goes on from where it failed.
                Some(RunState::Failed) => asked(node, place, Ask::Retry),
                _ => self.child(node, place, child.number + 1),
            });
        }
        let body = self.run.body(node)?;
        let input = self.run.input_of(node);
        let started = children.list.len();
        match body {
            Body::Call { .. } if started == 0 => {
                Some(match self.run.plan.bodies(node)[0].resolve_input(input.clone()) {
                    Ok(_) => self.child(node, 0, 1),
                    Err(problems) => {
                        let problems: Vec<String> =
                            problems.into_iter().map(|(name, why)| format!("input '{name}' {why}")).collect();
                        self.hopeless(node, "call.input", &problems.join("; "))
                    }
                })
            }
            Body::Scope { .. } | Body::Switch { .. } if started == 0 => Some(match body.chosen(input) {
                Some(_) => self.child(node, 0, 1),
                None => Event::Joined { node },
            }),
            Body::Call { .. } | Body::Scope { .. } | Body::Switch { .. } => self.all_over(node, children),
            Body::ForEach { max_parallel, on_item_failure, .. } => {
                let total = match count(input) {
                    Ok(total) => total,
                    Err(why) => return Some(self.hopeless(node, "for_each.items", &why)),
                };
                if *on_item_failure == OnItemFailure::Stop && children.bad > 0 {
                    let unasked = |child: &Child| !child.is_over() && child.asked != Some(Ask::Cancel);
                    let unasked = children.list.iter().position(unasked);
                    return match unasked {
                        Some(place) => Some(asked(node, place, Ask::Cancel)),
                        None => self.all_over(node, children),
                    };
                }
                match started < total {
                    true => (children.open < *max_parallel).then(|| self.child(node, started, 1)),
                    false => self.all_over(node, children),
                }
            }
            Body::Repeat { max_rounds, .. } => {
                let waits = self.run.steps[node.index()]
                    .extra
                    .as_deref()
                    .and_then(|extra| extra.due)
                    .is_some_and(|due| due > self.now);
                match children.list.last().map(|child| child.state) {
                    None => Some(self.child(node, 0, 1)),
                    Some(Some(RunState::Succeeded)) if children.enough => Some(Event::Joined { node }),
                    Some(Some(RunState::Succeeded)) if started >= *max_rounds as usize => {
                        let why = format!("after {started} rounds it is still not enough");
                        Some(self.hopeless(node, "repeat.rounds", &why))
                    }
                    Some(Some(RunState::Succeeded)) => (!waits).then(|| self.child(node, started, 1)),
                    Some(_) => self.all_over(node, children),
                }
            }
        }
    }

    /// What follows, unless that is another run and there is no time left for it.
    fn in_time(&self, node: NodeIndex, children: &Children, next: Event) -> Option<Event> {
        let begins = matches!(next, Event::ChildStarted { .. } | Event::ChildAsked { ask: Ask::Retry, .. });
        if !begins || self.run.step_deadline(node).is_none_or(|deadline| deadline > self.now) {
            return Some(next);
        }
        // Those that run end by themselves: they may take no longer.
        let limit = self.run.plan.node(node).deadline.unwrap_or_default();
        let why = format!("it took longer than its deadline of {limit:?}");
        (children.open == 0).then(|| self.hopeless(node, "deadline", &why))
    }

    /// The end of a step whose runs are over, if they are.
    fn all_over(&self, node: NodeIndex, children: &Children) -> Option<Event> {
        if children.open > 0 {
            return None;
        }
        let collects =
            matches!(self.run.body(node), Some(Body::ForEach { on_item_failure: OnItemFailure::Collect, .. }));
        // Of several, that which failed first by itself, and not because another had.
        let failed = |child: &&Child| child.has_failed();
        let by_itself = children.list.iter().filter(failed).find(|child| child.asked != Some(Ask::Cancel));
        let worst = by_itself.or_else(|| children.list.iter().find(failed)).filter(|_| !collects);
        Some(match worst {
            None => Event::Joined { node },
            Some(child) => {
                let error = StepError::retryable("child.failed", child.failure());
                let retry_at = self.retry_at(node, error.class);
                Event::Failed { node, error: Box::new(error), retry_at }
            }
        })
    }

    fn next_undo(&self, node: NodeIndex, children: &Children) -> Option<Event> {
        if is_planted(Bug::LeaveChildrenUndone) {
            return Some(Event::Undone { node, undone: Undone::Reversed });
        }
        let (most, in_turn) = match self.run.body(node)? {
            Body::ForEach { max_parallel, .. } => (*max_parallel, false),
            Body::Repeat { .. } => (1, true),
            _ => (1, false),
        };
        if children.open >= most {
            return None;
        }
        let stands = |child: &Child| match child.state {
            Some(RunState::Succeeded) => true,
            Some(RunState::Failed) => child.asked != Some(Ask::Compensate),
            _ => false,
        };
        let next = match in_turn {
            true => children.list.iter().rposition(stands),
            false => children.list.iter().position(stands),
        };
        if let Some(place) = next {
            return Some(asked(node, place, Ask::Compensate));
        }
        if children.open > 0 {
            return None;
        }
        let undone = |child: &&Child| matches!(child.state, Some(RunState::Compensated | RunState::Cancelled));
        if let Some(child) = children.list.iter().find(|child| !undone(child)) {
            let error = StepError::new(ErrorClass::Terminal, "child.left", child.failure());
            return Some(Event::UndoFailed { node, error: Box::new(error), retry_at: None });
        }
        let left: Vec<&str> = children.list.iter().flat_map(|child| &child.leftovers).map(String::as_str).collect();
        let undone = match (children.list.is_empty(), left.is_empty()) {
            (true, _) => Undone::NothingToUndo,
            (false, true) => Undone::Reversed,
            (false, false) => Undone::NotUndoable { why: left.join("; ") },
        };
        Some(Event::Undone { node, undone })
    }

    fn child(&self, node: NodeIndex, place: usize, number: u32) -> Event {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let child = self.run.id.child(&self.run.plan.node(node).name, place, number);
        Event::ChildStarted { node, place, child }
    }

    /// A failure that no other attempt helps against.
    fn hopeless(&self, node: NodeIndex, code: &str, why: &str) -> Event {
        Event::Failed { node, error: Box::new(StepError::terminal(code, why)), retry_at: None }
    }

    /// Steps of which nothing moves on but runs that are stuck; none when anything else may.
    pub(super) fn stuck_children(&self) -> Vec<Leftover> {
        let all_stuck = |node: &NodeIndex| self.run.children(*node).is_some_and(Children::is_stuck);
        if self.run.calling.is_empty() || !self.run.calling.iter().all(all_stuck) {
            return Vec::new();
        }
        let stuck = |node: &NodeIndex| {
            let children = self.run.children(*node).map(|children| children.list.as_slice()).unwrap_or_default();
            let runs = children.iter().filter(|child| child.state == Some(RunState::Stuck));
            let runs: Vec<String> = runs.map(|child| format!("'{}'", child.run)).collect();
            Leftover { node: *node, why: format!("its run {} is stuck", runs.join(", ")) }
        };
        self.run.calling.iter().map(stuck).collect()
    }
}

fn asked(node: NodeIndex, place: usize, ask: Ask) -> Event {
    Event::ChildAsked { node, place: u32::try_from(place).unwrap_or(u32::MAX), ask }
}

/// How many items there are.
fn count(items: &Value) -> Result<usize, String> {
    let count = match items {
        Value::Array(items) => items.len(),
        Value::Object(items) => items.len(),
        Value::Null => return Err("it must be given a list or a map, and got nothing".to_owned()),
        other => {
            let shown: String = other.to_string().chars().take(60).collect();
            return Err(format!("it must be given a list or a map, and got {shown}"));
        }
    };
    match count <= MAX_CHILDREN as usize {
        true => Ok(count),
        false => Err(format!("{count} items are more than {MAX_CHILDREN}")),
    }
}
