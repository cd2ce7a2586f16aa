//! A Swarm of three nodes, two of them managers: what one node cannot show. `scripts/bed/run --swarm3` starts it.

use std::collections::BTreeSet;
use std::process::Command as Program;
use std::time::{Duration, Instant};

use windflow_bed::Swarm;
use windflow_core::target::{
    Applied, Consents, Context, Desired, Exec, Health, Mount, MountKind, Service, ServiceRef, Stack, Target as _,
    TargetErrorKind, TargetExt as _, Volume,
};
use windflow_core::{ServiceName, StackName};
use windflow_targets::swarm::{SwarmConfig, SwarmTarget};

use crate::swarm::place::{sh, web};

/// A target that talks to this node.
fn through(node: &Swarm, owner: &str) -> SwarmTarget {
    let endpoint = node.endpoint.parse().unwrap();
    let mut config = SwarmConfig::new("swarm".parse().unwrap(), owner.parse().unwrap(), endpoint);
    config.health_timeout = Duration::from_secs(90);
    SwarmTarget::new(config)
}

fn cx(key: &str) -> Context {
    let told = key.to_owned();
    Context::new(key).with_progress(std::sync::Arc::new(move |text: &str| println!("{told}: {text}")))
}

fn one(stack: &str, service: Service) -> Stack {
    Stack::new(StackName::new(stack).unwrap(), [(ServiceName::new("web").unwrap(), service)].into())
}

