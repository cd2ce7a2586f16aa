//! What the kinds that stand on a Docker Engine promise, on real engines. `scripts/bed/run` starts them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it did"
)]

mod at_once;
mod cuts;
mod docker;
#[cfg(feature = "nodes")]
mod nodes;
mod nonsense;
#[cfg(feature = "podman")]
mod podman;
mod restarts;
mod swarm;
