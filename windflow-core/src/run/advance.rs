//! Takes news, decides what it means, and writes it down: input and time in, events out.

use std::sync::Arc;

use serde_json::Value;

use super::event::{After, Created, Event, Parent};
use super::input::{Input, Refused, Request};
use super::step::StepState;
use super::value::{Phase, Run};
use super::{Resolution, Subject};
use crate::id::{Epoch, Namespace, NodeIndex, Principal, RunId};
use crate::outcome::{ErrorClass, Guarantee, Outcome, Resumed, Seen, StepError, Undone, Until};
use crate::planted::{Bug, is_planted};
use crate::time::Timestamp;
use crate::workflow::{OnUnknown, Workflow};

/// How often a step may be performed in all; a bound, not a policy.
const MAX_ATTEMPTS: u32 = 100_000;

/// What a run is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its id.
    pub run: RunId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its input, resolved.
    pub input: Value,
    /// What jitter is drawn from.
    pub seed: u64,
    /// Who starts it.
    pub principal: Principal,
    /// The epoch of whoever creates it.
    pub epoch: Epoch,
    /// The run it is a child of, if it is one.
    pub parent: Option<Box<Parent>>,
}

/// A decision in the making: events already applied, to be made durable together.
pub(super) struct Advance<'a> {
    pub(super) run: &'a mut Run,
    pub(super) now: Timestamp,
    pub(super) events: &'a mut Vec<Event>,
    /// Whether steps may be started: not by whoever is about to let go of the run.
    pub(super) starts: bool,
    /// Whether the run is not there yet: its own runs can only begin with an append to it.
    pub(super) creating: bool,
}

impl Run {
    /// A new run and its first events.
    ///
    /// # Errors
    /// [`Refused::Corrupt`] never, unless the engine has a bug.
    pub fn start(start: Start, plan: Arc<Workflow>, now: Timestamp) -> Result<(Self, Vec<Event>), Refused> {
        Self::begin(start, plan, now, true)
    }

    /// [`Run::start`]; unless `starts`, for others to drive.
    pub(crate) fn begin(
        start: Start,
        plan: Arc<Workflow>,
        now: Timestamp,
        starts: bool,
    ) -> Result<(Self, Vec<Event>), Refused> {
        let Start { run, namespace, input, seed, principal, epoch, parent } = start;
        let created = Created {
            version: if parent.is_some() { Event::VERSION } else { plan.vocabulary() },
            run,
            namespace,
            workflow: plan.hash(),
            name: plan.name().clone(),
            input,
            seed,
            principal,
            epoch,
            parent,
        };
        let mut run = Self::create(&created, now, plan)?;
        let mut events = vec![Event::Created(Box::new(created))];
        Advance { run: &mut run, now, events: &mut events, starts, creating: true }.settle()?;
        Ok((run, events))
    }

    /// Takes news, decides, applies what it decided, and returns it to be made durable. What is out of date changes
    /// nothing. Time never runs backwards inside a run.
    ///
    /// # Errors
    /// [`Refused`] when the run is in no state for what is asked; it has not changed then. After
    /// [`Refused::Corrupt`] it must be dropped.
    pub fn advance(&mut self, now: Timestamp, input: Input) -> Result<Vec<Event>, Refused> {
        let mut events = Vec::new();
        self.advance_into(now, input, true, &mut events)?;
        Ok(events)
    }

    /// [`Run::advance`], with what it decides put behind what was decided before; and, unless anything may start, for
    /// whoever lets go of the run: it takes in what has happened, and nothing begins that nobody would perform.
    pub(crate) fn advance_into(
        &mut self,
        now: Timestamp,
        input: Input,
        starts: bool,
        events: &mut Vec<Event>,
    ) -> Result<(), Refused> {
        let now = now.max(self.updated_at);
        let mut advance = Advance { run: self, now, events, starts, creating: false };
        match input {
            Input::Woke => {}
            Input::Claimed { epoch } => {
                // What was asked while nobody drove the run comes before anything that follows by itself: a run that
                // was cancelled or paused meanwhile starts nothing. The news after the claim, `Woke` if there is no
                // other, lets it go on.
                return advance.claimed(epoch);
            }
            Input::Released => {
                // Nothing is started any more: whoever takes the run next goes on from here.
                if advance.run.count(StepState::Running) + advance.run.count(StepState::Undoing) > 0 {
                    advance.emit(Event::Released)?;
                }
                return Ok(());
            }
            Input::Evaluated { subject, result } => advance.evaluated(subject, result)?,
            Input::Checkpointed { node, attempt, value } => {
                if advance.is_open(node, attempt) || advance.is_undoing(node, attempt) {
                    advance.emit(Event::Checkpointed { node, value })?;
                }
            }
            Input::Ended { node, attempt, result } if advance.is_open(node, attempt) => advance.ended(node, result)?,
            Input::Observed { node, attempt, result, guarantee } => {
                advance.observed(node, attempt, result, guarantee)?
            }
            Input::Compensated { node, attempt, result } if advance.is_undoing(node, attempt) => {
                advance.compensated(node, result)?;
            }
            Input::Asked { request: Request::Told { node, place, run, told }, principal }
                if principal == Principal::run(&run) =>
            {
                advance.child_told(node, place, &run, *told)?;
            }
            Input::Ended { .. } | Input::Compensated { .. } => {}
            Input::Asked { request, principal } => advance.asked(request, principal)?,
        }
        advance.pause_if_full()?;
        advance.settle()
    }
}

