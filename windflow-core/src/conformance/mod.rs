//! Suites that a third party's implementation runs to prove itself. Unstable.

pub mod store;
//! Suites that an implementation of a plug-in trait runs to prove itself. Unstable; behind the feature `conformance`.

pub mod target;
