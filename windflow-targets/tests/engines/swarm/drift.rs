//! What changes behind our back is found by its path, and nothing is invented.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::{
    EndpointPortConfig, HealthConfig, Limit, Mount, MountType, ResourcesUlimits, ServiceSpec,
    ServiceSpecModeReplicated, ServiceSpecUpdateConfig, TaskSpecContainerSpec, TaskSpecContainerSpecDnsConfig,
    TaskSpecLogDriver, TaskSpecPlacement, TaskSpecResources, TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};
use windflow_bed::Engine;
use windflow_core::target::{
    Applied, Attachment, Change, Command, Context, Cpus, Desired, HealthCheck, Logging, Mount as OurMount, MountKind,
    Network, PlanError, PortMapping, PortMode, Replicas, Restart, RestartPolicy, Service, Stack, TargetExt as _,
    Ulimit, UpdateConfig,
};
use windflow_targets::swarm::{SwarmConfig, SwarmTarget};

use super::place::{Place, docker, port, sh, web};

/// A service that says something in every field a Swarm has.
fn full(port: u16) -> Service {
    let second = Duration::from_secs(1);
    let mut full = web(port, "1");
    full.entrypoint = Some(Command::Argv(vec!["/bin/sh".to_owned(), "-c".to_owned()]));
    full.command = Some(Command::Shell(
        "'mkdir /tmp/www; echo up >/tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www'".to_owned(),
    ));
    full.labels = [("team".to_owned(), "shop".to_owned()), ("tier".to_owned(), "front".to_owned())].into();
    full.deploy_labels = [("cost".to_owned(), "9".to_owned())].into();
    full.restart =
        RestartPolicy { delay: Some(second), max_attempts: Some(4), ..RestartPolicy::on(Restart::OnFailure) };
    full.resources.limits.memory = Some(64 << 20);
    full.resources.limits.cpus = Some(Cpus::from_nanos(500_000_000));
    full.resources.limits.pids = Some(100);
    full.resources.reservations.memory = Some(8 << 20);
    full.update_config = Some(UpdateConfig { parallelism: Some(2), delay: Some(second), ..UpdateConfig::default() });
    full.rollback_config = Some(UpdateConfig { parallelism: Some(1), ..UpdateConfig::default() });
    full.placement.constraints = vec!["node.role==manager".to_owned()];
    full.stop_signal = Some("SIGINT".to_owned());
    full.hostname = Some("front".to_owned());
    full.extra_hosts = [("db.internal".to_owned(), vec!["10.1.2.3".to_owned()])].into();
    full.dns = vec!["10.9.9.9".to_owned()];
    full.dns_search = vec!["internal".to_owned()];
    full.dns_opt = vec!["ndots:1".to_owned()];
    full.user = Some("0:0".to_owned());
    full.group_add = vec!["12".to_owned()];
    full.working_dir = Some("/tmp".to_owned());
    full.init = Some(false);
    full.cap_drop = vec!["NET_RAW".to_owned()];
    full.cap_add = vec!["NET_BIND_SERVICE".to_owned()];
    full.sysctls = [("net.core.somaxconn".to_owned(), "256".to_owned())].into();
    full.ulimits = [("nofile".to_owned(), Ulimit { soft: 1024, hard: 2048 })].into();
    full.logging = Some(Logging {
        driver: Some("json-file".to_owned()),
        options: [("max-size".to_owned(), "1m".to_owned())].into(),
    });
    full.volumes = vec![OurMount::new(MountKind::Tmpfs, None, "/scratch")];
    full.tmpfs = vec!["/run:size=1m".to_owned()];
    full.networks = [
        ("default".to_owned(), Attachment { aliases: vec!["shop".to_owned()], ..Attachment::default() }),
        ("back".to_owned(), Attachment::default()),
    ]
    .into();
    full
}

fn stack(place: &Place) -> Stack {
    let mut stack = place.stack([("full", full(port()))]);
    stack.networks.insert("back".to_owned(), Network { internal: true, attachable: true, ..Network::default() });
    stack
}