impl Advance<'_> {
    pub(super) fn emit(&mut self, event: Event) -> Result<(), Refused> {
        self.run.apply(self.now, &event)?;
        self.events.push(event);
        Ok(())
    }

    pub(super) fn state(&self, node: NodeIndex) -> StepState {
        self.run.steps[node.index()].state
    }

    fn exists(&self, node: NodeIndex) -> bool {
        node.index() < self.run.steps.len()
    }

    fn is_open(&self, node: NodeIndex, attempt: u32) -> bool {
        self.exists(node) && self.state(node) == StepState::Running && self.run.steps[node.index()].attempt == attempt
    }

    fn is_undoing(&self, node: NodeIndex, attempt: u32) -> bool {
        self.exists(node)
            && self.state(node) == StepState::Undoing
            && self.run.steps[node.index()].extra.as_deref().is_some_and(|extra| extra.undo_attempt == attempt)
    }

    fn claimed(&mut self, epoch: Epoch) -> Result<(), Refused> {
        self.emit(Event::Claimed { epoch })?;
        if self.run.paused {
            return Ok(());
        }
        let poisonous = self.run.plan.indices().find(|node| {
            let step = &self.run.steps[node.index()];
            // Only what would be tried again can kill again.
            matches!(
                (self.run.phase, step.state),
                (Phase::Forward, StepState::Unknown) | (Phase::Compensating, StepState::UndoReady)
            ) && step.extra.as_deref().is_some_and(|extra| extra.crashes >= 3)
        });
        match poisonous {
            Some(node) => self.emit(Event::Quarantined { node }),
            None => Ok(()),
        }
    }

    fn evaluated(&mut self, subject: Subject, result: Result<Value, StepError>) -> Result<(), Refused> {
        let expected = match subject {
            Subject::Outputs => self.run.owes_outputs(),
            Subject::If(node) | Subject::With(node) | Subject::CompensateWith(node) | Subject::Until(node) => {
                self.exists(node)
                    && matches!(
                        (subject, self.run.phase, self.state(node)),
                        (Subject::If(_), Phase::Forward, StepState::Deciding)
                            | (Subject::With(_), Phase::Forward, StepState::Preparing)
                            | (Subject::Until(_), Phase::Forward, StepState::Judging)
                            | (Subject::CompensateWith(_), Phase::Compensating, StepState::UndoPreparing)
                    )
            }
        };
        if !expected {
            return Ok(());
        }
        let result = match (subject, result) {
            (Subject::If(_) | Subject::Until(_), Ok(value)) if !value.is_boolean() => Err(StepError::terminal(
                "expression.type",
                format_args!("the condition must be true or false, and is {value}"),
            )),
            (_, result) => result,
        };
        match result {
            Ok(value) => self.emit(Event::Evaluated { subject, value }),
            Err(error) => self.emit(Event::EvaluationFailed { subject, error: Box::new(error) }),
        }
    }

    fn ended(&mut self, node: NodeIndex, result: Result<Outcome, StepError>) -> Result<(), Refused> {
        let stopping = self.run.phase == Phase::Stopping;
        match result {
            Ok(Outcome::Done(output)) => self.emit(Event::Succeeded { node, output }),
            Ok(Outcome::Parked(_)) if stopping => {
                let error = StepError::retryable("cancelled", "the run stopped before it began to wait");
                self.emit(Event::Interrupted { node, error: Box::new(error) })
            }
            Ok(Outcome::Parked(until)) => self.park(node, until),
            Err(error) if stopping || error.class == ErrorClass::Unknown => {
                self.emit(Event::Interrupted { node, error: Box::new(error) })
            }
            Err(error) => {
                let retry_at = self.retry_at(node, error.class);
                self.emit(Event::Failed { node, error: Box::new(error), retry_at })
            }
        }
    }

    fn park(&mut self, node: NodeIndex, until: Until) -> Result<(), Refused> {
        let name = match &until {
            Until::Signal { name, .. } => Some(name.clone()),
            Until::Time(_) => None,
        };
        self.emit(Event::Parked { node, until })?;
        // The signal may have come before anybody waited for it.
        let early = name.and_then(|name| self.run.signals.get(&name)).and_then(|waiting| waiting.front()).cloned();
        match early {
            Some((payload, principal)) => self.unpark(node, Resumed::Signal { payload, principal }),
            None => Ok(()),
        }
    }

    pub(super) fn unpark(&mut self, node: NodeIndex, resumed: Resumed) -> Result<(), Refused> {
        self.emit(Event::Unparked { node, resumed: Box::new(resumed) })
    }

    /// When a failed attempt is tried again, if it is.
    pub(super) fn retry_at(&self, node: NodeIndex, class: ErrorClass) -> Option<Timestamp> {
        let (retry, step) = (self.run.retry_of(node), &self.run.steps[node.index()]);
        let failures = step.failures() + 1;
        if class == ErrorClass::Terminal
            || !retry.on.contains(&class)
            || failures >= retry.max_attempts && !is_planted(Bug::RetryWithoutBound)
            || step.attempt >= MAX_ATTEMPTS
        {
            return None;
        }
        let at = self.now.after(retry.delay(self.run.seed, node, failures));
        self.run.step_deadline(node).is_none_or(|deadline| at < deadline).then_some(at)
    }

    fn observed(
        &mut self,
        node: NodeIndex,
        attempt: u32,
        result: Result<Seen, StepError>,
        guarantee: Guarantee,
    ) -> Result<(), Refused> {
        let expected = self.exists(node)
            && self.run.phase == Phase::Forward
            && self.state(node) == StepState::Unknown
            && self.run.steps[node.index()].attempt == attempt;
        if !expected {
            return Ok(());
        }
        // An action that cannot look, after trying for a while, cannot tell.
        let seen = result.unwrap_or(Seen::CannotTell);
        let node_spec = self.run.plan.node(node);
        let leave = guarantee == Guarantee::AtLeastOnce && node_spec.on_unknown == OnUnknown::Stuck;
        let counts = self.run.steps[node.index()].extra.as_deref().is_some_and(|extra| extra.counts);
        let then = match seen {
            Seen::Happened(_) => After::Complete,
            Seen::CannotTell if leave => After::Unresolved,
            _ if !counts => After::Again,
            _ => match self.retry_at(node, ErrorClass::Unknown) {
                Some(at) => After::Retry { at },
                None => After::Fail,
            },
        };
        self.emit(Event::Observed { node, seen, then })
    }

    fn compensated(&mut self, node: NodeIndex, result: Result<Undone, StepError>) -> Result<(), Refused> {
        match result {
            Ok(undone) => self.emit(Event::Undone { node, undone }),
            Err(error) => {
                let retry = self.run.undo_retry_of(node);
                let failures = self.run.steps[node.index()].extra.as_deref().map_or(0, |extra| extra.undo_failures) + 1;
                // A compensation whose end nobody saw is simply tried again: it may run more than once by contract.
                let again = error.class != ErrorClass::Terminal && failures < retry.max_attempts;
                let retry_at = again.then(|| self.now.after(retry.delay(self.run.seed ^ UNDO_SALT, node, failures)));
                self.emit(Event::UndoFailed { node, error: Box::new(error), retry_at })
            }
        }
    }

    /// Ends a step that waits and whose deadline has passed.
    pub(super) fn deadline_passed(&mut self, node: NodeIndex) -> Result<(), Refused> {
        let limit = self.run.plan.node(node).deadline.unwrap_or_default();
        let error = StepError::terminal("deadline", format_args!("it took longer than its deadline of {limit:?}"));
        self.emit(Event::Failed { node, error: Box::new(error), retry_at: None })
    }

    pub(super) fn resolve(
        &mut self,
        node: NodeIndex,
        resolution: Resolution,
        reason: String,
        principal: Principal,
    ) -> Result<(), Refused> {
        self.emit(Event::Resolved { node, resolution, reason, principal })
    }
}

/// Keeps the draws of a step's retries and of its compensation's apart.
const UNDO_SALT: u64 = 0x5bd1_e995_7f4a_7c15;
