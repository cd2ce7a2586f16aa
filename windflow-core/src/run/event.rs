//! The durable vocabulary: what has happened to a run, in the past tense.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RunState, Subject};
use crate::hash::ContentHash;
use crate::id::{Epoch, Namespace, NodeIndex, NodeName, Principal, RunId, Seq, SignalName, WorkflowName};
use crate::outcome::{Resumed, Seen, StepError, Undone, Until};
use crate::time::Timestamp;

/// An event at its place in a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its position, counted from 1.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// Under which epoch.
    pub epoch: Epoch,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What has happened. A journal of these is all there is to a run: its state is their fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The run came to be. Always the first, and only the first.
    Created(Box<Created>),
    /// Someone took the run. Each attempt that was open has ended, nobody knows how.
    Claimed {
        /// The new holder's epoch.
        epoch: Epoch,
    },
    /// Its holder let go of it in good order. Each attempt that was still open has ended, nobody knows how, and it is
    /// no fault of the step's.
    Released,
    /// An expression was evaluated; the value is used by every attempt and every replay.
    Evaluated {
        /// Which expression.
        subject: Subject,
        /// Its value.
        value: Value,
    },
    /// An expression could not be evaluated.
    EvaluationFailed {
        /// Which expression.
        subject: Subject,
        /// Why.
        error: Box<StepError>,
    },
    /// The node's condition was false, or all its needs were skipped.
    Skipped {
        /// Which node.
        node: NodeIndex,
    },
    /// An attempt began. Durable before its effect.
    Started {
        /// Which node.
        node: NodeIndex,
        /// Which attempt, counted from 1.
        attempt: u32,
    },
    /// The action left something to be found by the next attempt, an observation or a compensation.
    Checkpointed {
        /// Which node.
        node: NodeIndex,
        /// What it left.
        value: Value,
    },
    /// The step waits; no task does.
    Parked {
        /// Which node.
        node: NodeIndex,
        /// For what.
        until: Until,
    },
    /// What the step waited for has come; it is performed again.
    Unparked {
        /// Which node.
        node: NodeIndex,
        /// What came.
        resumed: Box<Resumed>,
    },
    /// The step is complete. It never runs again.
    Succeeded {
        /// Which node.
        node: NodeIndex,
        /// Its output.
        output: Value,
    },
    /// An attempt failed.
    Failed {
        /// Which node.
        node: NodeIndex,
        /// How.
        error: Box<StepError>,
        /// When it is tried again; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// An attempt ended, nobody knows how.
    Interrupted {
        /// Which node.
        node: NodeIndex,
        /// What is known: a timeout, a lost answer.
        error: Box<StepError>,
    },
    /// The action looked whether the attempt has happened.
    Observed {
        /// Which node.
        node: NodeIndex,
        /// What it saw.
        seen: Seen,
        /// What follows.
        then: After,
    },
    /// A signal came in.
    Signalled {
        /// Which.
        name: SignalName,
        /// What it carried.
        payload: Value,
        /// Who sent it.
        principal: Principal,
    },
    /// Nothing new starts until the run is resumed.
    Paused {
        /// Who asked.
        principal: Principal,
        /// Why.
        reason: String,
    },
    /// A step has been open at three crashes in a row; the run is paused until an operator resumes it.
    Quarantined {
        /// Which node.
        node: NodeIndex,
    },
    /// The run goes on.
    Resumed {
        /// Who asked.
        principal: Principal,
    },
    /// Nothing new starts, and what runs is asked to stop.
    Stopping {
        /// Why.
        cause: Cause,
    },
    /// The undoing began: from here on nothing runs forwards.
    CompensationBegan,
    /// A compensation attempt began. Durable before its effect.
    UndoStarted {
        /// Which node.
        node: NodeIndex,
        /// Which attempt, counted from 1.
        attempt: u32,
    },
    /// A step was undone.
    Undone {
        /// Which node.
        node: NodeIndex,
        /// How.
        undone: Undone,
    },
    /// A compensation attempt failed.
    UndoFailed {
        /// Which node.
        node: NodeIndex,
        /// How.
        error: Box<StepError>,
        /// When it is tried again; never by itself when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// The run cannot go on by itself.
    Stuck {
        /// What is in its way: exactly the steps that are neither complete nor undone.
        leftovers: Vec<Leftover>,
    },
    /// An operator decided what nobody could tell.
    Resolved {
        /// Which node.
        node: NodeIndex,
        /// What was decided.
        resolution: Resolution,
        /// Why.
        reason: String,
        /// Who decided.
        principal: Principal,
    },
    /// An operator had failed steps tried again.
    Reopened {
        /// Which nodes, and the corrected input of those that got one.
        nodes: Vec<(NodeIndex, Option<Value>)>,
        /// Who asked.
        principal: Principal,
    },
    /// Something was asked of the run that it could not do.
    RequestRefused {
        /// What.
        request: String,
        /// Why.
        why: String,
        /// Who asked.
        principal: Principal,
    },
    /// A run was started for a step: a child, created together with this.
    ChildStarted {
        /// Which node.
        node: NodeIndex,
        /// Which of its runs, counted from 0: the place of the item, the number of the round.
        place: u32,
        /// The child.
        child: RunId,
    },
    /// Something is asked of a child; in its inbox together with this.
    ChildAsked {
        /// Which node.
        node: NodeIndex,
        /// Which of its runs.
        place: u32,
        /// What.
        ask: Ask,
    },
    /// A child said that it is over, or stuck.
    ChildTold {
        /// Which node.
        node: NodeIndex,
        /// Which of its runs.
        place: u32,
        /// What it said.
        told: Box<Told>,
    },
    /// All runs of a step have ended as they should. It never runs again.
    Joined {
        /// Which node.
        node: NodeIndex,
    },
    /// The run is over.
    Finished {
        /// How.
        state: RunState,
        /// Its output.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        output: Value,
        /// What it leaves behind.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leftovers: Vec<Leftover>,
    },
}

/// How a run came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The version of this vocabulary: [`Event::VERSION`] or an earlier one.
    pub version: u16,
    /// The run.
    pub run: RunId,
    /// Its namespace.
    pub namespace: Namespace,
    /// The pinned workflow.
    pub workflow: ContentHash,
    /// Its name, for people.
    pub name: WorkflowName,
    /// The resolved input.
    pub input: Value,
    /// What jitter is drawn from.
    pub seed: u64,
    /// Who started it.
    pub principal: Principal,
    /// The epoch of whoever created it.
    pub epoch: Epoch,
    /// The run it is a child of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Parent>>,
}

