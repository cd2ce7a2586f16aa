//! The normal form of a service turned into the model.

use std::collections::BTreeMap;

use serde_json::Value;
use windflow_core::target::{
    Attachment, Command, Condition, Dependency, Device, EnvValue, FileMount, HealthCheck, Logging, PortMapping,
    PortMode, Probe, Process, Replicas, Service, Ulimit,
};
use windflow_core::{SecretRef, ServiceName};

use super::fields::Normal;
use super::lower_deploy;
use super::lower_mount::mounts;
use super::service_keys::SERVICE;
use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::source::Span;
use crate::document::tree::{Kind, Node};

/// Keys that the model has no field for: what a target does not honour it names.
const OTHER: [&str; 22] = [
    "attach",
    "blkio_config",
    "build",
    "cpu_count",
    "cpu_percent",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "credential_spec",
    "develop",
    "external_links",
    "gpus",
    "links",
    "models",
    "post_start",
    "pre_start",
    "pre_stop",
    "provider",
    "pull_refresh_after",
    "use_api_socket",
    "volumes_from",
    "deploy.resources.limits.devices",
    "deploy.resources.reservations.devices",
];

pub(super) fn service(at: &At<'_>, root: &Node, problems: &mut Problems) -> Option<Service> {
    if !matches!(at.node.kind, Kind::Map(_)) {
        return at.expected(problems, "a map");
    }
    let from = Normal { node: at.node, path: at.path.clone() };
    let ours = from.inside("x-windflow");
    let process = ours.as_ref().and_then(|ours| ours.inside("process"));
    if from.text("image").as_deref() == Some("")
        && let Some(entry) = from.get("image")
    {
        problems.error(entry.value.span, &format!("{}.image", at.path), "must name an image");
    }
    let runs = ["image", "build", "provider"].iter().any(|key| from.has(key)) || process.is_some();
    if !runs && !problems.touches(&at.path) {
        let hint = "name an 'image', or a process in 'x-windflow: { process: { command: […] } }'".to_owned();
        problems.hinted(at.node.span, &at.path, "says nothing to run", Some(hint));
    }
    let mut service = Service {
        image: from.text("image"),
        process: process.map(|process| Process {
            command: process.texts("command"),
            search: process.texts("search"),
            working_dir: process.text("working_dir"),
        }),
        entrypoint: command(&from, "entrypoint"),
        command: command(&from, "command"),
        environment: environment(&from, problems),
        ports: ports(&from),
        expose: from.texts("expose"),
        depends_on: depends_on(&from, problems),
        healthcheck: health(&from, problems),
        replicas: replicas(&from, problems),
        rollout: ours
            .as_ref()
            .and_then(|ours| ours.inside("rollout"))
            .map(|rollout| lower_deploy::rollout(&rollout, problems)),
        stop_signal: from.text("stop_signal"),
        stop_grace_period: from.duration("stop_grace_period"),
        labels: from.pairs("labels"),
        annotations: from.pairs("annotations"),
        volumes: mounts(&from, problems),
        tmpfs: from.texts("tmpfs"),
        configs: files(&from, "configs"),
        secrets: files(&from, "secrets"),
        networks: networks(&from, root),
        network_mode: from.text("network_mode"),
        hostname: from.text("hostname"),
        domainname: from.text("domainname"),
        mac_address: from.text("mac_address"),
        extra_hosts: hosts(&from),
        dns: from.texts("dns"),
        dns_opt: from.texts("dns_opt"),
        dns_search: from.texts("dns_search"),
        container_name: from.text("container_name"),
        platform: from.text("platform"),
        pull_policy: from.text("pull_policy"),
        user: from.text("user"),
        group_add: from.texts("group_add"),
        working_dir: from.text("working_dir"),
        init: from.switch("init"),
        tty: from.flag("tty"),
        stdin_open: from.flag("stdin_open"),
        read_only: from.flag("read_only"),
        privileged: from.flag("privileged"),
        cap_add: from.texts("cap_add"),
        cap_drop: from.texts("cap_drop"),
        security_opt: from.texts("security_opt"),
        sysctls: from.pairs("sysctls"),
        ulimits: ulimits(&from),
        devices: devices(&from),
        device_cgroup_rules: from.texts("device_cgroup_rules"),
        logging: from
            .inside("logging")
            .map(|logging| Logging { driver: logging.text("driver"), options: logging.pairs("options") }),
        shm_size: from.number("shm_size"),
        pid: from.text("pid"),
        ipc: from.text("ipc"),
        uts: from.text("uts"),
        userns_mode: from.text("userns_mode"),
        cgroup: from.text("cgroup"),
        cgroup_parent: from.text("cgroup_parent"),
        runtime: from.text("runtime"),
        isolation: from.text("isolation"),
        storage_opt: from.pairs("storage_opt"),
        cpu_shares: from.number("cpu_shares"),
        cpu_period: from.number("cpu_period"),
        cpu_quota: from.number("cpu_quota"),
        cpuset: from.text("cpuset"),
        mem_swappiness: from.number("mem_swappiness"),
        memswap_limit: from.number("memswap_limit"),
        oom_kill_disable: from.flag("oom_kill_disable"),
        oom_score_adj: from.number("oom_score_adj"),
        other: other(&from),
        ..Service::default()
    };
    lower_deploy::deploy(&from, &mut service, problems);
    check_names(&from, &service, problems);
    Some(service)
}

