//! What tests against real engines stand on: where the engines of `scripts/bed/run` are ([`docker`], [`swarm`], …), one
//! more of a test's own ([`Engine`]), and a [`Proxy`] in front of any of them that records each call, cuts off at a chosen
//! one, and fails as networks do.
//!
//! Only for tests: it is not published, and nothing but tests depends on it.

mod endpoint;
mod engine;
mod proxy;

pub use endpoint::{Doors, Registry, Swarm, docker, doors, podman, registry, swarm, swarm3};
pub use engine::Engine;
pub use proxy::{Call, Cut, Fault, Proxy};
