//! Places where stacks live: the contract every target meets, and its data.

mod capability;
mod context;
mod contract;
pub mod diff;
mod error;
mod ext;
mod memory;
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
pub use memory::{MEMORY_HEALTH_LABEL, MemoryTarget};
pub use memory_world::MemoryFaults;
pub use observed::{Discovered, Endpoint, Health, Observed, ObservedInstance, ObservedService};
pub use plan::{Change, ChangeKind, Desired, Plan, Precondition, Reversibility};
pub use revision::Revision;
pub use session::{Exec, ExecEvent, LogLine, LogOptions, LogStream, ServiceRef, Session};
pub use stack::{
    Command, Condition, Dependency, EnvValue, HealthCheck, PortMapping, Probe, Process, Replicas, Restart,
    RestartPolicy, Service, Stack,
};
