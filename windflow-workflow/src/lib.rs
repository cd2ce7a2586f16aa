//! Workflows and stacks as people write them: YAML documents, expressions, stores, and what they need to run.

#[cfg(feature = "documents")]
pub mod document;
pub mod environment;
#[cfg(feature = "expressions")]
pub mod expression;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use environment::Environment;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
