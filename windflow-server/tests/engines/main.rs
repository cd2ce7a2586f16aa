//! The command as people use it, on real engines: sagas over three kinds of targets, falling back from one engine to
//! another, and the same file on both. `scripts/bed/run` starts the engines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod actions;
mod adopt;
mod beside;
mod corner;
mod deaths;
mod doors;
mod fallback;
mod gate;
mod registry;
mod saga;
mod sequence;
#[path = "../it/world.rs"]
#[expect(dead_code, reason = "the other tests of the command use more of it")]
mod world;
