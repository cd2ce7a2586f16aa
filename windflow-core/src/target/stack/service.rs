//! One member of a stack.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Attachment, Command, Dependency, Device, EndpointMode, EnvValue, FileMount, HealthCheck, Logging, Mode, Mount,
    Placement, PortMapping, Probe, Process, Replicas, Resources, RestartPolicy, Rollout, Ulimit, UpdateConfig,
};
use crate::id::ServiceName;
use crate::time::millis;

/// One member of a stack. Fields are those of the Compose Specification, in its normal form, unless said otherwise; which of
/// them a target honours stand in its [`Capabilities`](crate::target::Capabilities).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// The container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `x-windflow.process`: how it runs as a process of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// What the container starts instead of the image's own entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Command>,
    /// What the container runs instead of the image's own command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// The environment; nothing is inherited.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, EnvValue>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// Ports it listens on besides, `80` or `53/udp`; told, not published.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// What must be there before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How its health is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthCheck>,
    /// When it is started again (`restart`, `deploy.restart_policy`).
    #[serde(skip_serializing_if = "RestartPolicy::is_default")]
    pub restart: RestartPolicy,
    /// How many instances (`deploy.replicas`, `scale`).
    #[serde(skip_serializing_if = "Replicas::is_one")]
    pub replicas: Replicas,
    /// How that number is meant (`deploy.mode`).
    #[serde(skip_serializing_if = "Mode::is_default")]
    pub mode: Mode,
    /// How its name leads to its instances (`deploy.endpoint_mode`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_mode: Option<EndpointMode>,
    /// Where instances may run (`deploy.placement`).
    #[serde(skip_serializing_if = "Placement::is_anywhere")]
    pub placement: Placement,
    /// What they may use (`deploy.resources`, `cpus`, `mem_limit`, `mem_reservation`, `pids_limit`).
    #[serde(skip_serializing_if = "Resources::is_unbounded")]
    pub resources: Resources,
    /// How the target replaces instances by itself (`deploy.update_config`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    /// How it goes back by itself (`deploy.rollback_config`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// `x-windflow.rollout`: how a new revision takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The signal that asks it to stop; `SIGTERM` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed; 10 s when absent.
    #[serde(with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    /// Labels, for people and other tools.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Labels of the service itself and not of its containers (`deploy.labels`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deploy_labels: BTreeMap<String, String>,
    /// Annotations of its containers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Mount>,
    /// Folders that are memory, with options: `/run:size=64m`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// Configs that are handed in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<FileMount>,
    /// Secrets that are handed in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<FileMount>,
    /// The networks it is on; `default` alone when empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, Attachment>,
    /// A network that is none of the stack's: `host`, `none`, `service:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<String>,
    /// What its containers call themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The domain they call their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// The hardware address of the first network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Names that lead to these addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, Vec<String>>,
    /// Whom they ask for names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// How they ask.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_opt: Vec<String>,
    /// The domains in which short names are looked up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// The exact name of its only container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// The system it is made for: `linux/amd64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When its image is fetched: `missing` (when absent), `always`, `never`, `daily`, `weekly`, `every_12h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<String>,
    /// As whom it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Groups it has besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Whether a small first process passes signals on and takes in orphans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Whether it has a terminal.
    #[serde(skip_serializing_if = "is_false")]
    pub tty: bool,
    /// Whether its input stays open.
    #[serde(skip_serializing_if = "is_false")]
    pub stdin_open: bool,
    /// Whether its file system can only be read.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Whether it may do what the machine's root may.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// Capabilities it has besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities it does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Options of the kernel's guards: `no-new-privileges:true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// Parameters of the kernel.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Bounds of its processes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Devices of the machine that are handed in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Rules for devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_cgroup_rules: Vec<String>,
    /// Where its output goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// Bytes of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Whose processes it sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// Whose memory it shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    /// Whose host name it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
    /// Whose users it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns_mode: Option<String>,
    /// Whose control group it sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The control group above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    /// What runs its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// How they are kept apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// Options of its storage.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// Its weight when processors are short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    /// Microseconds of a period of the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    /// Microseconds of each period it may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// Which processors: `0-3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// How readily its memory is swapped, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_swappiness: Option<i64>,
    /// Bytes of memory and swap together; -1 is no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memswap_limit: Option<i64>,
    /// Whether it is spared when memory runs out.
    #[serde(skip_serializing_if = "is_false")]
    pub oom_kill_disable: bool,
    /// How readily it is killed when memory runs out, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    /// Keys of the Compose Specification that no field above stands for, in their normal form: what a target does
    /// not honour it names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(super) fn is_false(yes: &bool) -> bool {
    !yes
}

impl Service {
    /// The check by which its health is told, where there is one.
    #[must_use]
    pub fn check(&self) -> Option<&HealthCheck> {
        self.healthcheck.as_ref().filter(|check| check.probe != Probe::None)
    }
}