/// One change behind our back: the path under which it must be found, and what is done.
type Meddling = (&'static str, fn(&mut ServiceSpec));

fn container(spec: &mut ServiceSpec) -> &mut TaskSpecContainerSpec {
    spec.task_template.as_mut().unwrap().container_spec.as_mut().unwrap()
}

fn meddlings() -> Vec<Meddling> {
    vec![
        ("environment.VERSION", |spec| container(spec).env = Some(vec!["VERSION=2".to_owned()])),
        ("environment.EXTRA", |spec| container(spec).env.get_or_insert_default().push("EXTRA=1".to_owned())),
        ("image", |spec| container(spec).image = Some("other:1".to_owned())),
        ("entrypoint", |spec| container(spec).command = Some(vec!["/bin/busybox".to_owned()])),
        ("command", |spec| container(spec).args = Some(vec!["true".to_owned()])),
        ("labels.team", |spec| drop(container(spec).labels.as_mut().unwrap().insert("team".into(), "x".into()))),
        ("labels.tier", |spec| drop(container(spec).labels.as_mut().unwrap().remove("tier"))),
        ("deploy_labels.cost", |spec| drop(spec.labels.as_mut().unwrap().insert("cost".into(), "1".into()))),
        ("hostname", |spec| container(spec).hostname = Some("x".to_owned())),
        ("working_dir", |spec| container(spec).dir = Some("/".to_owned())),
        ("user", |spec| container(spec).user = Some("1".to_owned())),
        ("group_add", |spec| container(spec).groups = Some(vec!["13".to_owned()])),
        ("stop_signal", |spec| container(spec).stop_signal = Some("SIGTERM".to_owned())),
        ("stop_grace_period", |spec| container(spec).stop_grace_period = Some(2_000_000_000)),
        ("tty", |spec| container(spec).tty = Some(true)),
        ("stdin_open", |spec| container(spec).open_stdin = Some(true)),
        ("read_only", |spec| container(spec).read_only = Some(true)),
        ("init", |spec| container(spec).init = Some(true)),
        ("cap_add", |spec| container(spec).capability_add = Some(vec!["CAP_CHOWN".to_owned()])),
        ("cap_drop", |spec| container(spec).capability_drop = None),
        ("sysctls", |spec| container(spec).sysctls = None),
        ("ulimits.nofile", |spec| {
            let limit = ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(1), hard: Some(2048) };
            container(spec).ulimits = Some(vec![limit]);
        }),
        ("extra_hosts", |spec| container(spec).hosts = None),
        ("dns", |spec| {
            let dns = container(spec).dns_config.as_mut().unwrap();
            dns.nameservers = Some(vec!["10.8.8.8".to_owned()]);
        }),
        ("dns_search", |spec| container(spec).dns_config.as_mut().unwrap().search = None),
        ("dns_opt", |spec| {
            let dns = container(spec).dns_config.clone().unwrap();
            container(spec).dns_config = Some(TaskSpecContainerSpecDnsConfig { options: None, ..dns });
        }),
        ("healthcheck.interval", |spec| container(spec).health_check.as_mut().unwrap().interval = Some(9_000_000_000)),
        ("healthcheck.retries", |spec| container(spec).health_check.as_mut().unwrap().retries = Some(9)),
        ("healthcheck.probe", |spec| {
            let check = container(spec).health_check.clone().unwrap();
            let test = Some(vec!["CMD".to_owned(), "true".to_owned()]);
            container(spec).health_check = Some(HealthConfig { test, ..check });
        }),
        ("tmpfs", |spec| {
            container(spec).mounts.as_mut().unwrap().retain(|mount| mount.target.as_deref() != Some("/run"));
        }),
        ("healthcheck", |spec| {
            let test = Some(vec!["NONE".to_owned()]);
            container(spec).health_check = Some(HealthConfig { test, ..HealthConfig::default() });
        }),
        ("volumes", |spec| {
            let mount = Mount { target: Some("/x".into()), typ: Some(MountType::TMPFS), ..Mount::default() };
            container(spec).mounts.as_mut().unwrap().push(mount);
        }),
        ("replicas", |spec| {
            spec.mode.as_mut().unwrap().replicated = Some(ServiceSpecModeReplicated { replicas: Some(0) });
        }),
        ("resources.limits.memory", |spec| limits(spec).memory_bytes = Some(32 << 20)),
        ("resources.limits.cpus", |spec| limits(spec).nano_cpus = Some(250_000_000)),
        ("resources.limits.pids", |spec| limits(spec).pids = Some(99)),
        ("resources.reservations", |spec| task(spec).resources.as_mut().unwrap().reservations = None),
        ("restart.policy", |spec| {
            let policy = task(spec).restart_policy.as_mut().unwrap();
            policy.condition = Some(TaskSpecRestartPolicyConditionEnum::ANY);
        }),
        ("restart.delay", |spec| policy(spec).delay = Some(7_000_000_000)),
        ("restart.max_attempts", |spec| policy(spec).max_attempts = Some(1)),
        ("restart.window", |spec| policy(spec).window = Some(7_000_000_000)),
        ("user", |spec| container(spec).user = None),
        ("placement", |spec| task(spec).placement = None),
        ("placement.max_replicas_per_node", |spec| {
            let placement = task(spec).placement.clone().unwrap_or_default();
            task(spec).placement = Some(TaskSpecPlacement { max_replicas: Some(3), ..placement });
        }),
        ("update_config.parallelism", |spec| updates(spec).parallelism = Some(1)),
        ("update_config.delay", |spec| updates(spec).delay = Some(3_000_000_000)),
        ("update_config.max_failure_ratio", |spec| updates(spec).max_failure_ratio = Some(0.25)),
        ("rollback_config", |spec| spec.rollback_config = None),
        ("logging.options", |spec| {
            task(spec).log_driver = Some(TaskSpecLogDriver { name: Some("json-file".into()), options: None });
        }),
        ("networks.default", |spec| {
            task(spec).networks.as_mut().unwrap().iter_mut().for_each(|network| {
                network.aliases.as_mut().unwrap().push("more".to_owned());
            })
        }),
        ("networks.back", |spec| drop(task(spec).networks.as_mut().unwrap().remove(0))),
        ("ports", |spec| {
            let port = EndpointPortConfig { target_port: Some(99), ..EndpointPortConfig::default() };
            let ports = spec.endpoint_spec.as_mut().unwrap().ports.as_mut().unwrap();
            ports.push(EndpointPortConfig { publish_mode: ports[0].publish_mode, ..port });
        }),
    ]
}

