//! What the world owes a run: read off its state, never stored.

use serde::{Deserialize, Serialize};

use crate::id::NodeIndex;
use crate::time::Timestamp;

/// Something the world owes a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Perform a node's action.
    Execute {
        /// Which node.
        node: NodeIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// Find out whether an attempt has happened.
    Observe {
        /// Which node.
        node: NodeIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// Evaluate an expression.
    Evaluate(Subject),
    /// Undo a step.
    Compensate {
        /// Which node.
        node: NodeIndex,
        /// Which compensation attempt.
        attempt: u32,
    },
    /// Come back then.
    WakeAt(Timestamp),
}

impl Command {
    /// The node it belongs to.
    #[must_use]
    pub fn node(self) -> Option<NodeIndex> {
        match self {
            Self::Execute { node, .. } | Self::Observe { node, .. } | Self::Compensate { node, .. } => Some(node),
            Self::Evaluate(subject) => subject.node(),
            Self::WakeAt(_) => None,
        }
    }

    /// Whether it changes nothing in the world: it may be dropped and asked again.
    #[must_use]
    pub fn is_question(self) -> bool {
        matches!(self, Self::Observe { .. } | Self::Evaluate(_))
    }
}

/// Which expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A node's condition.
    If(NodeIndex),
    /// A node's input.
    With(NodeIndex),
    /// The input of a node's compensating action.
    CompensateWith(NodeIndex),
    /// Whether a round of a repeated block was the last.
    Until(NodeIndex),
    /// The run's output.
    Outputs,
}

impl Subject {
    /// The node it belongs to.
    #[must_use]
    pub fn node(self) -> Option<NodeIndex> {
        match self {
            Self::If(node) | Self::With(node) | Self::CompensateWith(node) | Self::Until(node) => Some(node),
            Self::Outputs => None,
        }
    }
}
