//! What changes behind our back is found, field by field, and nothing else is.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, NetworkConnectRequest, NetworkDisconnectRequest, NetworkingConfig, PortBinding, ResourcesUlimits,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use windflow_core::target::{
    Attachment, Device, EnvValue, Logging, Mount as Mounted, MountKind, Network, PortMapping, Restart, RestartPolicy,
    Service, Stack, Target as _, TargetExt as _, TmpfsOptions, Ulimit, Volume,
};
use windflow_targets::docker::{DockerConfig, DockerTarget};

use super::place::{Place, cx, docker, endpoint, idle, name, stack, with_check};

/// A service that says something in nearly every field there is.
fn rich() -> Service {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let mut web = with_check(idle(), "true");
    web.environment.insert("MODE".to_owned(), EnvValue::Plain("blue".to_owned()));
    web.labels = map("team", "shop");
    web.ports = vec![PortMapping::tcp(80).published(18_461).on("127.0.0.1")];
    web.expose = texts(&["9000"]);
    web.hostname = Some("front".to_owned());
    web.domainname = Some("example.org".to_owned());
    web.user = Some("1000:1000".to_owned());
    web.working_dir = Some("/tmp".to_owned());
    web.stop_signal = Some("SIGINT".to_owned());
    web.cap_add = texts(&["NET_BIND_SERVICE"]);
    web.cap_drop = texts(&["MKNOD"]);
    web.security_opt = texts(&["no-new-privileges:true"]);
    web.group_add = texts(&["1001"]);
    web.sysctls = map("net.ipv4.ip_unprivileged_port_start", "80");
    web.ulimits = BTreeMap::from([("nofile".to_owned(), Ulimit { soft: 512, hard: 1024 })]);
    web.dns = texts(&["10.0.0.2"]);
    web.dns_opt = texts(&["ndots:2"]);
    web.dns_search = texts(&["example.org"]);
    web.extra_hosts = BTreeMap::from([("db.example.org".to_owned(), texts(&["10.0.0.3"]))]);
    web.logging = Some(Logging { driver: Some("json-file".to_owned()), options: map("max-size", "1m") });
    web.shm_size = Some(32 * 1024 * 1024);
    web.tmpfs = texts(&["/run:size=1m"]);
    web.resources.limits.memory = Some(64 * 1024 * 1024);
    web.resources.limits.pids = Some(64);
    web.resources.limits.cpus = Some("0.5".parse().unwrap());
    web.resources.reservations.memory = Some(32 * 1024 * 1024);
    web.cpu_shares = Some(512);
    web.oom_score_adj = Some(100);
    web.devices =
        vec![Device { source: "/dev/null".to_owned(), target: "/dev/nothing".to_owned(), permissions: "r".to_owned() }];
    web.volumes = vec![
        Mounted::new(MountKind::Volume, Some("data".to_owned()), "/data"),
        Mounted {
            tmpfs: Some(TmpfsOptions { size: Some(1024 * 1024), mode: None }),
            ..Mounted::new(MountKind::Tmpfs, None, "/cache")
        },
    ];
    web.networks.insert("front".to_owned(), Attachment { aliases: texts(&["www"]), ..Attachment::default() });
    web.networks.insert("back".to_owned(), Attachment::default());
    web
}

fn rich_stack() -> Stack {
    let mut shop = stack("drifting", [("web", rich())]);
    shop.networks.insert("front".to_owned(), Network::default());
    shop.networks.insert("back".to_owned(), Network { internal: true, ..Network::default() });
    shop.volumes.insert("data".to_owned(), Volume::default());
    shop
}

/// The container of the stack as it could be made again.
struct Original {
    client: Docker,
    name: String,
    body: ContainerCreateBody,
    networks: HashMap<String, EndpointSettings>,
}

impl Original {
    async fn of(client: Docker, id: &str) -> Self {
        let found = client.inspect_container(id, None).await.unwrap();
        let config = serde_json::to_value(found.config.unwrap()).unwrap();
        let mut body: ContainerCreateBody = serde_json::from_value(config).unwrap();
        body.host_config = found.host_config;
        let networks = found.network_settings.unwrap().networks.unwrap();
        let alone = |to: EndpointSettings| EndpointSettings {
            aliases: to
                .aliases
                .map(|aliases| aliases.into_iter().filter(|alias| !id.starts_with(alias.as_str())).collect()),
            ..EndpointSettings::default()
        };
        let networks = networks.into_iter().map(|(name, to)| (name, alone(to))).collect();
        Self { client, name: found.name.unwrap().trim_start_matches('/').to_owned(), body, networks }
    }

