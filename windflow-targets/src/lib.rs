//! Deployment targets for WindFlow.
//!
//! Each kind of target is behind a feature of its name. [`host`] runs the services of a stack as supervised processes
//! of a machine and needs nothing installed there.

#[cfg(feature = "host")]
pub mod host;