/// What a run has from the one it is a child of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// That run.
    pub run: RunId,
    /// Its node.
    pub node: NodeName,
    /// The node's place in its workflow.
    pub at: NodeIndex,
    /// Which of the node's runs.
    pub place: u32,
    /// When it must be over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// What a block reads of what is around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around: Option<Around>,
}

/// What a block reads of what is around it, besides the inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Around {
    /// The outputs of the nodes around it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeName, Value>,
    /// Its item, or the output of the round before.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub item: Value,
    /// The item's place or key, or the number of the round.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub key: Value,
}

/// What a run may ask of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To stop and undo what it did.
    Cancel,
    /// To stop at once.
    Terminate,
    /// To start nothing new.
    Pause,
    /// To go on.
    Resume,
    /// To try again what failed.
    Retry,
    /// To undo what it did.
    Compensate,
}

/// What a child says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// How it is: over, stuck, or on its way again.
    pub state: RunState,
    /// Its output, when it has succeeded.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// What was wrong, if something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it left behind, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
}

impl Event {
    /// The newest version of the vocabulary this build reads. Version 2 brought runs within runs; a run is written in the
    /// lowest version that has what it needs.
    pub const VERSION: u16 = 2;

    /// Its name, as in the durable form.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Claimed { .. } => "claimed",
            Self::Released => "released",
            Self::Evaluated { .. } => "evaluated",
            Self::EvaluationFailed { .. } => "evaluation_failed",
            Self::Skipped { .. } => "skipped",
            Self::Started { .. } => "started",
            Self::Checkpointed { .. } => "checkpointed",
            Self::Parked { .. } => "parked",
            Self::Unparked { .. } => "unparked",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Interrupted { .. } => "interrupted",
            Self::Observed { .. } => "observed",
            Self::Signalled { .. } => "signalled",
            Self::Paused { .. } => "paused",
            Self::Quarantined { .. } => "quarantined",
            Self::Resumed { .. } => "resumed",
            Self::Stopping { .. } => "stopping",
            Self::CompensationBegan => "compensation_began",
            Self::UndoStarted { .. } => "undo_started",
            Self::Undone { .. } => "undone",
            Self::UndoFailed { .. } => "undo_failed",
            Self::Stuck { .. } => "stuck",
            Self::Resolved { .. } => "resolved",
            Self::Reopened { .. } => "reopened",
            Self::RequestRefused { .. } => "request_refused",
            Self::ChildStarted { .. } => "child_started",
            Self::ChildAsked { .. } => "child_asked",
            Self::ChildTold { .. } => "child_told",
            Self::Joined { .. } => "joined",
            Self::Finished { .. } => "finished",
        }
    }

    /// The node it is about, if it is about one.
    #[must_use]
    pub fn node(&self) -> Option<NodeIndex> {
        match self {
            Self::Skipped { node }
            | Self::Started { node, .. }
            | Self::Checkpointed { node, .. }
            | Self::Parked { node, .. }
            | Self::Unparked { node, .. }
            | Self::Succeeded { node, .. }
            | Self::Failed { node, .. }
            | Self::Interrupted { node, .. }
            | Self::Observed { node, .. }
            | Self::Quarantined { node }
            | Self::UndoStarted { node, .. }
            | Self::Undone { node, .. }
            | Self::UndoFailed { node, .. }
            | Self::ChildStarted { node, .. }
            | Self::ChildAsked { node, .. }
            | Self::ChildTold { node, .. }
            | Self::Joined { node }
            | Self::Resolved { node, .. } => Some(*node),
            Self::Evaluated { subject, .. } | Self::EvaluationFailed { subject, .. } => subject.node(),
            _ => None,
        }
    }
}

