//! From a service of a Swarm to a service of ours, in one normal form. Pure.
//!
//! Both what we would ask for and what is in force are read with this; where the two differ, something has drifted.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    EndpointPortConfigPublishModeEnum as Publish, EndpointSpecModeEnum, HealthConfig, MountType, ServiceSpec,
    ServiceSpecMode, ServiceSpecRollbackConfig, ServiceSpecUpdateConfig, TaskSpec, TaskSpecContainerSpec,
    TaskSpecRestartPolicyConditionEnum as On,
};
use windflow_core::target::{
    Amounts, Attachment, BindOptions, Command, Cpus, EndpointMode, EnvValue, FailureAction, FileMount, HealthCheck,
    Logging, Mode, Mount, MountKind, Order, Placement, PortMapping, PortMode, Probe, Replicas, Resources, Restart,
    RestartPolicy, Service, TmpfsOptions, Ulimit, UpdateConfig, VolumeOptions,
};

use super::render::RETAINED;
use crate::engine::mark;

/// What the ids in a service are called in its stack. What is not here keeps its id.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub service: String,
    pub networks: BTreeMap<String, String>,
    pub configs: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
    pub volumes: BTreeMap<String, String>,
}

impl Names {
    fn of<'a>(known: &'a BTreeMap<String, String>, id: &'a str) -> &'a str {
        known.get(id).map_or(id, String::as_str)
    }
}

/// Labels of `docker stack deploy`: they say whose a service was, and nothing depends on them.
fn is_theirs(label: &str) -> bool {
    label.starts_with("com.docker.stack.")
}

fn plain(labels: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let wanted = |label: &str| !mark::is_ours(label) && !is_theirs(label);
    let labels = labels.into_iter().flatten().filter(|(label, _)| wanted(label));
    labels.map(|(label, value)| (label.clone(), value.clone())).collect()
}

/// The engine's durations: nothing, or 0 for nothing.
fn duration(nanos: Option<i64>) -> Option<Duration> {
    nanos.and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

/// The same, where so many seconds are what holds when nothing is said.
fn unless(nanos: Option<i64>, seconds: u64) -> Option<Duration> {
    duration(nanos).filter(|found| *found != Duration::from_secs(seconds))
}

fn count(amount: Option<i64>) -> Option<u64> {
    amount.and_then(|amount| u64::try_from(amount).ok()).filter(|amount| *amount > 0)
}

pub(super) fn service(spec: &ServiceSpec, names: &Names) -> Service {
    let none = TaskSpec::default();
    let task = spec.task_template.as_ref().unwrap_or(&none);
    let mut read = match &task.container_spec {
        Some(container) => of_container(container, names),
        None => Service::default(),
    };
    read.deploy_labels = plain(spec.labels.as_ref());
    (read.mode, read.replicas) = mode(spec.mode.as_ref());
    read.restart = restart(task);
    read.placement = placement(task);
    read.resources = resources(task);
    read.update_config = spec.update_config.as_ref().map(update);
    read.rollback_config = spec.rollback_config.as_ref().map(rollback);
    read.networks = networks(spec, task, names);
    read.logging = task.log_driver.as_ref().map(|driver| Logging {
        driver: driver.name.clone().filter(|name| !name.is_empty()),
        options: driver.options.clone().unwrap_or_default().into_iter().collect(),
    });
    if let Some(endpoint) = &spec.endpoint_spec {
        let is_dnsrr = endpoint.mode == Some(EndpointSpecModeEnum::DNSRR);
        read.endpoint_mode = is_dnsrr.then_some(EndpointMode::Dnsrr);
        read.ports = endpoint.ports.iter().flatten().map(port).collect();
    }
    read
}

fn of_container(container: &TaskSpecContainerSpec, names: &Names) -> Service {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let argv = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty()).map(Command::Argv);
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let dns = container.dns_config.clone().unwrap_or_default();
    let hardened = container.privileges.as_ref().and_then(|privileges| privileges.no_new_privileges);
    Service {
        image: container.image.clone(),
        entrypoint: argv(&container.command),
        command: argv(&container.args),
        environment: environment(&list(&container.env)),
        labels: plain(container.labels.as_ref()),
        hostname: text(&container.hostname),
        working_dir: text(&container.dir),
        user: text(&container.user),
        group_add: list(&container.groups),
        security_opt: hardened.filter(|on| *on).map(|_| "no-new-privileges:true".to_owned()).into_iter().collect(),
        tty: container.tty == Some(true),
        stdin_open: container.open_stdin == Some(true),
        read_only: container.read_only == Some(true),
        volumes: container.mounts.iter().flatten().map(|found| mount(found, names)).collect(),
        stop_signal: text(&container.stop_signal),
        stop_grace_period: unless(container.stop_grace_period, 10),
        healthcheck: container.health_check.as_ref().and_then(health_check),
        extra_hosts: hosts(&list(&container.hosts)),
        dns: dns.nameservers.unwrap_or_default(),
        dns_search: dns.search.unwrap_or_default(),
        dns_opt: dns.options.unwrap_or_default(),
        secrets: secrets(container, names),
        configs: configs(container, names),
        oom_score_adj: container.oom_score_adj.filter(|score| *score != 0),
        isolation: container.isolation.map(|isolation| isolation.to_string()).filter(|word| is_said(word)),
        init: container.init,
        sysctls: container.sysctls.clone().unwrap_or_default().into_iter().collect(),
        cap_add: capabilities(&list(&container.capability_add)),
        cap_drop: capabilities(&list(&container.capability_drop)),
        ulimits: ulimits(container),
        ..Service::default()
    }
}

