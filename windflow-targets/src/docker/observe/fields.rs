//! A container's settings, as paths of our model. Rendering and reading back go through here alike, so that what an engine
//! fills in by itself is no difference.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerConfig, ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, ImageConfig, Mount,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use windflow_core::target::Cpus;

use crate::engine::mark;

/// Values by path: `environment.PORT`, `resources.limits.memory`. What is not set, or set to what holds without being set, is
/// not there.
pub(super) type Fields = BTreeMap<String, Value>;

/// What a container was made of, wherever it was read.
pub(super) struct Made<'a> {
    pub config: ContainerConfig,
    pub host: HostConfig,
    pub networks: HashMap<String, EndpointSettings>,
    /// By which name the stack knows each network of the engine.
    pub known_as: &'a dyn Fn(&str) -> String,
    /// By which name the stack knows each volume of the engine.
    pub known_volume: &'a dyn Fn(&str) -> String,
    /// Names that are no aliases but the engine's own.
    pub own_names: Vec<String>,
}

/// A name of an image without what an engine puts before a short one: Docker reads `web` as `docker.io/library/web`, and
/// Podman, which writes it out, as that or as one of its own.
fn without_default_registry(name: &str) -> &str {
    let bare = ["localhost/", "docker.io/library/", "docker.io/"].iter().find_map(|before| name.strip_prefix(before));
    bare.unwrap_or(name)
}

/// A signal by its name: Podman tells its number, and both take either.
fn signal(text: String) -> String {
    let names = [
        (1, "HUP"),
        (2, "INT"),
        (3, "QUIT"),
        (6, "ABRT"),
        (9, "KILL"),
        (10, "USR1"),
        (12, "USR2"),
        (14, "ALRM"),
        (15, "TERM"),
        (28, "WINCH"),
        (30, "PWR"),
        (37, "RTMIN+3"),
    ];
    let name = text.parse().ok().and_then(|number: u32| names.iter().find(|(known, _)| *known == number));
    match (name, text.to_uppercase()) {
        (Some((_, name)), _) => format!("SIG{name}"),
        (None, name) if name.starts_with("SIG") || name.parse::<u32>().is_ok() => name,
        (None, name) => format!("SIG{name}"),
    }
}

/// What the engine makes of a body and its image.
pub(super) fn merged(body: ContainerCreateBody, image: &ImageConfig) -> ContainerConfig {
    let of_image = |own: Option<Vec<String>>, image: &Option<Vec<String>>| {
        let mut all = image.clone().unwrap_or_default();
        all.extend(own.unwrap_or_default());
        all.sort();
        all.dedup();
        Some(all)
    };
    let text =
        |own: Option<String>, image: &Option<String>| own.filter(|text| !text.is_empty()).or_else(|| image.clone());
    let replaces_entry = body.entrypoint.as_ref().is_some_and(|entry| !entry.is_empty());
    let cmd = match body.cmd {
        Some(cmd) if !cmd.is_empty() => Some(cmd),
        _ if replaces_entry => None,
        _ => image.cmd.clone(),
    };
    let mut labels = image.labels.clone().unwrap_or_default();
    labels.extend(body.labels.unwrap_or_default());
    let mut env: Vec<String> = body.env.unwrap_or_default();
    let named: Vec<String> = env.iter().map(|entry| name_of(entry).to_owned()).collect();
    let inherited = image.env.iter().flatten().filter(|entry| !named.iter().any(|name| name == name_of(entry)));
    env.extend(inherited.cloned().collect::<Vec<_>>());
    ContainerConfig {
        hostname: body.hostname,
        domainname: body.domainname,
        user: text(body.user, &image.user),
        exposed_ports: of_image(body.exposed_ports, &image.exposed_ports),
        tty: body.tty,
        open_stdin: body.open_stdin,
        env: Some(env),
        cmd,
        // One that is empty takes that of the image away.
        entrypoint: body.entrypoint.or_else(|| image.entrypoint.clone()),
        healthcheck: check(body.healthcheck, image.healthcheck.as_ref()),
        image: body.image,
        working_dir: text(body.working_dir, &image.working_dir),
        labels: Some(labels),
        stop_signal: text(body.stop_signal, &image.stop_signal),
        stop_timeout: body.stop_timeout,
        ..ContainerConfig::default()
    }
}

/// That nothing is tried.
fn is_none(check: &HealthConfig) -> bool {
    check.test.as_ref().and_then(|test| test.first()).is_some_and(|word| word == "NONE")
}

