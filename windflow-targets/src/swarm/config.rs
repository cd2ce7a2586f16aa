//! What a swarm target is told. It reads no environment and guesses nothing.

use std::time::Duration;

use windflow_core::{OwnerId, TargetName};

use crate::engine::{Endpoint, RegistryLogins};

/// What a swarm target is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwarmConfig {
    /// The name it is registered under.
    pub name: TargetName,
    /// Whose stacks these are.
    pub owner: OwnerId,
    /// Where a manager of the Swarm listens.
    pub endpoint: Endpoint,
    /// How its nodes log in to registries: what is shown here is handed to them with each service.
    pub logins: RegistryLogins,
    /// How long the engine may take to answer; 30 s unless set.
    pub patience: Duration,
    /// How long an apply waits for health before it takes the stack back; ten minutes unless set. A call whose own time is
    /// up before that ends with what it waited for and leaves the stack as it is, to be gone on with or taken back.
    pub health_timeout: Duration,
    /// How long a task without a health check must have run before it counts as healthy; one second unless set.
    pub settle: Duration,
    /// Whether stacks may ask for what makes a container root of its node: more capabilities than Docker's own, the
    /// engine's socket. They may not unless set.
    pub allow_privileged: bool,
    /// Whether a published port must answer, from where this program runs, before its service counts as healthy. True
    /// unless the manager is reached over ssh: then its nodes may well not be reachable from here.
    pub probe_ports: bool,
}

impl SwarmConfig {
    /// A swarm target with the usual times.
    #[must_use]
    pub fn new(name: TargetName, owner: OwnerId, endpoint: Endpoint) -> Self {
        let probe_ports = !matches!(endpoint, Endpoint::Ssh { .. });
        Self {
            name,
            owner,
            endpoint,
            logins: RegistryLogins::new(),
            patience: Duration::from_secs(30),
            health_timeout: Duration::from_secs(600),
            settle: Duration::from_secs(1),
            allow_privileged: false,
            probe_ports,
        }
    }
}
