//! Places where stacks live: the contract every target meets, and its data.

mod capability;
mod context;
mod contract;
pub mod diff;
mod error;
mod ext;
pub mod layer;
mod memory;
mod memory_staging;
mod memory_world;
mod observed;
mod plan;
mod revision;
mod session;
mod stack;

pub use capability::{Capabilities, Feature, Fingerprint};
pub use context::{Consents, Context};
pub use contract::{Applied, Promote, Target};
pub use error::{PlanError, TargetError, TargetErrorKind};
pub use ext::{RESTART_LABEL, TargetExt};
pub use layer::{Breaker, DryRun, Limit, MemoryPlacements, Placements, Remembered, Timeout, Traced};
pub use memory::{MEMORY_HEALTH_LABEL, MemoryTarget};
pub use memory_world::MemoryFaults;
pub use observed::{Baking, Discovered, Endpoint, Health, Observed, ObservedInstance, ObservedService};
pub use plan::{Change, ChangeKind, Desired, Plan, Precondition, Reversibility};
pub use revision::{RanImage, Revision};
pub use session::{Exec, ExecEvent, LogLine, LogOptions, LogStream, ServiceRef, Session};
pub use stack::{
    Amounts, Attachment, BindOptions, Command, Condition, Cpus, Dependency, Device, EndpointMode, EnvValue,
    FailureAction, FileMount, FileObject, FileSource, HealthCheck, Ipam, IpamPool, Logging, Mode, Mount, MountKind,
    Network, Order, Placement, PortMapping, PortMode, Probe, Process, Replicas, Resources, Restart, RestartPolicy,
    Rollout, Service, Stack, Strategy, TmpfsOptions, Ulimit, UpdateConfig, Volume, VolumeOptions,
};
