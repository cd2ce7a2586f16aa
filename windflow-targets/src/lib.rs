//! Deployment targets for WindFlow.
//!
//! Each kind of target is behind a feature of its name. [`host`] runs the services of a stack as supervised processes
//! of a machine and needs nothing installed there.
//!
//! # Features
//!
//! - `host` (default): supervised processes. Linux; elsewhere everything answers that it is unsupported.
//! - `docker`: containers of a Docker Engine and services of a Docker Swarm. `docker-tls` and `docker-ssh` add encrypted
//!   ports and other machines.
//! - `engines`, `nodes`, `podman`: the tests that need engines. Never needed.
//! - `proof`: the program that this crate's own tests run. Never needed.
//!
//! # Stability
//!
//! `HostTarget` and `HostConfig` are settled: what changes there is deprecated for a minor release first. What lies on
//! disk carries a version, and is read by every later 0.x, or refused by name.
// A future is part of every future above it, and the stack of a worker thread is 2 MiB.
#![warn(clippy::large_futures)]

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "docker")]
mod engine;
#[cfg(feature = "host")]
pub mod host;
#[cfg(feature = "docker")]
pub mod swarm;
