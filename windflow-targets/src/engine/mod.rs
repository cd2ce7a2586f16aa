//! The way to a Docker Engine, which the `docker` and the `swarm` kind share: where it is, how it is called, what its
//! answers mean, how images come to it, and what it is handed.

mod connection;
pub(crate) mod doing;
mod endpoint;
mod exec;
mod failure;
mod identity;
mod image;
mod last_look;
pub(crate) mod listing;
mod logs;
pub(crate) mod mark;
mod moment;
mod no_engine;
#[cfg(test)]
pub(crate) mod nothing_lost;
mod passed_over;
mod reference;
mod registry;
mod root;
#[cfg(feature = "docker-ssh")]
mod ssh;
pub(crate) mod staged;
pub(crate) mod values;

pub(crate) use connection::Engine;
pub use endpoint::{Endpoint, TlsFiles};
pub(crate) use exec::exec;
pub(crate) use failure::{Failure, NO_MANAGER, is_missing};
pub(crate) use identity::{Identity, identity, restarts_with};
pub(crate) use image::{Image, ensure, local, policy_problem};
pub(crate) use last_look::LastLook;
pub(crate) use logs::lines;
pub(crate) use moment::parse_moment;
pub(crate) use no_engine::no_engine_takes;
pub(crate) use passed_over::passed_over;
pub(crate) use reference::name_problem;
pub(crate) use registry::credentials;
pub use registry::{RegistryLogin, RegistryLogins};
pub(crate) use root::{gives_away, volumes_give_away};

/// The lowest version of the engine's interface that is talked to: Docker 20.10.
pub const MINIMUM_API: (usize, usize) = (1, 41);
