//! From our model to the engine's. Pure: what must be looked up is handed in.

mod container;
mod host;
mod network;
mod part;

pub(super) use container::{Rendered, Surroundings, container, keeping_restart, with_values};
pub(super) use network::endpoint;
pub(super) use part::{network, volume};
