//! The `host` kind: the services of a stack as supervised processes of a machine.
//!
//! The target ([`HostTarget`]) writes what should run and reads what runs; a small supervisor per stack
//! ([`supervise_if_child`]) starts, watches, restarts and stops the processes. Both meet on disk, under
//! `<root>/<owner>/<stack>/`, and over a socket there. The target's logic sees the machine only through
//! the module `transport`: files, locks, processes, the supervisor's socket.

#[cfg(target_os = "linux")]
mod apply;
mod config;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod logs;
#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(target_os = "linux")]
mod render;
#[cfg(target_os = "linux")]
mod revisions;
#[cfg(target_os = "linux")]
mod state;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
mod take_down;
#[cfg(target_os = "linux")]
mod target;
#[cfg(target_os = "linux")]
mod transport;
#[cfg(target_os = "linux")]
mod waiting;
#[cfg(target_os = "linux")]
mod watch;

pub use config::{HostConfig, SUPERVISE, SupervisorCommand};
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{HostTarget, leave_service, supervise_if_child};
#[cfg(target_os = "linux")]
pub use supervisor::{leave_service, supervise_if_child};
#[cfg(target_os = "linux")]
pub use target::HostTarget;
