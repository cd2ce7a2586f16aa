//! Tests through the public interface.
//! Black-box tests of the crate.

#![cfg(test)]

mod actions;
#[cfg(feature = "documents")]
mod documents;
#[cfg(feature = "expressions")]
mod expressions;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "documents")]
mod guard;
#[cfg(feature = "documents")]
mod hostile;
#[cfg(feature = "sqlite")]
mod sqlite;
