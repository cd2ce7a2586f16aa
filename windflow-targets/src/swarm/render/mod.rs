//! From a service of ours to a service of a Swarm. Pure.

mod container;
mod mount;
mod network;
mod replacing;
mod service;

pub(super) use container::nanos;
pub(super) use mount::{RETAINED, VolumeSource, memory, memory_problem};
pub(super) use network::network;
pub(super) use service::{Bound, Object, service};

#[cfg(test)]
mod tests;
