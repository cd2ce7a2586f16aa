//! Workflows and stacks as people write them: YAML documents, expressions, and what they need to run: the built-in
//! actions, secrets, and journals on disk.
//!
//! # Features
//!
//! All are on by default.
//!
//! - `documents`: workflow and stack files in YAML, with positions in every message. Needs `expressions`.
//! - `expressions`: `${{ … }}` and scripts in Rhai, within limits.
//! - `http`: the `http` action.
//! - `sqlite`: journals in one SQLite file.
//!
//! # Stability
//!
//! The keys of workflows and stacks, the inputs and outputs of the actions, and the SQLite file grow, and change their
//! meaning within 0.x only with a line in the changelog. The interfaces in Rust may change in minor releases.

pub mod actions;
pub mod deployments;
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