    /// Puts another container in its place, which carries the same marks.
    async fn replaced_by(&self, edit: impl FnOnce(&mut ContainerCreateBody, &mut HostConfig)) {
        let gone = RemoveContainerOptionsBuilder::default().force(true).build();
        let _ = self.client.remove_container(&self.name, Some(gone)).await;
        let (mut body, mut host) = (self.body.clone(), self.body.host_config.clone().unwrap());
        let first = host.network_mode.clone().unwrap();
        let mut networks = self.networks.clone();
        edit(&mut body, &mut host);
        body.host_config = Some(host);
        let ids = docker(&["network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"]);
        let id_of =
            |name: &str| ids.lines().find_map(|line| line.strip_suffix(&format!(" {name}"))).unwrap_or(name).to_owned();
        let own = networks.keys().find(|name| id_of(name) == first).cloned().unwrap();
        let to = networks.remove(&own).unwrap();
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(first, to)])) });
        let options = CreateContainerOptionsBuilder::default().name(&self.name).build();
        self.client.create_container(Some(options), body).await.unwrap();
        for (name, to) in networks {
            let request = NetworkConnectRequest { container: self.name.clone(), endpoint_config: Some(to) };
            self.client.connect_network(&name, request).await.unwrap();
        }
        self.client.start_container(&self.name, None).await.unwrap();
    }
}

async fn drifted(target: &DockerTarget, shop: &Stack) -> Vec<String> {
    let plan = target.drift(&cx("drift"), &shop.name).await.unwrap();
    plan.changes.iter().filter(|change| change.note.is_none()).map(|change| change.path.clone()).collect()
}

/// Whether what was found is all of this, and nothing is invented besides.
fn is_all(changed: &[&str], found: &[String]) -> bool {
    changed.iter().all(|path| found.iter().any(|found| found.starts_with(path)))
        && found.iter().all(|found| changed.iter().chain(goes_with(changed)).any(|path| found.starts_with(path)))
}

