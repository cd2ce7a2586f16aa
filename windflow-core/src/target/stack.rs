//! What should run: the resolved Compose model.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hash::ContentHash;
use crate::id::{ServiceName, StackName};
use crate::secret::SecretRef;
use crate::time::millis;

/// A resolved stack: interpolated, merged, defaults filled in. Its hash says whether two are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// The Compose project name.
    pub name: StackName,
    /// Its members.
    pub services: BTreeMap<ServiceName, Service>,
}

impl Stack {
    /// The hash of the stack's canonical form.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        // The model holds only texts, numbers and maps with text keys: it can always be written.
        ContentHash::of_value(&serde_json::to_value(self).unwrap_or_default())
    }

    /// The services in an order in which each comes after those it depends on; the rest of a cycle comes last, in
    /// name order.
    #[must_use]
    pub fn start_order(&self) -> Vec<&ServiceName> {
        let mut order: Vec<&ServiceName> = Vec::with_capacity(self.services.len());
        let mut left: Vec<&ServiceName> = self.services.keys().collect();
        while !left.is_empty() {
            let free = |name: &&&ServiceName| self.services[**name].depends_on.keys().all(|need| !left.contains(&need));
            let ready: Vec<&ServiceName> = left.iter().filter(free).copied().collect();
            if ready.is_empty() {
                order.append(&mut left);
            } else {
                left.retain(|name| !ready.contains(name));
                order.extend(ready);
            }
        }
        order
    }
}

/// One member of a stack. Fields are those of the Compose Specification unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// The container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `x-windflow.process`: how it runs as a process of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// What the container runs instead of the image's own command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// The environment; nothing is inherited.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvValue>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// What must be there before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How its health is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// When it is started again.
    #[serde(skip_serializing_if = "RestartPolicy::is_default")]
    pub restart: RestartPolicy,
    /// How many instances.
    #[serde(skip_serializing_if = "is_one")]
    pub replicas: Replicas,
    /// The signal that asks it to stop; `SIGTERM` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed; 10 s when absent.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    /// Labels, for people and other tools.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A number of instances; one unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replicas(pub u32);

impl Default for Replicas {
    fn default() -> Self {
        Self(1)
    }
}

fn is_one(replicas: &Replicas) -> bool {
    replicas.0 == 1
}

/// A command line: Compose's text form keeps its own type, because it is split by the runtime's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// One text.
    Shell(String),
    /// Program and arguments.
    Argv(Vec<String>),
}

/// How a service runs as a process (`x-windflow: { process: … }`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Program and arguments; never a shell text. A relative program is looked up in `search` and then in the
    /// target's own search path.
    pub command: Vec<String>,
    /// Folders on the host in which a relative program is looked up first, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The working directory on the host; the service's own directory when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

/// A value of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Text that may be shown.
    Plain(String),
    /// A reference, resolved just before the service starts.
    Secret(SecretRef),
}

/// One published port (the long form of Compose).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortMapping {
    /// The port the service listens on. A process listens on it directly.
    pub target: u16,
    /// The port it is published on; the same as `target` for a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// The address it is published on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// How one service waits for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// What must be true of it.
    pub condition: Condition,
    /// Whether it must exist at all.
    #[serde(default = "yes")]
    pub required: bool,
    /// Whether this service restarts when the other is replaced.
    #[serde(default)]
    pub restart: bool,
}

fn yes() -> bool {
    true
}

/// What must be true of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It was started.
    ServiceStarted,
    /// Its health check passes.
    ServiceHealthy,
    /// It ran to its end with exit code 0.
    ServiceCompletedSuccessfully,
}

/// How health is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// Between two tries; Compose's default is 30 s.
    #[serde(with = "millis")]
    pub interval: Duration,
    /// How long one try may take; Compose's default is 30 s.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy; Compose's default is 3.
    pub retries: u32,
    /// Failures within this time after the start do not count.
    #[serde(with = "millis")]
    pub start_period: Duration,
    /// Between two tries within the start period; Compose's default is 5 s.
    #[serde(with = "millis")]
    pub start_interval: Duration,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A command that exits with 0 (`CMD`).
    Exec(Vec<String>),
    /// A shell text that exits with 0 (`CMD-SHELL`).
    Shell(String),
    /// An HTTP GET on the loopback address that answers 200 to 399 (`x-windflow`).
    Http {
        /// The port.
        port: u16,
        /// The path, starting with `/`.
        path: String,
    },
    /// A TCP connection on the loopback address (`x-windflow`).
    Tcp {
        /// The port.
        port: u16,
    },
}

/// When a service is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// On what occasion.
    pub policy: Restart,
    /// At most how often in a row; without end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

impl RestartPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// On what occasion a service is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never: Compose's default.
    #[default]
    No,
    /// After an exit code other than 0.
    OnFailure,
    /// Whenever it ends.
    Always,
    /// Whenever it ends, until it is stopped.
    UnlessStopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(edges: &[(&str, &[&str])]) -> Stack {
        let services = edges
            .iter()
            .map(|(name, needs)| {
                let dependency = Dependency { condition: Condition::ServiceStarted, required: true, restart: false };
                let depends_on =
                    needs.iter().map(|need| (ServiceName::new(need).unwrap(), dependency.clone())).collect();
                (ServiceName::new(name).unwrap(), Service { depends_on, ..Service::default() })
            })
            .collect();
        Stack { name: StackName::new("demo").unwrap(), services }
    }

    #[test]
    fn services_start_after_what_they_depend_on() {
        let stack = stack(&[("a", &["c"]), ("b", &[]), ("c", &["b"]), ("d", &[])]);
        let order: Vec<&str> = stack.start_order().into_iter().map(ServiceName::as_str).collect();
        assert_eq!(order, ["b", "d", "c", "a"]);
    }

    #[test]
    fn a_stack_is_read_back_as_it_was_written_and_its_hash_follows_its_content() {
        let mut a = stack(&[("web", &["db"]), ("db", &[])]);
        let text = serde_json::to_string(&a).unwrap();
        assert_eq!(
            text,
            r#"{"name":"demo","services":{"db":{},"web":{"depends_on":{"db":{"condition":"service_started","required":true,"restart":false}}}}}"#
        );
        assert_eq!(serde_json::from_str::<Stack>(&text).unwrap(), a);
        let before = a.hash();
        a.services.values_mut().for_each(|service| service.replicas = Replicas(2));
        assert_ne!(a.hash(), before);
    }
}
