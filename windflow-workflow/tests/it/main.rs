//! Tests through the public interface.

#[cfg(feature = "sqlite")]
mod sqlite;
