//! What a Docker target is told about itself.

use std::time::Duration;

use windflow_core::{OwnerId, TargetName};

use crate::engine::{Endpoint, RegistryLogins};

/// A Docker target: where its engine is, and what stacks may ask of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DockerConfig {
    /// The name it is registered under.
    pub name: TargetName,
    /// Whose stacks these are.
    pub owner: OwnerId,
    /// Where the engine is.
    pub endpoint: Endpoint,
    /// Who we are to registries.
    pub logins: RegistryLogins,
    /// How long the engine may take to answer; 30 s unless set.
    pub patience: Duration,
    /// How long an apply waits for health; ten minutes unless set. A service's own `x-windflow.rollout.progress_deadline`
    /// is heeded within.
    pub health_timeout: Duration,
    /// How long a container without a health check must have run before it counts as healthy; one second unless set.
    pub settle: Duration,
    /// With blue-green, how long containers that have given up their service's name go on before anything else happens to
    /// them; three seconds unless set. Whoever has looked them up just before is still served.
    pub drain: Duration,
    /// Whether stacks may ask for what makes a container root of the machine: `privileged`, devices, the namespaces of
    /// the machine, more capabilities than Docker's own, the engine's socket. They may not unless set.
    pub allow_privileged: bool,
}

impl DockerConfig {
    /// The engine at this place, for this owner.
    #[must_use]
    pub fn new(name: TargetName, owner: OwnerId, endpoint: Endpoint) -> Self {
        Self {
            name,
            owner,
            endpoint,
            logins: RegistryLogins::new(),
            patience: Duration::from_secs(30),
            health_timeout: Duration::from_secs(600),
            settle: Duration::from_secs(1),
            drain: Duration::from_secs(3),
            allow_privileged: false,
        }
    }
}
