//! Tests through the public interface.

#[cfg(feature = "documents")]
mod documents;
#[cfg(feature = "expressions")]
mod expressions;
#[cfg(feature = "sqlite")]
mod sqlite;