/// What is another with it: an engine sets it by itself, or a container made by hand has it.
fn goes_with(changed: &[&str]) -> &'static [&'static str] {
    match changed {
        ["services.web.privileged" | "services.web.pid" | "services.web.ipc"] => &["services.web.security_opt"],
        // The options belong to the driver.
        ["services.web.logging.driver"] => &["services.web.logging.options"],
        // By its id the one before was known, too, and its host name was the same word.
        ["services.web.hostname"] => &["services.web.networks.back.aliases", "services.web.networks.front.aliases"],
        _ => &[],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_fields_changed_behind_our_back_are_found_by_path() {
    let place = Place::new();
    let mut config = place.config();
    config.allow_privileged = true;
    let target = DockerTarget::new(config);
    let shop = rich_stack();
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    assert_eq!(drifted(&target, &shop).await, [""; 0], "an untouched stack has not drifted");
    let again = target.plan_for(&cx("again"), &windflow_core::target::Desired::Present(shop.clone())).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);

    let Some(socket) = endpoint().to_string().strip_prefix("unix://").map(str::to_owned) else {
        panic!("a socket is needed")
    };
    let client = Docker::connect_with_unix(&socket, 30, bollard::API_DEFAULT_VERSION).unwrap();
    let client = client.negotiate_version().await.unwrap();
    let id = target.observe(&cx("id"), &shop.name).await.unwrap().services["web"].instances[0].id.clone();
    let original = Original::of(client.clone(), &id).await;
    original.replaced_by(|_, _| {}).await;
    assert_eq!(drifted(&target, &shop).await, [""; 0], "one that is made the same is the same");

    type Edit = Box<dyn FnOnce(&mut ContainerCreateBody, &mut HostConfig)>;
    let mut found = 0;
    macro_rules! edits {
        ($($path:literal => |$body:ident, $host:ident| $edit:expr;)*) => {
            vec![$(($path, Box::new(|$body: &mut ContainerCreateBody, $host: &mut HostConfig| { $edit; }) as Edit),)*]
        };
    }
    let texts = |all: &[&str]| Some(all.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>());
    let (env, plus) = (texts(&["MODE=green", "PATH=/bin"]), texts(&["MODE=blue", "PATH=/bin", "MORE=1"]));
    let (cmd, entry) = (texts(&["sleep", "99999"]), texts(&["/bin/busybox", "sh", "-c", "exec sleep 99999"]));
    let edits: Vec<(&str, Edit)> = edits! {
        "services.web.image" => |body, _host| body.image = Some("wf-web:1".to_owned());
        "services.web.command" => |body, _host| body.cmd = cmd;
        "services.web.entrypoint" => |body, _host| body.entrypoint = entry;
        "services.web.environment.MODE" => |body, _host| body.env = env;
        "services.web.environment.MORE" => |body, _host| body.env = plus;
        "services.web.labels.team" => |body, _host| label(body, "team", "other");
        "services.web.labels.more" => |body, _host| label(body, "more", "1");
        "services.web.hostname" => |body, _host| body.hostname = Some("back".to_owned());
        "services.web.domainname" => |body, _host| body.domainname = Some("example.com".to_owned());
        "services.web.user" => |body, _host| body.user = Some("0".to_owned());
        "services.web.working_dir" => |body, _host| body.working_dir = Some("/etc".to_owned());
        "services.web.tty" => |body, _host| body.tty = Some(true);
        "services.web.stdin_open" => |body, _host| body.open_stdin = Some(true);
        "services.web.stop_signal" => |body, _host| body.stop_signal = Some("SIGQUIT".to_owned());
        "services.web.stop_grace_period" => |body, _host| body.stop_timeout = Some(2);
        "services.web.expose" => |body, _host| body.exposed_ports = Some(vec!["80/tcp".to_owned(), "9001/tcp".to_owned()]);
        "services.web.healthcheck.probe" => |body, _host| health(body, |check| check.test = Some(vec!["CMD".into(), "true".into()]));
        "services.web.healthcheck.interval" => |body, _host| health(body, |check| check.interval = Some(9_000_000_000));
        "services.web.healthcheck.timeout" => |body, _host| health(body, |check| check.timeout = Some(9_000_000_000));
        "services.web.healthcheck.retries" => |body, _host| health(body, |check| check.retries = Some(9));
        "services.web.healthcheck.start_period" => |body, _host| health(body, |check| check.start_period = Some(9_000_000_000));
        "services.web.ports" => |_body, host| {
            let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some("18462".to_owned()) };
            host.port_bindings = Some(HashMap::from([("80/tcp".to_owned(), Some(vec![binding]))]))
        };
        "services.web.cap_add" => |_body, host| host.cap_add = Some(vec!["SYS_TIME".to_owned()]);
        "services.web.cap_drop" => |_body, host| host.cap_drop = None;
        "services.web.security_opt" => |_body, host| host.security_opt = None;
        "services.web.group_add" => |_body, host| host.group_add = Some(vec!["1002".to_owned()]);
        "services.web.sysctls" => |_body, host| host.sysctls = None;
        "services.web.ulimits" => |_body, host| host.ulimits = Some(vec![ResourcesUlimits { name: Some("nofile".into()), soft: Some(256), hard: Some(1024) }]);
        "services.web.dns" => |_body, host| host.dns = Some(vec!["10.0.0.9".to_owned()]);
        "services.web.dns_opt" => |_body, host| host.dns_options = None;
        "services.web.dns_search" => |_body, host| host.dns_search = None;
        "services.web.extra_hosts" => |_body, host| host.extra_hosts = Some(vec!["db.example.org:10.0.0.4".to_owned()]);
        "services.web.logging.options" => |_body, host| host.log_config = Some(HostConfigLogConfig { typ: Some("json-file".into()), config: None });
        "services.web.logging.driver" => |_body, host| host.log_config = Some(HostConfigLogConfig { typ: Some("local".into()), config: None });
        "services.web.shm_size" => |_body, host| host.shm_size = Some(16 * 1024 * 1024);
        "services.web.tmpfs" => |_body, host| host.tmpfs = None;
        "services.web.volumes" => |_body, host| {
            let other = Mount { target: Some("/data".into()), source: Some("drifted-elsewhere".into()), typ: Some(MountType::VOLUME), ..Mount::default() };
            host.mounts.as_mut().unwrap().splice(..1, [other]).count()
        };
        "services.web.read_only" => |_body, host| host.readonly_rootfs = Some(true);
        "services.web.init" => |_body, host| host.init = Some(true);
        "services.web.oom_score_adj" => |_body, host| host.oom_score_adj = Some(0);
        "services.web.privileged" => |_body, host| host.privileged = Some(true);
        "services.web.devices" => |_body, host| host.devices = Some(vec![DeviceMapping { path_on_host: Some("/dev/zero".into()), path_in_container: Some("/dev/nothing".into()), cgroup_permissions: Some("r".into()) }]);
        "services.web.pid" => |_body, host| host.pid_mode = Some("host".to_owned());
        "services.web.ipc" => |_body, host| host.ipc_mode = Some("host".to_owned());
    };
    let all = edits.len();
    for (path, edit) in edits {
        original.replaced_by(edit).await;
        let paths = drifted(&target, &shop).await;
        assert!(is_all(&[path], &paths), "{path} was changed, and this was found: {paths:?}");
        found += 1;
    }
    docker_volume_gone("drifted-elsewhere");

    // What a running container lets be changed.
    original.replaced_by(|_, _| {}).await;
    let mut changed = Vec::new();
    for (path, words) in [
        ("services.web.resources.limits.memory", &["update", "--memory", "96m", "--memory-swap", "192m"][..]),
        ("services.web.resources.limits.pids", &["update", "--pids-limit", "99"]),
        ("services.web.resources.limits.cpus", &["update", "--cpus", "0.7"]),
        ("services.web.resources.reservations.memory", &["update", "--memory-reservation", "40m"]),
        ("services.web.cpu_shares", &["update", "--cpu-shares", "100"]),
        ("services.web.cpuset", &["update", "--cpuset-cpus", "0"]),
        ("services.web.restart", &["update", "--restart", "always"]),
    ] {
        docker(&[words, &[original.name.as_str()]].concat());
        let paths = drifted(&target, &shop).await;
        changed.push(path);
        assert!(is_all(&changed, &paths), "{path} was changed, and this was found: {paths:?}");
        found += 1;
    }
    original.replaced_by(|_, _| {}).await;
    let front = original.networks.keys().find(|name| name.contains("front")).unwrap().clone();
    let leave = NetworkDisconnectRequest { container: original.name.clone(), force: None };
    client.disconnect_network(&front, leave).await.unwrap();
    assert!(drifted(&target, &shop).await.contains(&"services.web.networks.front".to_owned()));
    found += 1;
    docker(&["network", "connect", "--alias", "web", &front, &original.name]);
    let paths = drifted(&target, &shop).await;
    assert!(paths.iter().any(|path| path.starts_with("services.web.networks.front")), "the alias is gone: {paths:?}");
    found += 1;
    println!("{found} fields, {all} of them by another container");
    assert!(found >= 50, "{found}");
    target.deploy(&cx("back"), shop.clone()).await.unwrap();
    assert_eq!(drifted(&target, &shop).await, [""; 0], "an apply puts it right");
}

