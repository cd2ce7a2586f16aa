//! Events as people read them.

use std::collections::HashMap;

use windflow_core::outcome::{Resumed, Until};
use windflow_core::run::{After, Ask, Cause, Event, Leftover, Resolution, Subject};
use windflow_core::{NodeIndex, Recorded, RunState, Seen, Timestamp, Undone, Workflow};

use super::output::Tone;
use super::text::{clean, duration, moment};

/// One event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The node it is about, if it is about one.
    pub node: Option<String>,
    /// What happened.
    pub text: String,
    /// How it went.
    pub tone: Tone,
    /// Whether somebody who watches wants to know.
    pub news: bool,
}

/// Puts events into words; remembers when attempts began.
#[derive(Debug, Default)]
pub struct Teller {
    began: HashMap<NodeIndex, Timestamp>,
}

impl Teller {
    /// An event in words.
    pub fn tell(&mut self, plan: &Workflow, recorded: &Recorded) -> Line {
        let event = &recorded.event;
        let node = event.node().map(|at| plan.node(at).name.to_string());
        let (tone, news, text) = self.words(plan, recorded.at, event);
        Line { node, text, tone, news }
    }

    fn took(&self, node: NodeIndex, at: Timestamp) -> String {
        self.began.get(&node).map_or_else(String::new, |began| format!(" in {}", duration(began.until(at))))
    }

    fn words(&mut self, plan: &Workflow, at: Timestamp, event: &Event) -> (Tone, bool, String) {
        use Tone::{Bad, Care, Dim, Good, Plain};
        let again = |retry_at: &Option<Timestamp>| match retry_at {
            Some(retry_at) => format!("; again in {}", duration(at.until(*retry_at))),
            None => String::new(),
        };
        match event {
            Event::Created(created) => (Plain, false, format!("created by {}", clean(&created.principal.to_string()))),
            Event::Claimed { epoch } => (Dim, false, format!("taken over (epoch {epoch})")),
            Event::Released => (Dim, false, "let go of".to_owned()),
            Event::Evaluated { subject, .. } => (Dim, false, format!("evaluated its {}", part(*subject))),
            Event::EvaluationFailed { subject, error } => {
                (Bad, true, format!("cannot evaluate its {}: {}", part(*subject), clean(&error.to_string())))
            }
            Event::Skipped { .. } => (Dim, true, "skipped".to_owned()),
            Event::Started { node, attempt } => {
                self.began.insert(*node, at);
                let which = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                (Plain, true, format!("started{which}"))
            }
            Event::Checkpointed { .. } => (Dim, false, "left a checkpoint".to_owned()),
            Event::Parked { until, .. } => (Care, true, parked(until)),
            Event::Unparked { node, resumed } => {
                self.began.insert(*node, at);
                (Plain, true, unparked(resumed))
            }
            Event::Succeeded { node, .. } => (Good, true, format!("done{}", self.took(*node, at))),
            Event::Failed { node, error, retry_at } => {
                let tone = if retry_at.is_some() { Care } else { Bad };
                let text = clean(&error.to_string());
                (tone, true, format!("failed{}: {text}{}", self.took(*node, at), again(retry_at)))
            }
            Event::Interrupted { error, .. } => {
                (Care, true, format!("interrupted, its end is unknown: {}", clean(&error.to_string())))
            }
            Event::Observed { seen, then, .. } => observed(at, seen, then),
            Event::Signalled { name, principal, .. } => {
                (Plain, true, format!("signal {name} from {}", clean(&principal.to_string())))
            }
            Event::Paused { principal, reason } => {
                (Care, true, format!("paused by {}{}", clean(&principal.to_string()), because(reason)))
            }
            Event::Quarantined { .. } => {
                (Bad, true, "was running at three crashes in a row; the run is paused".to_owned())
            }
            Event::Resumed { principal } => (Plain, true, format!("resumed by {}", clean(&principal.to_string()))),
            Event::Stopping { cause } => (Care, true, stopping(plan, cause)),
            Event::CompensationBegan => (Care, true, "undoing what was done".to_owned()),
            Event::UndoStarted { node, attempt } => {
                self.began.insert(*node, at);
                let which = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
                (Plain, true, format!("undoing{which}"))
            }
            Event::Undone { node, undone } => match undone {
                Undone::Reversed => (Good, true, format!("undone{}", self.took(*node, at))),
                Undone::NothingToUndo => (Dim, true, "nothing to undo".to_owned()),
                Undone::NotUndoable { why } => (Care, true, format!("cannot be undone: {}", clean(why))),
            },
            Event::UndoFailed { error, retry_at, .. } => {
                (Bad, true, format!("could not be undone: {}{}", clean(&error.to_string()), again(retry_at)))
            }
            Event::Stuck { leftovers } => (Bad, true, format!("stuck{}", list(plan, leftovers))),
            Event::Resolved { resolution, reason, principal, .. } => {
                let text = format!("{} by {}{}", resolved(resolution), clean(&principal.to_string()), because(reason));
                (Plain, true, text)
            }
            Event::Reopened { nodes, principal } => {
                let names: Vec<&str> = nodes.iter().map(|(at, _)| plan.node(*at).name.as_str()).collect();
                (Plain, true, format!("{} tried again by {}", names.join(", "), clean(&principal.to_string())))
            }
            Event::RequestRefused { request, why, principal } => {
                let who = clean(&principal.to_string());
                (Care, true, format!("refused {who} to {}: {}", clean(request), clean(why)))
            }
            Event::Finished { state, .. } => {
                let tone = if *state == RunState::Succeeded { Good } else { Bad };
                (tone, false, state.to_string())
            }
            Event::ChildStarted { child, .. } => (Plain, true, format!("started run {child}")),
            Event::ChildAsked { place, ask, .. } => (Dim, true, format!("asked its run {place} to {}", asked(*ask))),
            Event::ChildTold { place, told, .. } => {
                let tone = if told.state == RunState::Succeeded { Good } else { Care };
                let why = told.problem.as_deref().map_or_else(String::new, |why| format!(": {}", clean(why)));
                (tone, true, format!("its run {place} is {}{why}", told.state))
            }
            Event::Joined { node } => (Good, true, format!("done{}", self.took(*node, at))),
            other => (Plain, true, other.kind().replace('_', " ")),
        }
    }
}

