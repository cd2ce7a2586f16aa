//! What is there.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::id::{ServiceName, StackName};
use crate::target::Revision;
use crate::time::Timestamp;

/// How a service or an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum Health {
    /// It is coming up, or its check has not passed yet.
    Starting,
    /// It runs, and its check passes, if it has one.
    Healthy,
    /// It runs, and its check fails.
    Unhealthy {
        /// What the check said last.
        why: String,
    },
    /// It ran to its end.
    Completed,
    /// It ended otherwise than it should, and will not come back by itself.
    Failed {
        /// Exit code or signal, and the last lines it wrote.
        why: String,
    },
    /// It is not running, as it should be.
    Stopped,
}

impl Health {
    /// Whether what depends on it may go on.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Healthy | Self::Completed)
    }

    /// Whether waiting longer cannot help.
    #[must_use]
    pub fn is_final_failure(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// What is there of one stack: found by our mark, never by name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Observed {
    /// The revision that is current, as the target itself records it.
    pub current: Option<Revision>,
    /// In a staged rollout, the revision that waits to be promoted: the services are those of it, and what is current is
    /// kept beside.
    pub staged: Option<Revision>,
    /// In a staged rollout, since when it waits, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baking: Option<Baking>,
    /// The services that are there.
    pub services: BTreeMap<ServiceName, ObservedService>,
    /// What services share and is there, by path within the stack (`networks.front`): the fields we own, as they are in
    /// force. A volume that was kept when its stack went is no part of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Value>,
    /// What was kept although nothing wants it any more, by path within the stack: what the target calls it. It is no part of
    /// the stack, and goes with the next destroy that may remove it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retained: BTreeMap<String, String>,
}

impl Observed {
    /// Nothing is there.
    #[must_use]
    pub fn absent() -> Self {
        Self::default()
    }

    /// The revision that was applied last: the staged one, else the current one.
    #[must_use]
    pub fn latest(&self) -> Option<&Revision> {
        self.staged.as_ref().or(self.current.as_ref())
    }

    /// Whether nothing with our mark is there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.current.is_none() && self.staged.is_none() && self.services.is_empty() && self.parts.is_empty()
    }
}

/// How long a staged revision waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Baking {
    /// Since when it has the traffic.
    pub since: Timestamp,
    /// When it is promoted unless its health is lost; by somebody's word only when absent.
    pub until: Option<Timestamp>,
}

impl Baking {
    /// Since then, and until then if a time was given.
    #[must_use]
    pub fn new(since: Timestamp, until: Option<Timestamp>) -> Self {
        Self { since, until }
    }
}

/// One service as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObservedService {
    /// The spec fields we own, as they are in force; what drift is told from. Never health, pids or counters.
    pub spec: Value,
    /// Its health: the worst of its instances'.
    pub health: Health,
    /// Its instances.
    pub instances: Vec<ObservedInstance>,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
}

impl ObservedService {
    /// A service with this spec in force.
    #[must_use]
    pub fn new(spec: Value, health: Health) -> Self {
        Self { spec, health, instances: Vec::new(), endpoints: Vec::new() }
    }
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObservedInstance {
    /// The other side's name for it: a container id, a pid.
    pub id: String,
    /// Its health.
    pub health: Health,
    /// Since when it runs.
    pub since: Option<Timestamp>,
    /// How often it was started again.
    pub restarts: u32,
}

impl ObservedInstance {
    /// An instance.
    #[must_use]
    pub fn new(id: impl Into<String>, health: Health) -> Self {
        Self { id: id.into(), health, since: None, restarts: 0 }
    }
}

/// Where a service answers.
///
/// ```
/// # use windflow_core::target::Endpoint;
/// let endpoint = |host: &str| Endpoint { host: host.to_owned(), port: 80, protocol: "tcp".to_owned() };
/// assert_eq!(endpoint("10.0.0.7").to_string(), "tcp://10.0.0.7:80");
/// assert_eq!(endpoint("::1").to_string(), "tcp://[::1]:80");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `tcp`, `udp`, or `http` when the health check says so.
    pub protocol: String,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            // An address of IPv6, whose colons are not that of the port.
            true => write!(f, "{}://[{}]:{}", self.protocol, self.host, self.port),
            false => write!(f, "{}://{}:{}", self.protocol, self.host, self.port),
        }
    }
}

/// What runs there and is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Discovered {
    /// What it seems to be called.
    pub name: StackName,
    /// Whose it is, if it says so.
    pub owner: Option<String>,
    /// Its services.
    pub services: Vec<String>,
    /// Opaque to everyone but the target that found it.
    pub handle: Value,
}

impl Discovered {
    /// Something that runs there.
    #[must_use]
    pub fn new(name: StackName, owner: Option<String>, services: Vec<String>, handle: Value) -> Self {
        Self { name, owner, services, handle }
    }
}