/// An engine that stops and starts gives its containers other process ids, addresses and start times, and runs only those
/// again whose restart policy says so. None of it is drift.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_was_restarted_has_not_drifted() {
    let engine = windflow_bed::Engine::start();
    let owner = "test-restarted".parse().unwrap();
    let mut config = DockerConfig::new("engine".parse().unwrap(), owner, engine.endpoint().parse().unwrap());
    config.allow_privileged = true;
    let target = DockerTarget::new(config);
    let mut shop = rich_stack();
    // Both engines publish on this machine.
    shop.services.get_mut("web").unwrap().ports[0].published = None;
    let stays = Service { restart: RestartPolicy::on(Restart::Always), ..idle() };
    shop.services.insert(name("stays"), stays);
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    let before = target.observe(&cx("before"), &shop.name).await.unwrap();
    engine.restart();
    assert_eq!(drifted(&target, &shop).await, [""; 0], "nobody has changed anything");
    let come_back = async {
        loop {
            let after = target.observe(&cx("after"), &shop.name).await.unwrap();
            if after.services["stays"].health.is_ready() {
                break after;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let after = tokio::time::timeout(Duration::from_secs(60), come_back).await.unwrap();
    assert_eq!(before.current, after.current);
    // What its policy does not bring back, the next apply does; and it is the revision that it was.
    assert!(after.services["web"].health.is_final_failure(), "{:?}", after.services["web"]);
    target.deploy(&cx("again"), shop.clone()).await.unwrap();
    let back = target.observe(&cx("back"), &shop.name).await.unwrap();
    assert_eq!((&back.services["web"].health, &back.current), (&before.services["web"].health, &before.current));
}

/// The network that need not be written is one that can be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_was_taken_off_its_only_network_has_drifted() {
    let place = Place::new();
    let target = place.target();
    let shop = stack("alone-now", [("web", with_check(idle(), "true"))]);
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    let id = target.observe(&cx("look"), &shop.name).await.unwrap().services["web"].instances[0].id.clone();
    docker(&["network", "disconnect", "alone-now_default", &id]);
    assert_eq!(drifted(&target, &shop).await, ["services.web.networks"]);
    target.deploy(&cx("back"), shop.clone()).await.unwrap();
    assert_eq!(drifted(&target, &shop).await, [""; 0], "an apply puts it right");
}

fn health(body: &mut ContainerCreateBody, edit: fn(&mut HealthConfig)) {
    edit(body.healthcheck.as_mut().unwrap());
}

fn label(body: &mut ContainerCreateBody, label: &str, value: &str) {
    body.labels.as_mut().unwrap().insert(label.to_owned(), value.to_owned());
}

fn docker_volume_gone(name: &str) {
    super::place::docker_may_fail(&["volume", "rm", name]);
}
