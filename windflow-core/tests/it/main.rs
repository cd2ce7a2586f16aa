//! What windflow-core promises, from outside.

#[cfg(feature = "conformance")]
mod target;
