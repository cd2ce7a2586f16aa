//! What a Docker engine offers to stacks, and what it refuses.

use windflow_core::ServiceName;
use windflow_core::target::{
    Capabilities, Feature, FileMount, FileObject, Mode, MountKind, Probe, Service, Stack, diff,
};

use crate::engine::{gives_away, name_problem, no_engine_takes, policy_problem, volumes_give_away};

/// The most instances of one service.
const MOST_REPLICAS: u32 = 1000;

/// The least memory an engine takes for a bound of a container.
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;

/// Fields an engine must be new enough for: its interface would pass over them without a word.
const SINCE: [(&str, (usize, usize)); 3] =
    [("annotations", (1, 43)), ("mac_address", (1, 44)), ("networks.gw_priority", (1, 48))];

pub(super) fn capabilities() -> Capabilities {
    Capabilities::new("docker")
        .with_features([
            Feature::Logs,
            Feature::Exec,
            Feature::Discover,
            Feature::Adopt,
            Feature::Promote,
            Feature::WatchEvents,
        ])
        .with_service_fields(["image", "entrypoint", "command", "environment", "ports", "expose", "depends_on"])
        .with_service_fields(["healthcheck", "restart", "replicas", "mode", "resources", "rollout", "stop_signal"])
        .with_service_fields(["stop_grace_period", "labels", "annotations", "volumes", "tmpfs", "configs", "secrets"])
        .with_service_fields(["networks", "network_mode", "hostname", "domainname", "extra_hosts", "dns", "dns_opt"])
        .with_service_fields(["dns_search", "container_name", "platform", "pull_policy", "user", "group_add"])
        .with_service_fields(["working_dir", "init", "tty", "stdin_open", "read_only", "privileged", "cap_add"])
        .with_service_fields(["cap_drop", "security_opt", "sysctls", "ulimits", "devices", "device_cgroup_rules"])
        .with_service_fields(["logging", "shm_size", "pid", "ipc", "uts", "userns_mode", "cgroup", "cgroup_parent"])
        .with_service_fields(["runtime", "storage_opt", "cpu_shares", "cpu_period", "cpu_quota", "cpuset"])
        .with_service_fields(["mem_swappiness", "memswap_limit", "oom_kill_disable", "oom_score_adj"])
        .with_stack_fields(["networks", "volumes", "configs", "secrets"])
        .passing_over("attach", "nothing is attached to: 'logs' shows what every service writes")
        .passing_over("develop", "it is for developing, and says nothing about what runs")
        .passing_over("deploy_labels", "Docker has no object that stands for a service")
        .passing_over("endpoint_mode", "names lead to the addresses of all instances here")
        .passing_over("placement", "there is one machine")
        .passing_over("update_config", "'x-windflow.rollout' says how instances are replaced here")
        .passing_over("rollback_config", "going back is done as going forward is")
        .with_max_replicas(MOST_REPLICAS)
}

/// Everything in the stack that this engine cannot honour or may not, as path and sentence. `speaks` says whether the engine's
/// interface is at least of a version.
pub(super) fn refusals(
    stack: &Stack,
    capabilities: &Capabilities,
    allow_privileged: bool,
    speaks: impl Fn((usize, usize)) -> bool,
) -> Vec<(String, String)> {
    let mut problems = diff::refusals(stack, capabilities);
    for (name, service) in stack.services.iter().filter(|(_, service)| service.image.is_some()) {
        let mut found = Vec::new();
        said_wrong(service, &mut found);
        not_here(service, &mut found);
        for (field, version) in SINCE {
            if written(service, field) && !speaks(version) {
                found.push((field.to_owned(), too_old(version)));
            }
        }
        if !allow_privileged {
            found.extend(gives_away(service).into_iter().map(|(path, what)| (path, not_allowed(&what))));
        }
        problems.extend(found.into_iter().map(|(path, why)| (format!("services.{name}.{path}"), why)));
    }
    for (part, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
        for (name, _) in files.iter().filter(|(_, file)| file.is_external()) {
            problems.push((format!("{part}.{name}.external"), format!("Docker keeps no {part}; a Swarm does")));
        }
        problems.extend(templated(part, files));
    }
    for (name, _) in stack.networks.iter().filter(|(_, network)| network.enable_ipv4 == Some(false)) {
        if !speaks((1, 48)) {
            problems.push((format!("networks.{name}.enable_ipv4"), too_old((1, 48))));
        }
    }
    problems.extend(marked(stack));
    if !allow_privileged {
        problems.extend(volumes_give_away(stack).into_iter().map(|(path, what)| (path, not_allowed(&what))));
    }
    problems.extend(taken_twice(stack));
    problems.extend(super::address::out_of_range(stack));
    problems
}