fn asked(ask: Ask) -> &'static str {
    match ask {
        Ask::Cancel => "stop and undo what it did",
        Ask::Terminate => "stop at once",
        Ask::Pause => "pause",
        Ask::Resume => "go on",
        Ask::Retry => "try again what failed",
        Ask::Compensate => "undo what it did",
    }
}

fn part(subject: Subject) -> &'static str {
    match subject {
        Subject::If(_) => "condition",
        Subject::With(_) => "input",
        Subject::CompensateWith(_) => "compensation's input",
        Subject::Until(_) => "condition to end",
        Subject::Outputs => "output",
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", clean(reason)) }
}

/// What a step waits for. An approval is a signal with a name of its own.
fn parked(until: &Until) -> String {
    match until {
        Until::Time(at) => format!("waits until {}", moment(*at)),
        Until::Signal { name, deadline } => {
            let until = deadline.map_or_else(String::new, |at| format!(", until {}", moment(at)));
            format!("waits for signal {name}{until}")
        }
    }
}

fn unparked(resumed: &Resumed) -> String {
    match resumed {
        Resumed::Time => "goes on: it is time".to_owned(),
        Resumed::Signal { principal, .. } => format!("goes on: the signal came from {}", clean(&principal.to_string())),
        Resumed::TimedOut => "goes on: the signal did not come in time".to_owned(),
    }
}

fn observed(at: Timestamp, seen: &Seen, then: &After) -> (Tone, bool, String) {
    let found = match seen {
        Seen::Happened(_) => "had happened",
        Seen::DidNot => "had not happened",
        Seen::CannotTell => "cannot be told whether it happened",
    };
    let (tone, follows) = match then {
        After::Complete => (Tone::Good, "it is done".to_owned()),
        After::Again => (Tone::Plain, "it is tried again".to_owned()),
        After::Retry { at: when } => (Tone::Care, format!("it is tried again in {}", duration(at.until(*when)))),
        After::Fail => (Tone::Bad, "it has failed".to_owned()),
        After::Unresolved => (Tone::Bad, "an operator must decide".to_owned()),
    };
    (tone, true, format!("{found}; {follows}"))
}

fn stopping(plan: &Workflow, cause: &Cause) -> String {
    match cause {
        Cause::Failure { node } => format!("stopping: {} has failed", plan.node(*node).name),
        Cause::Outputs => "stopping: the output cannot be evaluated".to_owned(),
        Cause::Cancel { principal, reason } => {
            format!("cancelled by {}{}", clean(&principal.to_string()), because(reason))
        }
        Cause::Terminate { principal, reason } => {
            format!("terminated by {}{}", clean(&principal.to_string()), because(reason))
        }
        Cause::Compensate { principal } => format!("undone at the wish of {}", clean(&principal.to_string())),
    }
}

fn resolved(resolution: &Resolution) -> &'static str {
    match resolution {
        Resolution::Happened { .. } => "taken as done",
        Resolution::DidNot => "taken as not done",
        Resolution::Fail => "taken as failed",
        Resolution::Undone => "taken as undone",
    }
}

fn list(plan: &Workflow, leftovers: &[Leftover]) -> String {
    let all: Vec<String> =
        leftovers.iter().map(|left| format!("{} ({})", plan.node(left.node).name, clean(&left.why))).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) }
}
