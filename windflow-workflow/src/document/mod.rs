//! Workflow and stack documents: a spanned YAML reader behind a guard, and what it reads turned into the engine's
//! own data, with every problem located.

mod check;
mod decode;
mod diagnostic;
mod duration;
mod expressions;
mod keys;
mod limits;
mod load;
mod meter;
mod reader;
mod scalar;
mod schema;
mod secrets;
mod source;
mod stack;
mod tree;
mod workflow;

pub use check::{Registered, check_stack, check_workflow};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use duration::parse_duration;
pub use limits::Limits;
pub use load::{load_stack, load_workflow};
pub use reader::{Work, read};
pub use scalar::Scalar;
pub use schema::schema;
pub use source::{Position, Source, Span};
pub use stack::{StackDocument, StackFiles};
pub use tree::{Entry, Kind, MergeTag, Node};
pub use workflow::WorkflowDocument;
