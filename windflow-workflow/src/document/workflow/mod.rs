//! Workflow files.

mod file;
mod inputs;
mod lower;
mod node;
mod place;

pub(super) use file::Opened;
pub use file::WorkflowDocument;
