//! How many instances of a service run, where, with what, after what, and how they are replaced (`deploy`, `depends_on`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::millis;

/// A number of instances; one unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Replicas(pub u32);

impl Default for Replicas {
    fn default() -> Self {
        Self(1)
    }
}

impl Replicas {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(super) fn is_one(&self) -> bool {
        self.0 == 1
    }
}

/// How the number of instances is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// So many, wherever there is room.
    #[default]
    Replicated,
    /// One on each machine.
    Global,
    /// So many, each run once to its end.
    ReplicatedJob,
    /// One on each machine, run once to its end.
    GlobalJob,
}

impl Mode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::Replicated
    }

    /// Whether instances are run once to their end.
    #[must_use]
    pub fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob | Self::GlobalJob)
    }
}

/// How the name of a service leads to its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointMode {
    /// By one address that stands for all.
    Vip,
    /// By the addresses of all.
    Dnsrr,
}

/// Where instances may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// What must hold of a machine: `node.role==manager`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Over which labels of machines instances are spread: `node.labels.zone`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<String>,
    /// At most so many on one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas_per_node: Option<u32>,
}

impl Placement {
    pub(super) fn is_anywhere(&self) -> bool {
        *self == Self::default()
    }
}

/// What an instance may use, and what is kept free for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// At most so much.
    #[serde(skip_serializing_if = "Amounts::is_nothing")]
    pub limits: Amounts,
    /// At least so much.
    #[serde(skip_serializing_if = "Amounts::is_nothing")]
    pub reservations: Amounts,
}

impl Resources {
    pub(super) fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}

/// Amounts of what instances use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amounts {
    /// Processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    /// Counted things by kind (`generic_resources`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, i64>,
}

impl Amounts {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A number of processors, exact to a billionth; written as a decimal fraction.
///
/// ```
/// use windflow_core::target::Cpus;
/// assert_eq!("0.5".parse::<Cpus>(), Ok(Cpus::from_nanos(500_000_000)));
/// assert_eq!(Cpus::from_nanos(1_250_000_000).to_string(), "1.25");
/// assert!("-1".parse::<Cpus>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(u64);

impl Cpus {
    /// So many billionths of a processor.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// In billionths of a processor.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no number of processors: write 0.5 or 2");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || part.len() > 9 || !digits(whole) || !digits(part) {
            return Err(wrong());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let part: u64 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
        whole.checked_mul(1_000_000_000).and_then(|nanos| nanos.checked_add(part)).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        match part {
            0 => write!(f, "{whole}"),
            _ => write!(f, "{whole}.{}", format!("{part:09}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a target that replaces instances by itself goes about it (`deploy.update_config`, `deploy.rollback_config`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateConfig {
    /// So many at a time; all at once for 0, one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Between two batches.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// What happens when it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_action: Option<FailureAction>,
    /// How long each new instance is watched for failure.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Duration>,
    /// Which share of instances may fail, a decimal fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failure_ratio: Option<String>,
    /// What comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

/// What happens when replacing instances fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// It goes on.
    Continue,
    /// It goes back.
    Rollback,
    /// It stays where it is.
    Pause,
}

/// What comes first when an instance is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The old one is stopped first.
    StopFirst,
    /// The new one is started first.
    StartFirst,
}

/// How a new revision takes over (`x-windflow: { rollout: … }`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// In which way; the target's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// So many instances at a time; one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// How long a new instance must have been ready before it counts.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<Duration>,
    /// How long a new instance may take to become ready.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// How long a staged revision is watched before it is promoted; until somebody says so when absent.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub bake: Option<Duration>,
}

/// In which way a new revision takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All old instances stop, then the new ones start.
    Recreate,
    /// A few instances at a time.
    Rolling,
    /// The new ones stand beside the old ones until they are promoted.
    BlueGreen,
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

/// When a service is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// On what occasion.
    pub policy: Restart,
    /// At most how often in a row; without end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long it waits before; the target's own way when absent.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How long an instance must have run before its end counts as another row.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
}

impl RestartPolicy {
    /// On this occasion, without bounds.
    #[must_use]
    pub fn on(policy: Restart) -> Self {
        Self { policy, ..Self::default() }
    }

    pub(super) fn is_default(&self) -> bool {
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