/// What cannot stand side by side.
fn check_names(from: &Normal<'_>, service: &Service, problems: &mut Problems) {
    if let (Some(entry), Some(_)) = (from.get("network_mode"), from.get("networks")) {
        let path = format!("{}.network_mode", from.path);
        let hint = Some("remove one of the two".to_owned());
        problems.hinted(entry.key_span, &path, "stands beside 'networks', and it can only be on one of them", hint);
    }
    let (Some(entry), Some(name)) = (from.get("container_name"), &service.container_name) else { return };
    let path = format!("{}.container_name", from.path);
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() < 2 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(inner) {
        let message = "must be two or more of A-Z a-z 0-9 _ . - and start with a letter or a digit";
        problems.error(entry.value.span, &path, message);
    } else if service.replicas.0 > 1 {
        let message = format!("names one container, and there are to be {}", service.replicas.0);
        problems.hinted(entry.value.span, &path, message, Some("leave the name out".to_owned()));
    }
}

/// What has no field of its own, in normal form.
fn other(from: &Normal<'_>) -> BTreeMap<String, Value> {
    debug_assert!(OTHER.iter().all(|path| path.contains('.') || SERVICE.key(path).is_some()));
    let find = |path: &str| path.split('.').try_fold(from.node, |node, key| Some(&node.get(key)?.value));
    let found = OTHER.iter().filter_map(|path| Some(((*path).to_owned(), find(path)?.to_value())));
    found.collect()
}

fn command(from: &Normal<'_>, key: &str) -> Option<Command> {
    match &from.get(key)?.value.kind {
        Kind::List(_) => Some(Command::Argv(from.texts(key))),
        _ => from.text(key).map(Command::Shell),
    }
}

/// A variable's value; `secret://…` becomes a reference.
fn environment(from: &Normal<'_>, problems: &mut Problems) -> BTreeMap<String, EnvValue> {
    let mut out = BTreeMap::new();
    for entry in from.entries("environment") {
        let path = format!("{}.environment.{}", from.path, entry.key);
        let Some(value) = entry.value.as_text().filter(|_| !entry.value.is_nothing()) else {
            let key = &entry.key;
            let hint = format!("set it, or write a value; an empty one is written {key}: \"\"");
            let message = format!("has no value, and the variable '{key}' is not set");
            problems.hinted(entry.key_span, &path, message, Some(hint));
            continue;
        };
        let value = if value.starts_with(SecretRef::SCHEME) {
            match value.parse::<SecretRef>() {
                Ok(reference) => EnvValue::Secret(reference),
                Err(error) => {
                    problems.error(entry.value.span, &path, error);
                    continue;
                }
            }
        } else if value.contains(SecretRef::SCHEME) {
            // A variable that holds a reference, in the middle of a text: the service would get the words.
            let message = "a reference to a secret stands alone, and is not replaced within a text";
            let hint = "have the secret hold the whole value, and write the reference to that".to_owned();
            problems.hinted(entry.value.span, &path, message, Some(hint));
            continue;
        } else {
            EnvValue::Plain(value.to_owned())
        };
        out.insert(entry.key.to_string(), value);
    }
    out
}

