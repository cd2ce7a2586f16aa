//! What the target and the supervisor tell each other, on disk and over the socket.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windflow_core::target::{Dependency, EnvValue, Health, HealthCheck, RestartPolicy, Stack};
use windflow_core::{ContentHash, ServiceName, Timestamp};

/// What a file of ours holds; the error names the file.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {error}", path.display())))
}

/// What a supervisor is to run. Secrets are references here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StackSpec {
    pub version: u16,
    /// Which intent asked for it.
    pub intent: ContentHash,
    /// The stack as it was asked for: what is compared with the next one.
    pub stack: Stack,
    pub services: BTreeMap<ServiceName, RunSpec>,
}

impl StackSpec {
    pub const VERSION: u16 = 1;

    /// What makes a running process another: its own spec, and, where a dependency asks for it, the identity of what
    /// it depends on.
    pub fn identity(&self, name: &ServiceName) -> Option<ContentHash> {
        // Circles are refused in the plan; the depth is a belt to that pair of braces.
        self.identity_within(name, 16)
    }

    fn identity_within(&self, name: &ServiceName, depth: usize) -> Option<ContentHash> {
        let run = self.services.get(name)?;
        let restarting = run.depends_on.iter().filter(|(_, need)| need.restart && depth > 0);
        let needs: Vec<ContentHash> =
            restarting.filter_map(|(need, _)| self.identity_within(need, depth - 1)).collect();
        Some(match needs.is_empty() {
            true => run.identity(),
            false => ContentHash::of_value(&serde_json::json!([run.identity(), needs])),
        })
    }
}

/// How one service runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunSpec {
    /// Program, absolute, and arguments.
    pub argv: Vec<String>,
    /// Its own directory when absent.
    pub working_dir: Option<String>,
    /// Without `PATH`, unless the stack sets it.
    pub environment: BTreeMap<String, EnvValue>,
    pub path: String,
    pub replicas: u32,
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    pub healthcheck: Option<HealthCheck>,
    pub restart: RestartPolicy,
    pub stop_signal: i32,
    pub stop_grace: Duration,
    /// Changes when a restart is asked for.
    pub nonce: Option<String>,
}

impl RunSpec {
    /// What a running process cannot change.
    pub fn identity(&self) -> ContentHash {
        let form = serde_json::json!([self.argv, self.working_dir, self.environment, self.path, self.nonce]);
        ContentHash::of_value(&form)
    }

    pub fn needs_secrets(&self) -> bool {
        self.environment.values().any(|value| matches!(value, EnvValue::Secret(_)))
    }
}

/// A process, safe against the reuse of its number within one boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub started: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.fmt(f)
    }
}

/// What runs, as the supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StackState {
    /// Which boot of the machine the process numbers belong to.
    pub boot: String,
    pub supervisor: Option<ProcessId>,
    /// Counts the orders of this supervisor.
    pub serial: u64,
    /// The intent that was ordered last.
    pub intent: Option<ContentHash>,
    pub services: BTreeMap<ServiceName, BTreeMap<u32, InstanceState>>,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceState {
    pub process: Option<ProcessId>,
    /// The identity of the spec it was started with.
    pub identity: Option<ContentHash>,
    pub since: Option<Timestamp>,
    pub restarts: u32,
    pub health: Health,
    /// Why it is not healthy yet, as its health check says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Default for InstanceState {
    fn default() -> Self {
        Self { process: None, identity: None, since: None, restarts: 0, health: Health::Starting, waiting: None }
    }
}

/// What a supervisor is asked. Values of secrets travel here and nowhere else.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Run this; answered by the state, again and again as it changes.
    Run { spec: Box<StackSpec>, secrets: BTreeMap<ServiceName, BTreeMap<String, String>> },
    /// Stop everything and end; answered by `Stopped`.
    Stop,
    /// Tell the state, again and again as it changes.
    Watch,
}

/// What a supervisor answers, one a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    State(Box<StackState>),
    Stopped,
    Failed(Refusal),
}

/// Why an order was not taken.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub why: String,
    /// The number of the system's error, if that is why.
    pub system: Option<i32>,
}

impl Refusal {
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), system: None }
    }

    pub fn failed(what: &str, error: &io::Error) -> Self {
        Self { why: format!("{what}: {error}"), system: error.raw_os_error() }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = refusal.system.map_or(io::ErrorKind::Other, |number| Self::from_raw_os_error(number).kind());
        Self::new(kind, refusal.why)
    }
}

/// The variable that marks a process, and all it starts, as an instance of ours; its value is the instance's folder.
pub(crate) const MARK: &str = "WINDFLOW_INSTANCE";

/// The variable that marks a process as nobody's instance, whoever started it: a supervisor, with the folder of its stack
/// as value, or what left its service.
pub(crate) const SUPERVISOR_MARK: &str = "WINDFLOW_SUPERVISOR";

/// The apply that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doing {
    pub intent: ContentHash,
    pub key: String,
}
