//! Tests through the public interface.

#[cfg(feature = "conformance")]
mod store;