fn ports(from: &Normal<'_>) -> Vec<PortMapping> {
    let port = |at: &Normal<'_>| {
        let published = at.text("published");
        let (first, last) = match published.as_deref() {
            Some(text) => text.split_once('-').map_or((Some(text), None), |(first, last)| (Some(first), Some(last))),
            None => (None, None),
        };
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        Some(PortMapping {
            published: number(first),
            published_end: number(last),
            host_ip: at.text("host_ip"),
            protocol: at.text("protocol").unwrap_or_else(|| "tcp".to_owned()),
            mode: if at.text("mode").as_deref() == Some("host") { PortMode::Host } else { PortMode::Ingress },
            name: at.text("name"),
            app_protocol: at.text("app_protocol"),
            ..PortMapping::tcp(at.number("target")?)
        })
    };
    from.items("ports").iter().filter_map(port).collect()
}

fn depends_on(from: &Normal<'_>, problems: &mut Problems) -> BTreeMap<ServiceName, Dependency> {
    let mut out = BTreeMap::new();
    for entry in from.entries("depends_on") {
        let name = match ServiceName::new(&entry.key) {
            Ok(name) => name,
            Err(error) => {
                problems.error(entry.key_span, &format!("{}.depends_on.{}", from.path, entry.key), error);
                continue;
            }
        };
        let condition = match entry.value.text_of("condition") {
            Some("service_healthy") => Condition::ServiceHealthy,
            Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
            _ => Condition::ServiceStarted,
        };
        let required = entry.value.text_of("required") != Some("false");
        let restart = entry.value.text_of("restart") == Some("true");
        out.insert(name, Dependency { condition, required, restart });
    }
    out
}

fn files(from: &Normal<'_>, key: &str) -> Vec<FileMount> {
    let below = if key == "secrets" { "/run/secrets/" } else { "/" };
    let mount = |at: &Normal<'_>| {
        let source = at.text("source").unwrap_or_default();
        let implied = format!("{below}{source}");
        FileMount {
            target: at.text("target").filter(|target| *target != implied),
            source,
            uid: at.text("uid"),
            gid: at.text("gid"),
            mode: at.text("mode").and_then(|mode| u32::from_str_radix(&mode, 8).ok()),
        }
    };
    from.items(key).iter().map(mount).collect()
}

/// The networks of a service; none when it is on `default` as if nothing were written.
fn networks(from: &Normal<'_>, root: &Node) -> BTreeMap<String, Attachment> {
    let mut out = BTreeMap::new();
    let Some(networks) = from.inside("networks") else { return out };
    for entry in networks.node.entries() {
        let at = Normal { node: &entry.value, path: String::new() };
        let attachment = Attachment {
            aliases: at.texts("aliases"),
            ipv4_address: at.text("ipv4_address"),
            ipv6_address: at.text("ipv6_address"),
            link_local_ips: at.texts("link_local_ips"),
            mac_address: at.text("mac_address"),
            interface_name: at.text("interface_name"),
            driver_opts: at.pairs("driver_opts"),
            priority: at.number("priority"),
            gw_priority: at.number("gw_priority"),
        };
        out.insert(entry.key.to_string(), attachment);
    }
    let alone = out.len() == 1 && out.get("default").is_some_and(|alone| *alone == Attachment::default());
    // Nothing but what is implied: no network of that name is described.
    let described = root.get("networks").and_then(|entry| entry.value.get("default")).is_some_and(|entry| {
        entry.value.entries().iter().any(|key| &*key.key != "name") || entry.value.text_of("name").is_none()
    });
    if alone && !described { BTreeMap::new() } else { out }
}

fn hosts(from: &Normal<'_>) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in from.texts("extra_hosts") {
        if let Some((name, address)) = line.split_once('=') {
            out.entry(name.to_owned()).or_default().push(address.to_owned());
        }
    }
    out
}

fn ulimits(from: &Normal<'_>) -> BTreeMap<String, Ulimit> {
    let bound = |node: &Node| {
        let number = |node: &Node| node.as_text().and_then(|text| text.parse().ok());
        let of = |key: &str| node.get(key).and_then(|entry| number(&entry.value));
        match number(node) {
            Some(both) => Ulimit { soft: both, hard: both },
            None => Ulimit { soft: of("soft").unwrap_or(0), hard: of("hard").unwrap_or(0) },
        }
    };
    from.entries("ulimits").iter().map(|entry| (entry.key.to_string(), bound(&entry.value))).collect()
}

