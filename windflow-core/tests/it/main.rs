//! Tests through the public interface.

#[cfg(feature = "conformance")]
mod store;
//! What windflow-core promises, from outside.

#[cfg(feature = "conformance")]
mod target;
