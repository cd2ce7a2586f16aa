//! Workflows and stacks as people write them, and what runs need: YAML documents, expressions, actions, secrets, and a
//! store in one SQLite file.

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
