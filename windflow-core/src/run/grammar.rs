//! The journal's grammar: which event may follow which state of its step.

use super::Subject;
use super::event::{After, Event, Resolution};
use super::step::StepState;
use super::value::Phase;
use crate::outcome::Seen;

/// Which event may follow which state of its step: the table of the journal's grammar.
pub(super) fn may_follow(phase: Phase, state: StepState, event: &Event) -> bool {
    use StepState as S;
    let forward = phase == Phase::Forward;
    match event {
        Event::Skipped { .. } => forward && matches!(state, S::Blocked | S::Deciding),
        Event::Started { .. } => forward && matches!(state, S::Ready | S::Backoff),
        Event::Checkpointed { .. } => matches!(state, S::Running | S::Undoing),
        Event::Parked { .. } => forward && state == S::Running,
        Event::Unparked { .. } => forward && state == S::Parked,
        Event::Succeeded { .. } => matches!(phase, Phase::Forward | Phase::Stopping) && state == S::Running,
        Event::Failed { .. } => forward && matches!(state, S::Running | S::Parked | S::Backoff | S::Calling),
        Event::Interrupted { .. } => match state {
            S::Running => matches!(phase, Phase::Forward | Phase::Stopping),
            S::Calling => phase == Phase::Stopping,
            _ => false,
        },
        Event::ChildStarted { .. } | Event::Joined { .. } => forward && state == S::Calling,
        Event::ChildAsked { .. } | Event::ChildTold { .. } => {
            let both = phase == Phase::Stopping;
            (forward || both) && state == S::Calling
                || (both || phase == Phase::Compensating) && state == S::UndoCalling
        }
        Event::Observed { seen, then, .. } => {
            forward && state == S::Unknown && matches!(seen, Seen::Happened(_)) == (*then == After::Complete)
        }
        Event::UndoStarted { .. } => phase == Phase::Compensating && matches!(state, S::UndoReady | S::UndoBackoff),
        Event::Undone { .. } | Event::UndoFailed { .. } => {
            matches!(phase, Phase::Compensating | Phase::Stopping) && matches!(state, S::Undoing | S::UndoCalling)
        }
        Event::Resolved { resolution, .. } => match resolution {
            Resolution::Happened { .. } | Resolution::Fail => forward && state == S::Unresolved,
            Resolution::DidNot => matches!(state, S::Unresolved | S::UndoFailed),
            Resolution::Undone => state == S::UndoFailed,
        },
        Event::Evaluated { subject, .. } | Event::EvaluationFailed { subject, .. } => match subject {
            Subject::If(_) => forward && state == S::Deciding,
            Subject::With(_) => forward && state == S::Preparing,
            Subject::CompensateWith(_) => phase == Phase::Compensating && state == S::UndoPreparing,
            Subject::Until(_) => forward && state == S::Judging,
            Subject::Outputs => true,
        },
        _ => true,
    }
}
