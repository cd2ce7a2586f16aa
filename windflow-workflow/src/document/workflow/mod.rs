//! Workflow files.

mod block;
mod file;
mod inputs;
mod lower;
mod node;
mod place;
mod targets;

pub(super) use block::blocks;
pub(super) use file::Opened;
pub use file::WorkflowDocument;
