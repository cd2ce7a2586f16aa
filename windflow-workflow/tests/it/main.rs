//! Tests through the public interface.

#![cfg(test)]

mod actions;
#[cfg(feature = "documents")]
mod checks;
#[cfg(feature = "documents")]
mod documents;
#[cfg(feature = "documents")]
mod documents_compose;
#[cfg(feature = "documents")]
mod documents_corpus;
#[cfg(feature = "documents")]
mod documents_fuzz;
#[cfg(feature = "expressions")]
mod expressions;
#[cfg(feature = "documents")]
mod guard;
#[cfg(feature = "documents")]
mod hostile;
#[cfg(feature = "sqlite")]
mod sqlite;