fn is_said(isolation: &str) -> bool {
    !isolation.is_empty() && isolation != "default"
}

/// `NET_ADMIN` and `CAP_NET_ADMIN` are the same, and engines prefer the longer.
fn capabilities(list: &[String]) -> Vec<String> {
    let short = |name: &String| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned();
    let mut short: Vec<String> = list.iter().map(short).collect();
    short.sort_unstable();
    short
}

fn environment(variables: &[String]) -> BTreeMap<String, EnvValue> {
    let read = |variable: &String| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        (name.to_owned(), EnvValue::Plain(value.to_owned()))
    };
    variables.iter().map(read).collect()
}

fn hosts(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let Some(address) = words.next() else { continue };
        for name in words {
            hosts.entry(name.to_owned()).or_default().push(address.to_owned());
        }
    }
    hosts
}

fn ulimits(container: &TaskSpecContainerSpec) -> BTreeMap<String, Ulimit> {
    let read = |limit: &bollard::models::ResourcesUlimits| {
        let bound = Ulimit { soft: limit.soft.unwrap_or(0), hard: limit.hard.unwrap_or(0) };
        Some((limit.name.clone()?, bound))
    };
    container.ulimits.iter().flatten().filter_map(read).collect()
}

fn health_check(check: &HealthConfig) -> Option<HealthCheck> {
    let test = check.test.as_ref().filter(|test| !test.is_empty())?;
    let probe = match (test[0].as_str(), test.get(1)) {
        ("CMD-SHELL", Some(text)) => Probe::Shell(text.clone()),
        ("CMD", _) => Probe::Exec(test[1..].to_vec()),
        ("NONE", _) => return Some(HealthCheck::none()),
        _ => Probe::Exec(test.clone()),
    };
    Some(HealthCheck {
        probe,
        interval: duration(check.interval),
        timeout: duration(check.timeout),
        retries: check.retries.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
        start_period: duration(check.start_period),
        start_interval: duration(check.start_interval),
    })
}