fn devices(from: &Normal<'_>) -> Vec<Device> {
    let device = |at: &Normal<'_>| {
        let source = at.text("source").unwrap_or_default();
        Device {
            target: at.text("target").unwrap_or_else(|| source.clone()),
            source,
            permissions: at.text("permissions").unwrap_or_else(|| "rwm".to_owned()),
        }
    };
    from.items("devices").iter().map(device).collect()
}

fn replicas(from: &Normal<'_>, problems: &mut Problems) -> Replicas {
    let scale: Option<u32> = from.number("scale");
    let deploy = from.inside("deploy");
    let replicas: Option<u32> = deploy.as_ref().and_then(|deploy| deploy.number("replicas"));
    if let (Some(scale), Some(replicas), Some(deploy)) = (scale, replicas, &deploy)
        && scale != replicas
    {
        let span = deploy.get("replicas").map_or(Span::START, |entry| entry.value.span);
        let message = format!("differs from 'scale', which says {scale}");
        problems.hinted(span, &format!("{}.replicas", deploy.path), message, Some("keep one of the two".to_owned()));
    }
    replicas.or(scale).map_or_else(Replicas::default, Replicas)
}

fn health(from: &Normal<'_>, problems: &mut Problems) -> Option<HealthCheck> {
    let at = from.inside("healthcheck")?;
    let off = at.flag("disable");
    let extension = at.inside("x-windflow");
    if let (Some(entry), true) = (at.get("x-windflow"), at.has("test")) {
        let message = "stands beside 'test', and only one of them can tell";
        let path = format!("{}.x-windflow", at.path);
        problems.hinted(entry.value.span, &path, message, Some("remove one of the two".to_owned()));
    }
    for key in ["interval", "timeout", "start_interval"] {
        if let (Some(entry), true) = (at.get(key), at.duration(key).is_some_and(|time| time.is_zero())) {
            problems.error(entry.value.span, &format!("{}.{key}", at.path), "must be longer than nothing");
        }
    }
    let probe = match (extension, at.get("test")) {
        (Some(ours), _) => probe(&ours)?,
        (None, Some(entry)) => test(&at, entry.value.span, problems)?,
        (None, None) if off => Probe::None,
        (None, None) => {
            if !problems.touches(&at.path) {
                let hint = "write 'test: [CMD, …]', or 'x-windflow: { http: { port: 8080 } }'; the image's own check is not read";
                problems.hinted(at.node.span, &at.path, "does not say what is tried", Some(hint.to_owned()));
            }
            return None;
        }
    };
    let check = HealthCheck {
        probe,
        interval: at.duration("interval"),
        timeout: at.duration("timeout"),
        retries: at.number("retries").filter(|retries| *retries > 0),
        start_period: at.duration("start_period"),
        start_interval: at.duration("start_interval"),
    };
    // What is not tried has no times.
    Some(if off || check.probe == Probe::None { HealthCheck::none() } else { check })
}

/// `test:` in the forms of Compose.
fn test(at: &Normal<'_>, span: Span, problems: &mut Problems) -> Option<Probe> {
    let words = at.texts("test");
    match words.split_first() {
        Some((first, [])) if first == "NONE" => Some(Probe::None),
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => Some(Probe::Exec(rest.to_vec())),
        Some((first, [text])) if first == "CMD-SHELL" => Some(Probe::Shell(text.clone())),
        _ => {
            let hint = "write [CMD, program, argument…], [CMD-SHELL, \"text\"] or [NONE]".to_owned();
            let message = "does not start with CMD, CMD-SHELL or NONE followed by what is tried";
            problems.hinted(span, &format!("{}.test", at.path), message, Some(hint));
            None
        }
    }
}

fn probe(ours: &Normal<'_>) -> Option<Probe> {
    if let Some(http) = ours.inside("http") {
        let path = http.text("path").unwrap_or_else(|| "/".to_owned());
        return Some(Probe::Http { port: http.number("port")?, path });
    }
    Some(Probe::Tcp { port: ours.inside("tcp")?.number("port")? })
}
