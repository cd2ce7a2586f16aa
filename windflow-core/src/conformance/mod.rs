//! Suites that an implementation of a plug-in trait runs to prove itself. Unstable; behind the feature `conformance`.

pub mod store;
pub mod target;
