//! Workflow files.

mod expressions;
mod file;
mod inputs;
mod lower;
mod node;
mod place;

pub use file::WorkflowDocument;
