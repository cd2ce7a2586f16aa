//! The `docker` kind: the services of a stack as containers of one Docker Engine.
//!
//! The target ([`DockerTarget`]) reads everything an engine has of a stack in one go (`look`), turns it into our model and
//! back without calling anybody (`observe`, `render`), and works on the difference (`apply`, `converge`, `rollout`).
//! What it must remember lies on the engine: labels of the containers, and of empty volumes (`records`).

mod address;
mod adopt;
mod apply;
mod bake;
mod bake_plan;
mod blue_green;
mod called;
mod config;
mod converge;
mod events;
mod handed;
mod logs;
mod look;
mod meaning;
mod nameless;
mod names;
mod observe;
mod offer;
mod otherwise;
mod parts;
mod passed_over;
mod podman;
mod prepare;
mod records;
mod removal;
mod render;
mod rollout;
mod staged;
mod take_down;
mod target;
mod watch;
mod work;

pub use crate::engine::{Endpoint, MINIMUM_API, RegistryLogin, RegistryLogins, TlsFiles};
pub use config::DockerConfig;
pub use target::DockerTarget;
