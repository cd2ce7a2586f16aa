//! What the machine gives to a container.

use std::collections::HashMap;

use bollard::models::{
    DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount as EngineMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions, PortBinding, PortMap,
    ResourcesUlimits, RestartPolicy as EngineRestart, RestartPolicyNameEnum,
};
use windflow_core::target::{Mount, MountKind, Restart, RestartPolicy, Service};

use super::container::{Surroundings, some};

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn map(entries: &std::collections::BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!entries.is_empty()).then(|| entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// All but the network.
pub(super) fn host_config(around: &Surroundings<'_>, service: &Service, instance: u32) -> HostConfig {
    let (limits, reservations) = (&service.resources.limits, &service.resources.reservations);
    let (mounts, binds) = mounts(around, service);
    HostConfig {
        restart_policy: Some(restart(if service.mode.is_job() { RestartPolicy::default() } else { service.restart })),
        port_bindings: ports(service, instance),
        mounts: some(mounts),
        binds: some(binds),
        tmpfs: tmpfs(&service.tmpfs),
        nano_cpus: limits.cpus.map(|cpus| whole(cpus.nanos())),
        memory: limits.memory.map(whole),
        pids_limit: limits.pids,
        memory_reservation: reservations.memory.map(whole),
        cpu_shares: service.cpu_shares,
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpuset_cpus: service.cpuset.clone(),
        memory_swap: service.memswap_limit,
        memory_swappiness: service.mem_swappiness,
        oom_kill_disable: service.oom_kill_disable.then_some(true),
        oom_score_adj: service.oom_score_adj,
        shm_size: service.shm_size.map(whole),
        cap_add: some(service.cap_add.clone()),
        cap_drop: some(service.cap_drop.clone()),
        privileged: service.privileged.then_some(true),
        security_opt: some(service.security_opt.clone()),
        group_add: some(service.group_add.clone()),
        sysctls: map(&service.sysctls),
        ulimits: some(
            service
                .ulimits
                .iter()
                .map(|(name, bound)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(bound.soft),
                    hard: Some(bound.hard),
                })
                .collect(),
        ),
        devices: some(
            service
                .devices
                .iter()
                .map(|device| DeviceMapping {
                    path_on_host: Some(device.source.clone()),
                    path_in_container: Some(device.target.clone()),
                    cgroup_permissions: Some(device.permissions.clone()),
                })
                .collect(),
        ),
        device_cgroup_rules: some(service.device_cgroup_rules.clone()),
        dns: some(service.dns.clone()),
        dns_options: some(service.dns_opt.clone()),
        dns_search: some(service.dns_search.clone()),
        extra_hosts: some(
            service
                .extra_hosts
                .iter()
                .flat_map(|(name, addresses)| addresses.iter().map(move |address| format!("{name}:{address}")))
                .collect(),
        ),
        log_config: service.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: Some(logging.driver.clone().unwrap_or_else(|| "json-file".to_owned())),
            config: map(&logging.options),
        }),
        init: service.init,
        readonly_rootfs: service.read_only.then_some(true),
        pid_mode: service.pid.clone(),
        ipc_mode: service.ipc.clone(),
        uts_mode: service.uts.clone(),
        userns_mode: service.userns_mode.clone(),
        cgroupns_mode: service.cgroup.as_deref().map(|mode| match mode {
            "host" => HostConfigCgroupnsModeEnum::HOST,
            _ => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        cgroup_parent: service.cgroup_parent.clone(),
        runtime: service.runtime.clone(),
        storage_opt: map(&service.storage_opt),
        annotations: map(&service.annotations),
        ..HostConfig::default()
    }
}

fn restart(policy: RestartPolicy) -> EngineRestart {
    let name = match policy.policy {
        Restart::No => RestartPolicyNameEnum::NO,
        Restart::OnFailure => RestartPolicyNameEnum::ON_FAILURE,
        Restart::Always => RestartPolicyNameEnum::ALWAYS,
        Restart::UnlessStopped => RestartPolicyNameEnum::UNLESS_STOPPED,
    };
    EngineRestart { name: Some(name), maximum_retry_count: policy.max_attempts.map(i64::from) }
}

