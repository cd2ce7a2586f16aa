//! A run on a table: inputs by node name, events and commands as short texts, and a replay after every step.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::id::{Epoch, Namespace, NodeIndex, Principal, RunId, Seq};
use crate::outcome::{Guarantee, Outcome, Seen, StepError, Undone, Until};
use crate::run::{Command, Event, Input, Recorded, Request, Run, RunState, Start, Subject, Told};
use crate::time::Timestamp;
use crate::workflow::{Node, Workflow, WorkflowBuilder};

pub(super) struct Table {
    pub(super) run: Run,
    pub(super) journal: Vec<Recorded>,
    pub(super) now: u64,
}

/// A workflow from lines like `c: a b`, each node using the action `act`.
pub(super) fn graph(lines: &[&str]) -> WorkflowBuilder {
    lines.iter().fold(Workflow::builder("table"), |builder, line| {
        let (name, needs) = line.split_once(':').unwrap();
        builder.node(Node::new(name, "act").needs(needs.split_whitespace()))
    })
}

pub(super) fn terminal() -> StepError {
    StepError::terminal("test", "no")
}
pub(super) fn retryable() -> StepError {
    StepError::retryable("test", "not now")
}
pub(super) fn unknown() -> StepError {
    StepError::unknown("timeout", "who knows")
}

impl Table {
    /// The run, and what its beginning wrote down.
    pub(super) fn start(workflow: WorkflowBuilder) -> (Self, Vec<String>) {
        Self::start_with(workflow.build().unwrap(), json!({"x": 1}))
    }

    pub(super) fn start_with(plan: Arc<Workflow>, input: Value) -> (Self, Vec<String>) {
        let start = Start {
            run: RunId::new("r").unwrap(),
            namespace: Namespace::default(),
            input,
            seed: 7,
            principal: Principal::system(),
            epoch: Epoch(1),
            parent: None,
        };
        let (run, events) = Run::start(start, plan, Timestamp(1_000)).unwrap();
        let mut table = Self { run, journal: Vec::new(), now: 1_000 };
        let told = table.note(&events);
        (table, told)
    }

    fn note(&mut self, events: &[Event]) -> Vec<String> {
        let after = Seq(self.run.seq().0 - events.len() as u64);
        // A batch is written under the epoch of its writer; a claim's own batch is the first under the new one.
        let epoch = self.run.epoch();
        let at = self.run.updated_at();
        let numbered = (after.0 + 1..).zip(events);
        self.journal.extend(numbered.map(|(seq, event)| Recorded { seq: Seq(seq), at, epoch, event: event.clone() }));
        let replayed = Run::replay(Arc::clone(self.run.workflow()), self.journal.clone()).unwrap();
        assert_eq!(replayed, self.run, "the fold of the journal is not the run");
        events.iter().map(|event| self.short(event)).collect()
    }

    pub(super) fn feed(&mut self, input: Input) -> Vec<String> {
        let events = self.run.advance(Timestamp(self.now), input).unwrap();
        self.note(&events)
    }

    pub(super) fn at(&self, name: &str) -> NodeIndex {
        self.run.workflow().find(name).unwrap()
    }

    pub(super) fn done(&mut self, name: &str) -> Vec<String> {
        self.done_with(name, json!(name))
    }

    pub(super) fn done_with(&mut self, name: &str, output: Value) -> Vec<String> {
        let (node, attempt) = (self.at(name), self.run.step(self.at(name)).attempt);
        self.feed(Input::Ended { node, attempt, result: Ok(Outcome::Done(output)) })
    }

    pub(super) fn fails(&mut self, name: &str, error: StepError) -> Vec<String> {
        let (node, attempt) = (self.at(name), self.run.step(self.at(name)).attempt);
        self.feed(Input::Ended { node, attempt, result: Err(error) })
    }

    pub(super) fn parks(&mut self, name: &str, until: Until) -> Vec<String> {
        let (node, attempt) = (self.at(name), self.run.step(self.at(name)).attempt);
        self.feed(Input::Ended { node, attempt, result: Ok(Outcome::Parked(until)) })
    }

