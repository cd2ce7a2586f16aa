//! A seeded world for the engine: a virtual clock, crashes around every append, lost answers, frozen workers, and
//! actions that fail in every way they can. Every seed replays.
//!
//! Unstable: what it offers changes as the engine does.

mod action;
mod check;
mod clock;
mod faults;
mod ledger;
mod plan;
mod pondering;
mod store;
mod world;

pub use faults::{Counters, Faults};
pub use world::{Outcome, simulate};

#[cfg(feature = "planted-bugs")]
pub use crate::planted::Bug;