/// What follows an observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// The step is complete.
    Complete,
    /// It is tried again at once: its worker died, which is not the step's failure.
    Again,
    /// It is tried again then.
    Retry {
        /// When.
        at: Timestamp,
    },
    /// It has failed for good.
    Fail,
    /// An operator must decide.
    Unresolved,
}

/// Why a run stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A step failed for good.
    Failure {
        /// Which.
        node: NodeIndex,
    },
    /// The run's output could not be evaluated.
    Outputs,
    /// Someone cancelled it, or its deadline passed.
    Cancel {
        /// Who.
        principal: Principal,
        /// Why.
        reason: String,
    },
    /// Someone ended it at once, with nothing undone.
    Terminate {
        /// Who.
        principal: Principal,
        /// Why.
        reason: String,
    },
    /// An operator had a failed run undone.
    Compensate {
        /// Who.
        principal: Principal,
    },
}

/// Something a run leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Which node did it.
    pub node: NodeIndex,
    /// Why it is left.
    pub why: String,
}

/// What an operator may decide about a step nobody can tell of, or that cannot be undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It has happened, with this output.
    Happened {
        /// The output.
        output: Value,
    },
    /// It has not: it is tried again.
    DidNot,
    /// It counts as failed.
    Fail,
    /// It was undone by hand.
    Undone,
}