fn task(spec: &mut ServiceSpec) -> &mut bollard::models::TaskSpec {
    spec.task_template.as_mut().unwrap()
}
fn limits(spec: &mut ServiceSpec) -> &mut Limit {
    let resources: &mut TaskSpecResources = task(spec).resources.as_mut().unwrap();
    resources.limits.as_mut().unwrap()
}
fn policy(spec: &mut ServiceSpec) -> &mut TaskSpecRestartPolicy {
    task(spec).restart_policy.as_mut().unwrap()
}
fn updates(spec: &mut ServiceSpec) -> &mut ServiceSpecUpdateConfig {
    spec.update_config.as_mut().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_changes_behind_our_back_are_found_by_their_paths_and_none_is_invented() {
    let place = Place::new();
    let (target, docker) = (place.target(), docker().await);
    let stack = stack(&place);
    let cx = Context::new("one");
    assert_eq!(target.deploy(&cx, stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let none = target.drift(&cx, &stack.name).await.unwrap();
    assert!(none.is_empty(), "nothing was touched: {:?}", none.changes);
    let untouched = place.spec(&docker, "full").await;
    let meddlings = meddlings();
    assert!(meddlings.len() >= 50, "{}", meddlings.len());
    let mut missed = Vec::new();
    for (path, meddle) in meddlings {
        let mut spec = untouched.clone();
        meddle(&mut spec);
        // No task needs to follow.
        if path != "replicas" {
            spec.mode.as_mut().unwrap().replicated = Some(ServiceSpecModeReplicated { replicas: Some(0) });
        }
        place.put(&docker, "full", spec).await;
        let drift = target.drift(&cx, &stack.name).await.unwrap();
        let found: BTreeSet<&str> = drift.changes.iter().map(|change| change.path.as_str()).collect();
        let at = format!("services.full.{path}");
        let is_within = |found: &&&str| {
            **found == at || found.starts_with(&format!("{at}.")) || found.starts_with(&format!("{at}["))
        };
        let others = found.iter().filter(|found| **found != "services.full.replicas" && !is_within(found)).count();
        if !found.iter().any(|found| is_within(&found)) || (path != "replicas" && others > 1) {
            missed.push((path, format!("{found:?}")));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_drifted_is_put_right_by_the_next_apply_and_stays_the_revision_it_is() {
    let place = Place::new();
    let (target, docker) = (place.target(), docker().await);
    let mut one = sh("exec sleep 1000");
    one.ports = vec![PortMapping { mode: PortMode::Host, ..PortMapping::tcp(80).published(port()) }];
    one.replicas = Replicas(1);
    let stack = place.stack([("one", one)]);
    target.deploy(&Context::new("one"), stack.clone()).await.unwrap();
    let mut spec = place.spec(&docker, "one").await;
    container(&mut spec).env = Some(vec!["A=1".to_owned()]);
    place.put(&docker, "one", spec).await;
    assert_eq!(target.deploy(&Context::new("two"), stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let none = target.drift(&Context::new("look"), &stack.name).await.unwrap();
    assert!(none.is_empty(), "{:?}", none.changes);
}

/// A Swarm whose node stops and starts gives every task a successor. That is no drift.
#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_that_was_restarted_has_not_drifted() {
    let engine = Engine::start_swarm();
    let endpoint = engine.endpoint().parse().unwrap();
    let config = SwarmConfig::new("swarm".parse().unwrap(), "test-restarted".parse().unwrap(), endpoint);
    let target = SwarmTarget::new(config);
    let stack = stack(&Place::new());
    let cx = Context::new("one");
    assert_eq!(target.deploy(&cx, stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    engine.restart();
    // A node takes a moment to be a manager again.
    let come_back = async {
        loop {
            match target.drift(&cx, &stack.name).await {
                Err(PlanError::Target(error)) if error.is_connection() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                told => break told.unwrap(),
            }
        }
    };
    let none = tokio::time::timeout(Duration::from_secs(60), come_back).await.unwrap();
    // That a task is still on its way is told, and is no drift.
    assert!(none.changes.iter().all(Change::is_about_health), "nothing was touched: {:?}", none.changes);
    let settled = async {
        loop {
            let plan = target.plan_for(&cx, &Desired::Present(stack.clone())).await.unwrap();
            assert!(plan.changes.iter().all(Change::is_about_health), "{:?}", plan.changes);
            if plan.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), settled).await.unwrap();
    // It has come back by itself, or is still on its way.
    let again = target.deploy(&cx, stack).await.unwrap();
    assert!(matches!(again, Applied::Nothing | Applied::Revision(Some(1))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_an_image_is_switched_off_and_its_entrypoint_cannot_be_taken_away() {
    let place = Place::new();
    let mut web = Service { image: Some("wf-web:sick".to_owned()), ..Service::default() };
    web.healthcheck = Some(HealthCheck::none());
    let mut bare = place.stack([("web", web)]);
    let target = place.target();
    assert_eq!(target.deploy(&Context::new("one"), bare.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let again = target.plan_for(&Context::new("again"), &Desired::Present(bare.clone())).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);
    bare.services.get_mut("web").unwrap().entrypoint = Some(Command::Argv(Vec::new()));
    let refused = target.plan_for(&Context::new("two"), &Desired::Present(bare)).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    assert_eq!(problems.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["services.web.entrypoint"]);
}
