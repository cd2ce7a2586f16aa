//! The validated plan of work: a graph of nodes, immutable, pinned to its run by hash.

mod body;
mod builder;
mod expression;
mod graph;
mod inputs;
mod lint;
mod plan;
mod policy;
mod problem;
mod spec;
mod validate;

pub use body::{Body, Case, MAX_CHILDREN, MAX_DEPTH, OnItemFailure};
pub use builder::{Node, WorkflowBuilder};
pub use expression::{Piece, has_expression, members, pieces, references};
pub use inputs::{InputKind, InputSpec};
pub use lint::{Finding, Severity};
pub use plan::Workflow;
pub(crate) use policy::mix;
pub use policy::{Join, OnFailure, OnUnknown, Retry};
pub use problem::{InvalidWorkflow, Problem, did_you_mean};
pub use spec::{Compensate, NodeSpec, WorkflowSpec};