pub(super) fn mount(found: &bollard::models::Mount, names: &Names) -> Mount {
    let kind = match found.typ {
        Some(MountType::BIND) => MountKind::Bind,
        Some(MountType::TMPFS) => MountKind::Tmpfs,
        Some(MountType::NPIPE) => MountKind::Npipe,
        Some(MountType::CLUSTER) => MountKind::Cluster,
        Some(MountType::IMAGE) => MountKind::Image,
        _ => MountKind::Volume,
    };
    let options = found.volume_options.clone().unwrap_or_default();
    let source = found.source.clone().filter(|source| !source.is_empty());
    let source = match kind {
        MountKind::Volume => source.map(|name| match options.labels.as_ref().and_then(|labels| labels.get(RETAINED)) {
            Some(mark) => mark.rsplit('/').next().unwrap_or_default().to_owned(),
            None => Names::of(&names.volumes, &name).to_owned(),
        }),
        _ => source,
    };
    let mut mount = Mount::new(kind, source, found.target.clone().unwrap_or_default());
    mount.read_only = found.read_only == Some(true);
    mount.consistency = found.consistency.clone().filter(|word| !word.is_empty() && word != "default");
    let propagation = found.bind_options.as_ref().and_then(|bind| bind.propagation).map(|word| word.to_string());
    mount.bind = propagation
        .filter(|word| !word.is_empty() && word != "rprivate")
        .map(|word| BindOptions { propagation: Some(word), ..BindOptions::default() });
    let volume = VolumeOptions {
        nocopy: options.no_copy == Some(true),
        subpath: options.subpath.filter(|path| !path.is_empty()),
        labels: BTreeMap::new(),
    };
    mount.volume = (volume != VolumeOptions::default()).then_some(volume);
    let memory = found.tmpfs_options.as_ref().map(|memory| TmpfsOptions {
        size: count(memory.size_bytes),
        mode: memory.mode.and_then(|mode| u32::try_from(mode).ok()).filter(|mode| *mode > 0),
    });
    mount.tmpfs = memory.filter(|memory| *memory != TmpfsOptions::default());
    mount
}

fn file(source: &str, name: Option<String>, uid: Option<String>, gid: Option<String>, mode: Option<u32>) -> FileMount {
    let root = |id: Option<String>| id.filter(|id| !id.is_empty() && id != "0");
    FileMount {
        source: source.to_owned(),
        target: name,
        uid: root(uid),
        gid: root(gid),
        mode: mode.filter(|mode| *mode != 0o444),
    }
}

fn secrets(container: &TaskSpecContainerSpec, names: &Names) -> Vec<FileMount> {
    let mounted = container.secrets.iter().flatten().map(|found| {
        let known = found.file.clone().unwrap_or_default();
        let source = Names::of(&names.secrets, found.secret_id.as_deref().unwrap_or_default());
        file(source, known.name, known.uid, known.gid, known.mode)
    });
    mounted.collect()
}

fn configs(container: &TaskSpecContainerSpec, names: &Names) -> Vec<FileMount> {
    let mounted = container.configs.iter().flatten().map(|found| {
        let known = found.file.clone().unwrap_or_default();
        let source = Names::of(&names.configs, found.config_id.as_deref().unwrap_or_default());
        file(source, known.name, known.uid, known.gid, known.mode)
    });
    mounted.collect()
}

fn mode(mode: Option<&ServiceSpecMode>) -> (Mode, Replicas) {
    let many = |n: Option<i64>| Replicas(n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1));
    match mode {
        Some(ServiceSpecMode { global: Some(_), .. }) => (Mode::Global, Replicas(1)),
        Some(ServiceSpecMode { global_job: Some(_), .. }) => (Mode::GlobalJob, Replicas(1)),
        Some(ServiceSpecMode { replicated_job: Some(job), .. }) => {
            (Mode::ReplicatedJob, many(job.total_completions.or(job.max_concurrent)))
        }
        Some(ServiceSpecMode { replicated: Some(found), .. }) => (Mode::Replicated, many(found.replicas)),
        _ => (Mode::Replicated, Replicas(1)),
    }
}

fn restart(task: &TaskSpec) -> RestartPolicy {
    let Some(policy) = &task.restart_policy else { return RestartPolicy::on(Restart::Always) };
    RestartPolicy {
        policy: match policy.condition {
            Some(On::NONE) => Restart::No,
            Some(On::ON_FAILURE) => Restart::OnFailure,
            _ => Restart::Always,
        },
        max_attempts: policy.max_attempts.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
        delay: unless(policy.delay, 5),
        window: duration(policy.window),
    }
}

fn placement(task: &TaskSpec) -> Placement {
    let Some(placement) = &task.placement else { return Placement::default() };
    let spread = |preference: &bollard::models::TaskSpecPlacementPreferences| {
        preference.spread.as_ref().and_then(|spread| spread.spread_descriptor.clone())
    };
    Placement {
        constraints: placement.constraints.clone().unwrap_or_default(),
        spread: placement.preferences.iter().flatten().filter_map(spread).collect(),
        max_replicas_per_node: placement.max_replicas.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
    }
}

