//! The `swarm` kind: the services of a stack as services of a Docker Swarm.
//!
//! The target ([`SwarmTarget`]) reads everything a Swarm has of a stack in a number of calls that does not grow with it
//! (`look`), turns our model into the Swarm's and back without calling anybody (`render`, `read`), and tells drift from
//! the difference (`observe`): what was asked for is rendered anew and read back like what is there, so that what the
//! engine makes of it by itself is never taken for a change. What it must remember lies in the Swarm: labels of services,
//! and configs (`records`).
//!
//! # Health
//!
//! A task counts when the Swarm reports it as running, which it does once its health check passes; one without a check has
//! to run for [`SwarmConfig::settle`]. A Swarm calls a service running although nobody can reach it when the kernel lacks
//! IPVS, which leads virtual addresses and the ingress to tasks. That is found out in two ways. Where the engine runs on
//! this program's own kernel, one can see whether the kernel has it; then a service with a virtual address fails, if it
//! publishes through the ingress or shares a network with another service. And a TCP port that is published through the
//! ingress must answer on one of the nodes, from where this program runs ([`SwarmConfig::probe_ports`]). A virtual address
//! between services on a kernel that is not ours cannot be tried from outside, and is believed.
//! `endpoint_mode: dnsrr` and ports with `mode: host` need no IPVS.
//!
//! # Volumes
//!
//! A node makes a volume when a task first mounts it there, and gives it the label that tells whose it is; a volume that
//! has the name already is mounted as it is. Only the volumes of the node that is talked to are seen: there, one that is
//! somebody else's is refused by its path, what a stack has left is told (`Observed::retained`), and a removal that was
//! agreed to takes it. Where there are more nodes, plans say that theirs are not seen. Tasks that have ended hold on to what
//! they mounted, so volumes go with the stack and not before.
//!
//! # Blue-green
//!
//! Two sets of a service are two services of the Swarm. A Swarm gives tasks other names only by replacing them, so both sets
//! are begun once more when the names go over, and what is kept is a healthy set of other tasks (`sides`, `bake`).
//!
//! # What differs from `docker stack deploy`
//!
//! `restart` means what Compose says: a service that does not ask for it is not started again. What is taken over keeps
//! the policy it runs with for as long as the stack says nothing else.

mod adopt;
mod adopt_files;
mod apply;
mod bake;
mod bake_plan;
mod capability;
mod config;
mod converge;
mod files;
mod health;
mod ipvs;
mod jobs;
mod logs;
mod look;
mod names;
mod observe;
mod parts;
mod passed_over;
mod pulse;
mod read;
mod records;
mod render;
mod services;
mod sides;
mod take_down;
mod target;
mod volumes;
mod watch;

pub use config::SwarmConfig;
pub use target::SwarmTarget;
