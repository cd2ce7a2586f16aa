//! What the host kind promises, with real processes.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod conformance;
mod damage;
mod disk;
mod health;
mod life;
mod orphans;
mod place;