/// Each instance takes its own port of a range.
fn ports(service: &Service, instance: u32) -> Option<PortMap> {
    let mut bindings = PortMap::new();
    for port in &service.ports {
        let nth = |first: u16| match port.published_end {
            Some(_) => u32::from(first) + instance.saturating_sub(1),
            None => u32::from(first),
        };
        let binding = PortBinding {
            host_ip: Some(port.host_ip.clone().unwrap_or_default()),
            host_port: Some(port.published.map(|first| nth(first).to_string()).unwrap_or_default()),
        };
        let key = format!("{}/{}", port.target, port.protocol);
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    (!bindings.is_empty()).then_some(bindings)
}

/// `/run` or `/run:size=64m`.
fn tmpfs(folders: &[String]) -> Option<HashMap<String, String>> {
    let split = |text: &String| {
        let (folder, options) = text.split_once(':').unwrap_or((text, ""));
        (folder.to_owned(), options.to_owned())
    };
    (!folders.is_empty()).then(|| folders.iter().map(split).collect())
}

/// What is mounted. A path that is to be made when it is missing can only be said in the older, short form.
fn mounts(around: &Surroundings<'_>, service: &Service) -> (Vec<EngineMount>, Vec<String>) {
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for mount in &service.volumes {
        let source = mount.source.clone().unwrap_or_default();
        let bind = mount.bind.clone().unwrap_or_default();
        if mount.kind == MountKind::Bind && (bind.create_host_path || bind.selinux.is_some()) {
            let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
            options.extend(bind.selinux.clone());
            options.extend(bind.propagation.clone());
            short.push(format!("{source}:{}:{}", mount.target, options.join(",")));
            continue;
        }
        long.push(EngineMount {
            target: Some(mount.target.clone()),
            source: match mount.kind {
                MountKind::Volume => mount.source.as_ref().map(|name| around.volumes.get(name).unwrap_or(name).clone()),
                MountKind::Tmpfs => None,
                _ => Some(source),
            },
            typ: Some(match mount.kind {
                MountKind::Bind => MountType::BIND,
                MountKind::Tmpfs => MountType::TMPFS,
                MountKind::Npipe => MountType::NPIPE,
                MountKind::Cluster => MountType::CLUSTER,
                MountKind::Image => MountType::IMAGE,
                MountKind::Volume => MountType::VOLUME,
            }),
            read_only: mount.read_only.then_some(true),
            consistency: mount.consistency.clone(),
            bind_options: bind
                .propagation
                .as_deref()
                .and_then(propagation)
                .map(|propagation| MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() }),
            volume_options: volume_options(mount),
            tmpfs_options: mount.tmpfs.as_ref().map(|memory| MountTmpfsOptions {
                size_bytes: memory.size.map(whole),
                mode: memory.mode.map(i64::from),
                ..MountTmpfsOptions::default()
            }),
            ..EngineMount::default()
        });
    }
    (long, short)
}

fn volume_options(mount: &Mount) -> Option<MountVolumeOptions> {
    let volume = mount.volume.as_ref()?;
    Some(MountVolumeOptions {
        no_copy: volume.nocopy.then_some(true),
        labels: map(&volume.labels),
        ..MountVolumeOptions::default()
    })
}

fn propagation(text: &str) -> Option<MountBindOptionsPropagationEnum> {
    Some(match text {
        "private" => MountBindOptionsPropagationEnum::PRIVATE,
        "rprivate" => MountBindOptionsPropagationEnum::RPRIVATE,
        "shared" => MountBindOptionsPropagationEnum::SHARED,
        "rshared" => MountBindOptionsPropagationEnum::RSHARED,
        "slave" => MountBindOptionsPropagationEnum::SLAVE,
        "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
        _ => return None,
    })
}
