//! What people ask of a run.

use std::collections::BTreeMap;

use serde_json::Value;

use super::advance::Advance;
use super::event::{Cause, Event, Resolution};
use super::input::{Refused, Request};
use super::step::StepState;
use super::value::Phase;
use super::{Run, RunState};
use crate::id::{NodeIndex, NodeName, Principal, SignalName};
use crate::outcome::Resumed;
use crate::planted::{Bug, is_planted};

/// How many signals nobody has taken yet a run keeps.
const MAX_SIGNALS: usize = 1_000;

impl Advance<'_> {
    /// Does what is asked, or writes down why it could not: whoever asked may be gone by now.
    pub(super) fn asked(&mut self, request: Request, principal: Principal) -> Result<(), Refused> {
        let name = request.name();
        // It has told how it ended: what its parent asked meanwhile is out of date.
        let reopens = matches!(request, Request::Retry { .. } | Request::Compensate);
        if matches!(self.run.phase, Phase::Over(_)) && self.run.is_parent(&principal) && !reopens {
            return Ok(());
        }
        match self.ask(request, principal.clone()) {
            Err(error @ (Refused::NotNow { .. } | Refused::Bound { .. })) => {
                self.emit(Event::RequestRefused { request: name.to_owned(), why: error.to_string(), principal })
            }
            other => other,
        }
    }

    fn ask(&mut self, request: Request, principal: Principal) -> Result<(), Refused> {
        self.run.may(&request, &principal)?;
        match request {
            Request::Signal { name, payload } => self.signal(name, payload, principal),
            Request::Cancel { reason } => match self.run.phase {
                // A second cancel, or one of a run that is being undone already, changes nothing.
                Phase::Stopping | Phase::Compensating => Ok(()),
                _ if is_planted(Bug::ForgetCancel) => Ok(()),
                _ => self.emit(Event::Stopping { cause: Cause::Cancel { principal, reason } }),
            },
            Request::Terminate { reason } => match self.run.cause {
                Some(Cause::Terminate { .. }) => Ok(()),
                _ => self.emit(Event::Stopping { cause: Cause::Terminate { principal, reason } }),
            },
            Request::Pause { .. } if self.run.paused => Ok(()),
            Request::Pause { reason } => self.emit(Event::Paused { principal, reason }),
            Request::Resume if !self.run.paused => Ok(()),
            Request::Resume => self.emit(Event::Resumed { principal }),
            Request::Retry { inputs } => self.retry(inputs, principal),
            Request::Compensate => self.emit(Event::Stopping { cause: Cause::Compensate { principal } }),
            Request::Resolve { node, resolution, reason } => {
                let at = self.find(&node, "resolve")?;
                self.resolve(at, resolution, reason, principal)
            }
            // Taken in where all news is; and refused from anybody else.
            Request::Told { .. } => Ok(()),
            Request::GiveUp { .. } => {
                let mut leftovers = self.leftovers(&[StepState::Unresolved], "nobody can tell whether it has happened");
                leftovers.extend(self.leftovers(&[StepState::UndoFailed], "its compensation failed"));
                leftovers.extend(self.stuck_children());
                if self.run.phase == Phase::Compensating {
                    leftovers.extend(self.leftovers_behind());
                }
                self.finish(RunState::Failed, leftovers)
            }
        }
    }

    fn signal(&mut self, name: SignalName, payload: Value, principal: Principal) -> Result<(), Refused> {
        if self.run.signals.values().map(|waiting| waiting.len()).sum::<usize>() >= MAX_SIGNALS {
            let bound = format!("{MAX_SIGNALS} signals wait already");
            return Err(Refused::Bound { request: "signal", bound });
        }
        let listener = self.run.listeners.get(&name).and_then(|nodes| nodes.first().copied());
        let resumed = Resumed::Signal { payload: payload.clone(), principal: principal.clone() };
        self.emit(Event::Signalled { name, payload, principal })?;
        match listener {
            Some(node) => self.unpark(node, resumed),
            None => Ok(()),
        }
    }

    fn retry(&mut self, inputs: BTreeMap<NodeName, Value>, principal: Principal) -> Result<(), Refused> {
        let wanted = if self.run.phase == Phase::Compensating {
            [StepState::UndoFailed].as_slice()
        } else {
            [StepState::Failed, StepState::Unresolved].as_slice()
        };
        if let Some(why) = self.run.not_correctable(&inputs) {
            return Err(Refused::NotNow { request: "retry", why });
        }
        let mut corrected: BTreeMap<NodeIndex, Value> = BTreeMap::new();
        for (name, input) in inputs {
            corrected.insert(self.find(&name, "retry")?, input);
        }
        let nodes: Vec<(NodeIndex, Option<Value>)> = self
            .run
            .plan
            .indices()
            .filter(|node| wanted.contains(&self.state(*node)))
            .map(|node| (node, corrected.remove(&node)))
            .collect();
        self.emit(Event::Reopened { nodes, principal })
    }

    fn find(&self, name: &NodeName, request: &'static str) -> Result<NodeIndex, Refused> {
        let missing = || Refused::NotNow { request, why: format!("there is no node '{name}'") };
        self.run.plan.find(name.as_str()).ok_or_else(missing)
    }
}

