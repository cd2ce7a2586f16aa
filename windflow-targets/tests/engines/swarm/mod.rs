//! The swarm kind, over a real Swarm.

mod adopt;
mod attempts;
mod blue_green;
mod conformance;
mod drift;
mod files;
mod jobs;
mod life;
mod manager;
mod no_op;
pub mod place;
mod two_sets;
mod verdict;
mod volumes;