/// What a check does not say, the engine takes from that of the image.
fn check(own: Option<HealthConfig>, image: Option<&HealthConfig>) -> Option<HealthConfig> {
    let (Some(own), Some(image)) = (&own, image) else { return own.or_else(|| image.cloned()) };
    if is_none(own) {
        return Some(own.clone());
    }
    let said = |own: Option<i64>, image: Option<i64>| own.filter(|number| *number != 0).or(image);
    Some(HealthConfig {
        test: own.test.clone().filter(|test| !test.is_empty()).or_else(|| image.test.clone()),
        interval: said(own.interval, image.interval),
        timeout: said(own.timeout, image.timeout),
        retries: said(own.retries, image.retries),
        start_period: said(own.start_period, image.start_period),
        start_interval: said(own.start_interval, image.start_interval),
    })
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// Collects what is set.
struct Collector(Fields);

impl Collector {
    fn set(&mut self, path: impl Into<String>, value: impl Serialize) {
        // What an engine answers is texts, numbers, lists and maps: it can always be written.
        let value = serde_json::to_value(value).unwrap_or_default();
        let unset = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Bool(true) => false,
        };
        if !unset {
            self.0.insert(path.into(), value);
        }
    }

    fn text(&mut self, path: &str, text: Option<String>, unset: &[&str]) {
        self.set(path, text.filter(|text| !unset.contains(&text.as_str())));
    }

    fn sorted(&mut self, path: &str, list: Option<Vec<String>>) {
        let mut list = list.unwrap_or_default();
        list.sort();
        self.set(path, list);
    }
}