fn resources(task: &TaskSpec) -> Resources {
    let found = task.resources.clone().unwrap_or_default();
    let cpus = |nanos: Option<i64>| count(nanos).map(Cpus::from_nanos);
    let (most, least) = (found.limits.unwrap_or_default(), found.reservations.unwrap_or_default());
    let generic = least.generic_resources.unwrap_or_default().into_iter().filter_map(|thing| {
        let counted = thing.discrete_resource_spec?;
        Some((counted.kind?, counted.value?))
    });
    Resources {
        limits: Amounts {
            cpus: cpus(most.nano_cpus),
            memory: count(most.memory_bytes),
            pids: most.pids.filter(|pids| *pids != 0),
            generic: BTreeMap::new(),
        },
        reservations: Amounts {
            cpus: cpus(least.nano_cpus),
            memory: count(least.memory_bytes),
            pids: None,
            generic: generic.collect(),
        },
    }
}

fn update(config: &ServiceSpecUpdateConfig) -> UpdateConfig {
    let action = config.failure_action.map(|action| action.to_string());
    let order = config.order.map(|order| order.to_string());
    replacing(config.parallelism, config.delay, action, config.monitor, config.max_failure_ratio, order)
}

fn rollback(config: &ServiceSpecRollbackConfig) -> UpdateConfig {
    let action = config.failure_action.map(|action| action.to_string());
    let order = config.order.map(|order| order.to_string());
    replacing(config.parallelism, config.delay, action, config.monitor, config.max_failure_ratio, order)
}

fn replacing(
    parallelism: Option<i64>,
    delay: Option<i64>,
    action: Option<String>,
    monitor: Option<i64>,
    ratio: Option<f64>,
    order: Option<String>,
) -> UpdateConfig {
    UpdateConfig {
        parallelism: parallelism.and_then(|n| u32::try_from(n).ok()),
        delay: duration(delay),
        failure_action: action.as_deref().and_then(|action| match action {
            "continue" => Some(FailureAction::Continue),
            "rollback" => Some(FailureAction::Rollback),
            _ => None,
        }),
        monitor: unless(monitor, 5),
        max_failure_ratio: ratio.filter(|ratio| *ratio > 0.0).map(|ratio| ((ratio * 1e6).round() / 1e6).to_string()),
        order: order.as_deref().filter(|order| *order == "start-first").map(|_| Order::StartFirst),
    }
}

fn networks(spec: &ServiceSpec, task: &TaskSpec, names: &Names) -> BTreeMap<String, Attachment> {
    let attached = task.networks.as_ref().filter(|list| !list.is_empty()).or(spec.networks.as_ref());
    let mut found = BTreeMap::new();
    for network in attached.into_iter().flatten() {
        let name = Names::of(&names.networks, network.target.as_deref().unwrap_or_default()).to_owned();
        let mut aliases: Vec<String> = network.aliases.iter().flatten().cloned().collect();
        aliases.retain(|alias| *alias != names.service);
        let driver_opts = network.driver_opts.clone().unwrap_or_default().into_iter().collect();
        found.insert(name, Attachment { aliases, driver_opts, ..Attachment::default() });
    }
    let only_default = found.len() == 1 && found.get("default") == Some(&Attachment::default());
    if only_default { BTreeMap::new() } else { found }
}

fn port(found: &bollard::models::EndpointPortConfig) -> PortMapping {
    let number = |port: Option<i64>| port.and_then(|port| u16::try_from(port).ok());
    let mut port = PortMapping::tcp(number(found.target_port).unwrap_or(0));
    port.published = number(found.published_port).filter(|port| *port != 0);
    port.protocol = found.protocol.map(|p| p.to_string()).filter(|p| !p.is_empty()).unwrap_or_else(|| "tcp".to_owned());
    port.mode = if found.publish_mode == Some(Publish::HOST) { PortMode::Host } else { PortMode::Ingress };
    port.name = found.name.clone().filter(|name| !name.is_empty());
    port
}