fn too_old(version: (usize, usize)) -> String {
    format!("the engine is too old for it: its interface must be {}.{} or later", version.0, version.1)
}

fn not_allowed(what: &str) -> String {
    format!("{what} makes the container root of the machine, which this target does not allow ('allow_privileged')")
}

fn templated<'a>(
    part: &'a str,
    files: &'a std::collections::BTreeMap<String, FileObject>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let with = files.iter().filter(|(_, file)| file.template_driver.is_some());
    with.map(move |(name, _)| {
        (format!("{part}.{name}.template_driver"), "Docker fills in no templates; a Swarm does".to_owned())
    })
}

fn written(service: &Service, field: &str) -> bool {
    match field {
        "annotations" => !service.annotations.is_empty(),
        "networks.gw_priority" => service.networks.values().any(|to| to.gw_priority.is_some()),
        "mac_address" => service.mac_address.is_some() || service.networks.values().any(|to| to.mac_address.is_some()),
        _ => false,
    }
}

/// Labels of networks and volumes that would make them somebody's of ours.
fn marked(stack: &Stack) -> Vec<(String, String)> {
    let ours = |label: &&String| crate::engine::mark::is_ours(label);
    let why = || "labels that start with 'windflow.' are ours".to_owned();
    let mut found = Vec::new();
    for (name, network) in &stack.networks {
        found.extend(network.labels.keys().filter(ours).map(|l| (format!("networks.{name}.labels.{l}"), why())));
    }
    for (name, volume) in &stack.volumes {
        found.extend(volume.labels.keys().filter(ours).map(|l| (format!("volumes.{name}.labels.{l}"), why())));
    }
    for (name, service) in &stack.services {
        for (n, mount) in service.volumes.iter().enumerate() {
            let labels = mount.volume.iter().flat_map(|volume| volume.labels.keys()).filter(ours);
            found.extend(labels.map(|l| (format!("services.{name}.volumes[{n}].volume.labels.{l}"), why())));
        }
    }
    found
}

fn said_wrong(service: &Service, found: &mut Vec<(String, String)>) {
    if let Some(why) = service.image.as_deref().and_then(name_problem) {
        found.push(("image".to_owned(), why));
    }
    if let Some(why) = policy_problem(service.pull_policy.as_deref()) {
        found.push(("pull_policy".to_owned(), why));
    }
    for label in service.labels.keys().filter(|label| crate::engine::mark::is_ours(label)) {
        found.push((format!("labels.{label}"), "labels that start with 'windflow.' are ours".to_owned()));
    }
    for variable in service.environment.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
        found.push((format!("environment.{variable}"), "this cannot be the name of a variable".to_owned()));
    }
    for (n, mount) in service.volumes.iter().enumerate() {
        if !mount.target.starts_with('/') {
            found.push((format!("volumes[{n}].target"), format!("'{}' is not an absolute path", mount.target)));
        }
        if mount.kind == MountKind::Bind && !mount.source.as_deref().is_some_and(|path| path.starts_with('/')) {
            found.push((format!("volumes[{n}].source"), "a path of the machine must be absolute".to_owned()));
        }
    }
    let copies = service.replicas.0 > 1;
    if copies && service.container_name.is_some() {
        found.push(("container_name".to_owned(), "several containers cannot have one name".to_owned()));
    }
    for (n, port) in service.ports.iter().enumerate() {
        let room = match (port.published, port.published_end) {
            (Some(first), Some(last)) => u32::from(last.saturating_sub(first)) + 1,
            (Some(_), None) => 1,
            (None, _) => u32::MAX,
        };
        if room < service.replicas.0 {
            let why = format!(
                "{} instances cannot be published on {room} port: give a range, or leave the port to the engine",
                service.replicas.0
            );
            found.push((format!("ports[{n}]"), why));
        }
    }
    for (network, to) in service.networks.iter().filter(|_| copies) {
        for (field, written) in [("ipv4_address", &to.ipv4_address), ("ipv6_address", &to.ipv6_address)] {
            if written.is_some() {
                let why = "several containers cannot have one address".to_owned();
                found.push((format!("networks.{network}.{field}"), why));
            }
        }
    }
}