    pub(super) fn sees(&mut self, name: &str, seen: Seen, guarantee: Guarantee) -> Vec<String> {
        let (node, attempt) = (self.at(name), self.run.step(self.at(name)).attempt);
        self.feed(Input::Observed { node, attempt, result: Ok(seen), guarantee })
    }

    pub(super) fn undoes(&mut self, name: &str, result: Result<Undone, StepError>) -> Vec<String> {
        let node = self.at(name);
        let attempt = match self.run.owed(node) {
            Some(Command::Compensate { attempt, .. }) => attempt,
            other => panic!("{name} owes {other:?}"),
        };
        self.feed(Input::Compensated { node, attempt, result })
    }

    /// A run that a node has started says how it is.
    pub(super) fn tells(&mut self, name: &str, place: u32, state: RunState, output: Value) -> Vec<String> {
        let node = self.at(name);
        let run = self.run.child_runs(node).nth(place as usize).unwrap().run.clone();
        let problem = (state != RunState::Succeeded).then(|| "no luck".to_owned());
        let told = Told { state, output, problem, leftovers: Vec::new() };
        let request = Request::Told { node, place, run: run.clone(), told: Box::new(told) };
        self.feed(Input::Asked { request, principal: Principal::run(&run) })
    }

    pub(super) fn claims(&mut self) -> Vec<String> {
        let mut told = self.feed(Input::Claimed { epoch: Epoch(self.run.epoch().0 + 1) });
        told.extend(self.feed(Input::Woke));
        told
    }

    pub(super) fn asks(&mut self, request: Request) -> Vec<String> {
        self.feed(Input::Asked { request, principal: Principal::unverified("ada") })
    }

    pub(super) fn wakes_at(&mut self, now: u64) -> Vec<String> {
        self.now = now;
        self.feed(Input::Woke)
    }

    pub(super) fn state(&self) -> RunState {
        self.run.state()
    }

    pub(super) fn alarm(&self) -> u64 {
        self.run.next_alarm().unwrap().0
    }

    /// What is owed, besides the alarm.
    pub(super) fn owed(&self) -> Vec<String> {
        let name = |node: NodeIndex| self.run.step(node).name.to_string();
        self.run
            .commands()
            .filter_map(|command| match command {
                Command::Execute { node, attempt } => Some(format!("execute {}#{attempt}", name(node))),
                Command::Observe { node, attempt } => Some(format!("observe {}#{attempt}", name(node))),
                Command::Compensate { node, attempt } => Some(format!("compensate {}#{attempt}", name(node))),
                Command::Evaluate(Subject::Outputs) => Some("evaluate outputs".to_owned()),
                Command::Evaluate(Subject::If(node)) => Some(format!("evaluate {}.if", name(node))),
                Command::Evaluate(Subject::With(node)) => Some(format!("evaluate {}.with", name(node))),
                Command::Evaluate(Subject::Until(node)) => Some(format!("evaluate {}.until", name(node))),
                Command::Evaluate(Subject::CompensateWith(node)) => Some(format!("evaluate {}.undo", name(node))),
                Command::WakeAt(_) => None,
            })
            .collect()
    }

    fn short(&self, event: &Event) -> String {
        let node = event.node().map(|node| format!(" {}", self.run.step(node).name)).unwrap_or_default();
        let more = match event {
            Event::Started { attempt, .. } | Event::UndoStarted { attempt, .. } => format!("#{attempt}"),
            Event::Failed { retry_at: None, .. } | Event::UndoFailed { retry_at: None, .. } => " for good".to_owned(),
            Event::Finished { state, .. } => format!(" {state}"),
            Event::ChildStarted { place, child, .. } => format!("/{place} as {child}"),
            Event::ChildAsked { place, ask, .. } => format!("/{place} to {}", json!(ask).as_str().unwrap()),
            Event::ChildTold { place, told, .. } => format!("/{place} {}", told.state),
            Event::Observed { then, .. } => format!(" {}", json!(then).to_string().replace('"', "")),
            Event::Stuck { leftovers } => {
                leftovers.iter().map(|l| format!(" {}", self.run.step(l.node).name)).collect()
            }
            Event::RequestRefused { why, .. } => format!(": {why}"),
            _ => String::new(),
        };
        format!("{}{node}{more}", event.kind())
    }
}
