//! From the engine's objects to our model. Pure.

mod fields;
mod health;
mod part;
mod service;

pub(super) use health::{CRASH_LOOP, comes_back, exit_reason, health};
pub(super) use service::{differing, is_as_made, is_as_made_apart_from_networks, observed, says_the_same};
