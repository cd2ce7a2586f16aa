//! What the host kind promises, with real processes.
#![cfg(target_os = "linux")]

mod access;
mod conformance;
mod health;
mod life;
mod place;
