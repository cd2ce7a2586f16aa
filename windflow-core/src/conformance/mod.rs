//! Suites that a third party's implementation runs to prove itself. Unstable.

pub mod store;