fn says(program: &str, endpoint: Option<&str>, words: &[&str]) -> String {
    let mut command = Program::new(program);
    command.args(words).envs(endpoint.map(|endpoint| ("DOCKER_HOST", endpoint)));
    let said = command.output().unwrap();
    assert!(said.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// The nodes on which tasks of the owner's services run, by the docker command.
fn nodes_of(manager: &Swarm, owner: &str) -> Vec<String> {
    let label = format!("label=windflow.owner={owner}");
    let services = says("docker", Some(&manager.endpoint), &["service", "ls", "-q", "--filter", &label]);
    let of = |service: &str| {
        let words = ["service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", service];
        says("docker", Some(&manager.endpoint), &words)
    };
    let mut nodes: Vec<String> =
        services.lines().flat_map(|service| of(service).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    nodes.sort();
    nodes
}

/// The cable of a node, by its number.
struct Cable {
    switch: String,
    end: String,
}

impl Cable {
    fn of(node: &Swarm, number: usize) -> Self {
        let folder = node.endpoint.strip_prefix("unix://").unwrap();
        let bed = std::path::Path::new(folder).ancestors().nth(2).unwrap();
        let slot = std::fs::read_to_string(bed.join("slot")).unwrap();
        Self { switch: format!("wf{}-sw", slot.trim()), end: format!("wf{}v{number}", slot.trim()) }
    }

    fn set(&self, state: &str) {
        says("ip", None, &["-n", &self.switch, "link", "set", &self.end, state]);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = Program::new("ip").args(["-n", &self.switch, "link", "set", &self.end, "up"]).status();
    }
}

/// The ids of the instances that are healthy, as soon as there are so many and `holds` of the nodes they are on.
async fn healthy(target: &SwarmTarget, stack: &Stack, many: usize, holds: impl Fn() -> bool) -> Vec<String> {
    let since = Instant::now();
    loop {
        let observed = target.observe(&cx("look"), &stack.name).await.unwrap();
        let instances = observed.services.get("web").map(|web| web.instances.clone()).unwrap_or_default();
        let well: Vec<_> = instances.into_iter().filter(|instance| instance.health == Health::Healthy).collect();
        if well.len() == many && holds() {
            return well.into_iter().map(|instance| instance.id).collect();
        }
        assert!(since.elapsed() < Duration::from_secs(120), "{many} healthy instances do not come about: {well:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_runs_on_every_node_and_each_manager_tells_and_does_the_same() {
    let (nodes, owner) = (windflow_bed::swarm3(), "test-everywhere");
    let (first, second) = (through(&nodes[0], owner), through(&nodes[1], owner));
    let everywhere = |version: &str| {
        let mut web = web(20_480, version);
        web.replicas.0 = 3;
        web.placement.max_replicas_per_node = Some(1);
        one("everywhere", web)
    };
    assert_eq!(first.deploy(&cx("one"), everywhere("1")).await.unwrap(), Applied::Revision(Some(1)));
    let on: BTreeSet<String> = nodes_of(&nodes[0], owner).into_iter().collect();
    assert_eq!(on.len(), 3, "{on:?}");
    for node in &nodes {
        let page = says("wget", None, &["-q", "-O", "-", "-T", "5", &format!("http://{}:20480/", node.address)]);
        assert_eq!(page, "hello", "{node:?}");
    }
    assert!(second.drift(&cx("drift"), &everywhere("1").name).await.unwrap().is_empty());
    assert_eq!(second.deploy(&cx("again"), everywhere("1")).await.unwrap(), Applied::Nothing);
    assert_eq!(second.deploy(&cx("two"), everywhere("2")).await.unwrap(), Applied::Revision(Some(2)));
    let back = first.plan_rollback(&cx("back"), &everywhere("1").name, None).await.unwrap();
    assert_eq!(first.apply(&cx("back"), &back).await.unwrap(), Applied::Revision(Some(3)));
    // A worker cannot be asked for what only managers know.
    let told = through(&nodes[2], owner).observe(&cx("worker"), &everywhere("1").name).await.unwrap_err();
    assert_eq!(told.kind, TargetErrorKind::Refused, "{told}");
    assert!(told.hint.as_deref().is_some_and(|hint| hint.contains("manager")), "{told}");
    second.destroy(&cx("end"), &everywhere("1").name).await.unwrap();
    assert!(first.observe(&cx("look"), &everywhere("1").name).await.unwrap().is_absent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_ran_that_is_cut_off_runs_elsewhere_and_has_not_drifted() {
    let (nodes, owner) = (windflow_bed::swarm3(), "test-cut-off");
    let target = through(&nodes[0], owner);
    let mut service = sh("trap exit TERM; while true; do sleep 0.1; done");
    service.replicas.0 = 3;
    let stack = one("cut-off", service);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    assert_eq!(nodes_of(&nodes[0], owner), ["node1", "node2", "node3"], "a Swarm spreads by itself");
    let cable = Cable::of(&nodes[2], 3);
    cable.set("down");
    healthy(&target, &stack, 3, || !nodes_of(&nodes[0], owner).contains(&"node3".to_owned())).await;
    assert!(target.drift(&cx("drift"), &stack.name).await.unwrap().is_empty());
    // A change comes about while the node is away.
    let mut more = stack.clone();
    more.services.get_mut("web").unwrap().labels.insert("team".to_owned(), "shop".to_owned());
    assert_eq!(target.deploy(&cx("two"), more.clone()).await.unwrap(), Applied::Revision(Some(2)));
    cable.set("up");
    let ready = || {
        says("docker", Some(&nodes[0].endpoint), &["node", "ls", "--format", "{{.Status}}"]).matches("Ready").count()
            == 3
    };
    healthy(&target, &stack, 3, ready).await;
    assert!(target.drift(&cx("drift"), &stack.name).await.unwrap().is_empty());
    target.destroy(&cx("end"), &stack.name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_other_nodes_is_told_as_far_as_it_can_be_seen() {
    let (nodes, owner) = (windflow_bed::swarm3(), "test-far");
    let target = through(&nodes[0], owner);
    let mut service = sh("trap exit TERM; while true; do sleep 0.1; done");
    service.placement.constraints = vec!["node.hostname==node3".to_owned()];
    service.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut stack = one("far", service);
    stack.volumes.insert("data".to_owned(), Volume::default());
    let plan = target.plan_for(&cx("plan"), &Desired::Present(stack.clone())).await.unwrap();
    let told = plan.degradations.join("\n");
    assert!(told.contains("volumes.data: only the volumes of the node node1 are seen from here"), "{told}");
    target.apply(&cx("one"), &plan).await.unwrap();
    assert_eq!(nodes_of(&nodes[0], owner), ["node3"]);
    let of = ServiceRef::service(stack.name.clone(), "web".parse().unwrap());
    let told = target.exec(&cx("exec"), &of, Exec::new(["true"])).await.map(drop).unwrap_err();
    assert!(told.to_string().contains("node3"), "{told}");
    let agreed = cx("end").with_consents(Consents::none().allow_destroy("volume"));
    let plan = target.plan_for(&agreed, &Desired::Absent(stack.name.clone())).await.unwrap();
    let told = format!("{:?}", plan.degradations);
    assert!(told.contains("node"), "the plan says that the volume of the other node stays: {told}");
    target.apply(&agreed, &plan).await.unwrap();
    let left = says("docker", Some(&nodes[2].endpoint), &["volume", "ls", "-q"]);
    assert!(left.contains("far_data"), "it is there, as was told: {left}");
}