impl Run {
    /// Whether a principal is the run that this one is a child of.
    pub(crate) fn is_parent(&self, principal: &Principal) -> bool {
        self.parent().is_some_and(|parent| *principal == Principal::run(&parent.run))
    }

    /// Whether a run is in a state for a request of somebody's.
    ///
    /// # Errors
    /// [`Refused`] with the reason.
    pub fn may(&self, request: &Request, principal: &Principal) -> Result<(), Refused> {
        self.may_grow(request)?;
        let from_parent = self.is_parent(principal);
        let over = match self.phase {
            Phase::Over(state) => Some(state),
            _ => None,
        };
        let why = match (request, over) {
            (Request::Told { .. }, _) => "only a run that it has started says how that is".to_owned(),
            (Request::Compensate, Some(RunState::Succeeded)) if from_parent => return Ok(()),
            (Request::Retry { .. } | Request::Compensate, Some(_)) if self.parent.is_some() && !from_parent => {
                let parent = self.parent().map(|parent| parent.run.to_string()).unwrap_or_default();
                format!("it is over, and a part of run '{parent}'; ask that one")
            }
            (Request::Retry { .. } | Request::Compensate, Some(RunState::Failed)) => {
                let inputs = match request {
                    Request::Retry { inputs } => self.not_correctable(inputs),
                    _ => None,
                };
                match (self.undo_pending.is_empty(), inputs) {
                    (true, None) => return Ok(()),
                    (true, Some(why)) => why,
                    (false, _) => "some of its steps have been undone".to_owned(),
                }
            }
            (_, Some(state)) => format!("it has {state}", state = past(state)),
            (Request::Retry { inputs }, None) if self.stuck && self.phase == Phase::Compensating => {
                match self.not_correctable(inputs) {
                    None => return Ok(()),
                    Some(why) => why,
                }
            }
            (Request::Retry { .. }, None) if self.stuck => {
                "nobody can tell whether a step has happened; resolve it instead".to_owned()
            }
            (Request::Retry { .. }, None) => "it has not failed".to_owned(),
            (Request::Compensate, None) => "it has not failed; cancel it instead".to_owned(),
            (Request::GiveUp { .. }, None) if !self.stuck => "it is not stuck".to_owned(),
            (Request::Resolve { node, resolution, .. }, None) => match self.plan.find(node.as_str()) {
                None => format!("there is no node '{node}'"),
                Some(at) => match (self.steps[at.index()].state, resolution, self.phase) {
                    (StepState::Unresolved, Resolution::Undone, _) => {
                        "it is not being undone; say whether it happened, did not, or failed".to_owned()
                    }
                    (StepState::Unresolved, _, Phase::Forward) => return Ok(()),
                    (StepState::UndoFailed, Resolution::Undone | Resolution::DidNot, Phase::Compensating) => {
                        return Ok(());
                    }
                    (StepState::UndoFailed, _, _) => "its compensation failed; it can be taken as undone".to_owned(),
                    (state, ..) => format!("'{node}' is {}, there is nothing to decide", state.as_str()),
                },
            },
            (Request::Pause { .. }, None) if matches!(self.phase, Phase::Stopping) => "it is stopping".to_owned(),
            _ => return Ok(()),
        };
        Err(Refused::NotNow { request: request.name(), why })
    }
}

impl Run {
    /// Why one of these inputs cannot be corrected, if so.
    fn not_correctable(&self, inputs: &BTreeMap<NodeName, Value>) -> Option<String> {
        inputs.keys().find_map(|name| {
            let Some(at) = self.plan.find(name.as_str()) else { return Some(format!("there is no node '{name}'")) };
            let failed = matches!(self.steps[at.index()].state, StepState::Failed | StepState::Unresolved);
            let fits = failed && self.phase != Phase::Compensating;
            (!fits).then(|| format!("'{name}' has not failed, so its input cannot be corrected"))
        })
    }
}

fn past(state: RunState) -> String {
    match state {
        RunState::Compensated | RunState::Cancelled | RunState::Terminated => format!("been {state}"),
        _ => state.to_string(),
    }
}