/// The settings of a container by path.
pub(super) fn fields(made: Made<'_>) -> Fields {
    let mut out = Collector(Fields::new());
    let Made { config, host, networks, known_as, known_volume, own_names } = made;
    let on_host = host.network_mode.as_deref() == Some("host") || host.uts_mode.as_deref() == Some("host");
    let own: Vec<&str> = own_names.iter().map(String::as_str).collect();
    out.set("image", config.image.map(|name| without_default_registry(&name).to_owned()));
    // The engine makes one of the container's id.
    let made_up = |name: &String| {
        name.len() == 12 && own.contains(&name.as_str()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    out.set("hostname", config.hostname.filter(|name| !on_host && !made_up(name)));
    out.set("domainname", config.domainname);
    out.set("user", config.user);
    out.set("working_dir", config.working_dir.filter(|dir| dir != "/"));
    out.set("tty", config.tty);
    out.set("stdin_open", config.open_stdin);
    out.set("entrypoint", config.entrypoint);
    out.set("command", config.cmd);
    out.sorted("expose", config.exposed_ports);
    out.text("stop_signal", config.stop_signal.map(signal), &["SIGTERM"]);
    out.set("stop_grace_period", config.stop_timeout.map(|seconds| seconds.saturating_mul(1000)));
    for entry in config.env.unwrap_or_default() {
        let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
        out.0.insert(format!("environment.{name}"), json!({ "plain": value }));
    }
    for (label, value) in config.labels.unwrap_or_default() {
        if !mark::is_ours(&label) {
            out.0.insert(format!("labels.{label}"), json!(value));
        }
    }
    if let Some(check) = config.healthcheck {
        health(&mut out, check);
    }
    of_the_host(&mut out, host, known_volume);
    for (name, to) in networks {
        let path = format!("networks.{}", known_as(&name));
        out.0.insert(path, attachment(to, &own));
    }
    out.0
}

fn health(out: &mut Collector, check: HealthConfig) {
    if is_none(&check) {
        return out.set("healthcheck.probe", "none");
    }
    let test = check.test.unwrap_or_default();
    if test.is_empty() {
        return;
    }
    let millis = |nanos: Option<i64>| nanos.filter(|nanos| *nanos > 0).map(|nanos| nanos / 1_000_000);
    out.set("healthcheck.probe", probe(&test));
    // What the engine takes when nothing is said.
    out.set("healthcheck.interval", millis(check.interval).or(Some(30_000)));
    out.set("healthcheck.timeout", millis(check.timeout).or(Some(30_000)));
    out.set("healthcheck.retries", check.retries.filter(|retries| *retries > 0).or(Some(3)));
    out.set("healthcheck.start_period", millis(check.start_period));
}

fn probe(test: &[String]) -> Value {
    match test {
        [word, text] if word == "CMD-SHELL" => json!({ "shell": text }),
        [word, argv @ ..] if word == "CMD" => json!({ "exec": argv }),
        other => json!({ "exec": other }),
    }
}

fn of_the_host(out: &mut Collector, host: HostConfig, known_volume: &dyn Fn(&str) -> String) {
    let restart = host.restart_policy.unwrap_or_default();
    let word = restart.name.map(|name| name.to_string()).filter(|name| !name.is_empty());
    out.text("restart.policy", word, &["no"]);
    out.set("restart.max_attempts", restart.maximum_retry_count);
    out.set("ports", ports(host.port_bindings.unwrap_or_default()));
    let mut mounts: Vec<Value> =
        host.mounts.unwrap_or_default().into_iter().map(|found| mount(found, known_volume)).collect();
    mounts.extend(host.binds.unwrap_or_default().iter().map(|text| bind(text, known_volume)));
    mounts.sort_by_key(|mount| mount.get("target").map(ToString::to_string));
    out.set("volumes", mounts);
    let tmpfs = host.tmpfs.unwrap_or_default().into_iter();
    let mut tmpfs: Vec<String> = tmpfs
        .map(|(folder, options)| if options.is_empty() { folder } else { format!("{folder}:{options}") })
        .collect();
    tmpfs.sort();
    out.set("tmpfs", tmpfs);
    let nanos = host.nano_cpus.filter(|nanos| *nanos > 0).and_then(|nanos| u64::try_from(nanos).ok());
    out.set("resources.limits.cpus", nanos.map(Cpus::from_nanos));
    let memory = host.memory.filter(|bytes| *bytes > 0);
    out.set("resources.limits.memory", memory);
    out.set("resources.limits.pids", host.pids_limit.filter(|most| *most > 0));
    out.set("resources.reservations.memory", host.memory_reservation);
    out.set("cpu_shares", host.cpu_shares);
    out.set("cpu_period", host.cpu_period);
    out.set("cpu_quota", host.cpu_quota);
    out.set("cpuset", host.cpuset_cpus);
    // The engine makes it twice the memory by itself, or nothing where the kernel cannot.
    let swap =
        host.memory_swap.filter(|swap| *swap != -1 && memory.is_none_or(|memory| *swap != memory.saturating_mul(2)));
    out.set("memswap_limit", swap);
    out.set("mem_swappiness", host.memory_swappiness.filter(|swappiness| *swappiness >= 0));
    out.set("oom_kill_disable", host.oom_kill_disable);
    out.set("oom_score_adj", host.oom_score_adj);
    out.set("shm_size", host.shm_size.filter(|bytes| *bytes != 64 * 1024 * 1024));
    out.set("cap_add", capabilities(host.cap_add));
    out.set("cap_drop", capabilities(host.cap_drop));
    let privileged = host.privileged == Some(true);
    out.set("privileged", privileged);
    out.sorted("security_opt", host.security_opt.filter(|_| !privileged));
    out.sorted("group_add", host.group_add);
    out.set("sysctls", ordered(host.sysctls));
    let ulimits = host.ulimits.unwrap_or_default().into_iter().filter_map(|bound| {
        // Podman says `RLIMIT_NOFILE`.
        let name = bound.name?.to_lowercase();
        let name = name.strip_prefix("rlimit_").unwrap_or(&name).to_owned();
        Some((name, json!({ "soft": bound.soft.unwrap_or(0), "hard": bound.hard.unwrap_or(0) })))
    });
    out.set("ulimits", ulimits.collect::<BTreeMap<String, Value>>());
    let devices = host.devices.unwrap_or_default().into_iter().map(|device| {
        json!({ "source": device.path_on_host, "target": device.path_in_container, "permissions": device.cgroup_permissions })
    });
    out.set("devices", devices.collect::<Vec<Value>>());
    out.sorted("device_cgroup_rules", host.device_cgroup_rules);
    out.set("dns", host.dns);
    out.set("dns_opt", host.dns_options);
    out.set("dns_search", host.dns_search);
    out.sorted("extra_hosts", host.extra_hosts);
    if let Some(logging) = host.log_config {
        let options = ordered(logging.config);
        out.set("logging.driver", logging.typ);
        out.set("logging.options", options);
    }
    out.set("init", host.init);
    out.set("read_only", host.readonly_rootfs);
    out.set("pid", host.pid_mode);
    out.text("ipc", host.ipc_mode, &["private", "shareable"]);
    out.set("uts", host.uts_mode);
    out.set("userns_mode", host.userns_mode);
    out.set("cgroup", host.cgroupns_mode.map(|mode| mode.to_string()));
    out.set("cgroup_parent", host.cgroup_parent);
    out.text("runtime", host.runtime, &["runc", "io.containerd.runc.v2", "crun", "oci"]);
    out.set("storage_opt", ordered(host.storage_opt));
    out.set("annotations", ordered(host.annotations));
    let mode =
        host.network_mode.filter(|mode| matches!(mode.as_str(), "host" | "none" | "bridge") || mode.contains(':'));
    out.set("network_mode", mode);
}

fn ordered(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

fn capabilities(list: Option<Vec<String>>) -> Vec<String> {
    let bare = |name: String| {
        let name = name.to_uppercase();
        name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)
    };
    let mut names: Vec<String> = list.unwrap_or_default().into_iter().map(bare).collect();
    names.sort();
    names
}

fn ports(bindings: bollard::models::PortMap) -> Vec<Value> {
    let mut all = Vec::new();
    for (port, bindings) in bindings {
        let (target, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        for binding in bindings.unwrap_or_default() {
            let mut mapping = Map::new();
            mapping.insert("target".to_owned(), json!(target.parse::<u16>().unwrap_or(0)));
            mapping.insert("protocol".to_owned(), json!(protocol));
            let address = binding.host_ip.filter(|address| !address.is_empty() && address != "0.0.0.0");
            mapping.extend(address.map(|address| ("host_ip".to_owned(), json!(address))));
            let published = binding.host_port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
            mapping.extend(published.map(|port| ("published".to_owned(), json!(port))));
            all.push(Value::Object(mapping));
        }
    }
    all.sort_by_key(ToString::to_string);
    all
}

/// A mount in our form. Whether a missing path was made is not to be seen any more.
fn mount(mount: Mount, known_volume: &dyn Fn(&str) -> String) -> Value {
    let mut out = Collector(Fields::new());
    let kind = mount.typ.map(|kind| kind.to_string()).unwrap_or_default();
    let source = mount.source.filter(|source| !source.is_empty());
    let source = if kind == "volume" { source.map(|name| known_volume(&name)) } else { source };
    out.set("type", kind);
    out.set("source", source);
    out.set("target", mount.target);
    out.set("read_only", mount.read_only);
    let propagation = mount.bind_options.and_then(|bind| bind.propagation).map(|mode| mode.to_string());
    out.text("propagation", propagation, &["rprivate"]);
    out.set("nocopy", mount.volume_options.and_then(|volume| volume.no_copy));
    let tmpfs = mount.tmpfs_options.unwrap_or_default();
    out.set("size", tmpfs.size_bytes);
    out.set("mode", tmpfs.mode);
    Value::Object(out.0.into_iter().collect())
}

/// The older, short form of a mount: `source:target[:options]`.
fn bind(text: &str, known_volume: &dyn Fn(&str) -> String) -> Value {
    let mut parts = text.split(':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let options: Vec<&str> = parts.next().unwrap_or_default().split(',').collect();
    let mut out = Collector(Fields::new());
    let is_path = source.starts_with('/');
    out.set("type", if is_path { "bind" } else { "volume" });
    out.set("source", if is_path { source.to_owned() } else { known_volume(source) });
    out.set("target", target);
    out.set("read_only", options.contains(&"ro"));
    out.set("nocopy", options.contains(&"nocopy"));
    let propagation =
        options.iter().find(|word| word.ends_with("private") || word.ends_with("shared") || word.ends_with("slave"));
    out.text("propagation", propagation.map(|word| (*word).to_owned()), &["rprivate"]);
    out.set("selinux", options.iter().find(|word| matches!(**word, "z" | "Z")));
    Value::Object(out.0.into_iter().collect())
}

fn attachment(to: EndpointSettings, own_names: &[&str]) -> Value {
    let mut aliases = to.aliases.unwrap_or_default();
    aliases.retain(|alias| !own_names.contains(&alias.as_str()));
    aliases.sort();
    aliases.dedup();
    let ipam = to.ipam_config.unwrap_or_default();
    let mut out = Collector(Fields::new());
    out.set("aliases", aliases);
    out.set("ipv4_address", ipam.ipv4_address);
    out.set("ipv6_address", ipam.ipv6_address);
    out.set("link_local_ips", ipam.link_local_ips);
    out.set("driver_opts", ordered(to.driver_opts));
    Value::Object(out.0.into_iter().collect())
}
