//! Workflows and stacks as people write them: YAML documents, expressions, and what they need to run: the built-in
//! actions, secrets, and journals on disk.

pub mod actions;
#[cfg(feature = "documents")]
pub mod document;
pub mod environment;
#[cfg(feature = "expressions")]
pub mod expression;
pub mod secrets;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(feature = "http")]
pub use actions::EgressPolicy;
pub use actions::{ActionOptions, ScriptEngine, ShellPolicy, builtin_actions};
pub use environment::Environment;
pub use secrets::{EnvSecrets, FileSecrets};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
