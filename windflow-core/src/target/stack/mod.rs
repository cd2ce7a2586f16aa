//! What should run: the resolved Compose model, in parts.

mod command;
mod container;
mod definition;
mod files;
mod health;
mod mount;
mod network;
mod port;
mod replication;
mod service;

pub use command::{Command, EnvValue, Process};
pub use container::{Device, Logging, Ulimit};
pub use definition::Stack;
pub use files::{FileMount, FileObject, FileSource};
pub use health::{HealthCheck, Probe};
pub use mount::{BindOptions, Mount, MountKind, TmpfsOptions, Volume, VolumeOptions};
pub use network::{Attachment, Ipam, IpamPool, Network};
pub use port::{PortMapping, PortMode};
pub use replication::{
    Amounts, Condition, Cpus, Dependency, EndpointMode, FailureAction, Mode, Order, Placement, Replicas, Resources,
    Restart, RestartPolicy, Rollout, Strategy, UpdateConfig,
};
pub use service::Service;
