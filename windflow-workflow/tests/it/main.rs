//! Tests through the public interface.

#[cfg(feature = "sqlite")]
mod sqlite;
//! Black-box tests of the crate.

#[cfg(feature = "documents")]
mod documents;
#[cfg(feature = "expressions")]
mod expressions;
