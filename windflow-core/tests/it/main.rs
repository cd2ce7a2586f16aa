//! What windflow-core promises, from outside.

#[cfg(feature = "conformance")]
mod store;
#[cfg(feature = "conformance")]
mod target;