/// What Docker does not have, or this target does not do.
fn not_here(service: &Service, found: &mut Vec<(String, String)>) {
    match service.healthcheck.as_ref().map(|check| &check.probe) {
        Some(Probe::Http { .. } | Probe::Tcp { .. }) => found.push((
            "healthcheck".to_owned(),
            "Docker tries commands only: write 'test: [CMD, …]' with a program of the image".to_owned(),
        )),
        Some(Probe::None | Probe::Exec(_) | Probe::Shell(_)) | None => {}
    }
    if let Some(mode) = service.network_mode.as_deref() {
        if mode.starts_with("service:") || mode.starts_with("container:") {
            found.push((
                "network_mode".to_owned(),
                "sharing the network of another container is not offered".to_owned(),
            ));
        }
        if !service.networks.is_empty() {
            found.push(("network_mode".to_owned(), "a service has either 'network_mode' or 'networks'".to_owned()));
        }
    }
    for (field, value) in [("pid", &service.pid), ("ipc", &service.ipc)] {
        if value.as_deref().is_some_and(|mode| mode.starts_with("service:") || mode.starts_with("container:")) {
            found.push((field.to_owned(), "sharing with another container is not offered".to_owned()));
        }
    }
    for (part, amounts) in [("limits", &service.resources.limits), ("reservations", &service.resources.reservations)] {
        if !amounts.generic.is_empty() {
            let why = "Docker counts no generic resources; a Swarm does".to_owned();
            found.push((format!("resources.{part}.generic"), why));
        }
    }
    found.extend(super::blue_green::obstacles(service));
    found.extend(no_engine_takes(service, LEAST_MEMORY));
    for (n, mount) in service.volumes.iter().enumerate() {
        if matches!(mount.kind, MountKind::Npipe | MountKind::Cluster | MountKind::Image) {
            found.push((format!("volumes[{n}]"), "only volumes, paths and memory are offered".to_owned()));
        }
        if mount.volume.as_ref().is_some_and(|volume| volume.subpath.is_some()) {
            found.push((format!("volumes[{n}].volume.subpath"), "a part of a volume is not offered".to_owned()));
        }
    }
    for (n, mount) in service.volumes.iter().enumerate() {
        if mount.bind.as_ref().is_some_and(|bind| bind.recursive.is_some()) {
            found.push((format!("volumes[{n}].bind.recursive"), "it is not offered yet".to_owned()));
        }
    }
    for (network, to) in &service.networks {
        if to.interface_name.is_some() {
            found.push((format!("networks.{network}.interface_name"), "it is not offered yet".to_owned()));
        }
    }
    found.extend(super::handed::covered(service));
    if service.read_only {
        let handed = |mounts: &[FileMount], what: &str| {
            mounts.first().map(|_| {
                (what.to_owned(), "they cannot be handed to a container whose file system can only be read".to_owned())
            })
        };
        found.extend(handed(&service.secrets, "secrets"));
        found.extend(handed(&service.configs, "configs"));
    }
    if matches!(service.mode, Mode::Global | Mode::GlobalJob) && service.replicas.0 != 1 {
        found.push(("replicas".to_owned(), "one on each machine is one here".to_owned()));
    }
}

/// Ports that two services ask for.
fn taken_twice(stack: &Stack) -> Vec<(String, String)> {
    let mut taken: Vec<(String, u16, &str, &ServiceName)> = Vec::new();
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        for (n, port) in service.ports.iter().enumerate() {
            let (Some(first), None) = (port.published, port.published_end) else { continue };
            let address = port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
            let any = |address: &str| matches!(address, "0.0.0.0" | "::");
            let other = taken.iter().find(|(at, number, protocol, _)| {
                *number == first && *protocol == port.protocol && (*at == address || any(at) || any(&address))
            });
            match other {
                Some((.., other)) => {
                    let why = format!("port {first} is already asked for by '{other}'");
                    problems.push((format!("services.{name}.ports[{n}]"), why));
                }
                None => taken.push((address, first, &port.protocol, name)),
            }
        }
    }
    problems
}
