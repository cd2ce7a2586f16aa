//! The same file on Docker and on a Swarm: the same verbs, with the same answers and the same events in the same order.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::corner::{Corner, docker};

/// web, api, worker, redis and a migration that runs once; whoever waits, waits for what it needs.
const STACK: &str = "
services:
  web:
    image: wf-web:1
    deploy: &deploy { endpoint_mode: dnsrr }
    depends_on: { api: { condition: service_healthy } }
    stop_grace_period: 1s
  api:
    image: '${API:-wf-web:1}'
    deploy: *deploy
    environment: { VERSION: '${VERSION:-1}' }
    depends_on: { migration: { condition: service_completed_successfully } }
    stop_grace_period: 1s
  worker:
    image: wf-busybox:1
    deploy: *deploy
    environment: { QUEUE: redis }
    depends_on: { redis: { condition: service_started } }
    stop_grace_period: 1s
  redis:
    image: wf-redis:1
    deploy: *deploy
    volumes: ['data:/data']
    stop_grace_period: 1s
  migration:
    image: wf-busybox:1
    command: [sh, -c, 'echo migrated']
    restart: 'no'
    deploy: *deploy
    depends_on: { redis: { condition: service_healthy } }
volumes: { data: {} }
";

/// What a target did with the file.
#[derive(Debug, Default)]
struct Life {
    /// Verb, exit code, and what each plan would change.
    verbs: Vec<(String, i32, BTreeSet<String>)>,
    /// What the plans say is otherwise on this target, by path.
    named: Vec<String>,
    /// Each service and how it is, after the first apply.
    services: Vec<String>,
    events: Vec<String>,
}

fn life(target: &str, endpoint: &str) -> Life {
    let corner = Corner::new("");
    let (world, mut life) = (&corner.world, Life::default());
    world.write("stack.yaml", &format!("name: five-{}\n{STACK}", corner.owner));
    let mut verb = |words: &str, variables: &str| {
        world.write(".env", variables);
        let args = format!("{words} --target {target} --json --events events");
        let done = world.run(&args);
        let told: Value = serde_json::from_str(&done.out).unwrap_or_default();
        assert!(done.code <= 2, "windflow {args}: {}{}", done.out, done.err);
        let plan = if told["plan"].is_null() { &told } else { &told["plan"] };
        let changes = plan["changes"].as_array().into_iter().flatten();
        let change =
            |change: &Value| format!("{} {}", change["kind"].as_str().unwrap(), change["path"].as_str().unwrap());
        let degradations = plan["degradations"].as_array().into_iter().flatten();
        life.named.extend(degradations.map(|text| text.as_str().unwrap().to_owned()));
        life.verbs.push((words.to_owned(), done.code, changes.map(change).collect()));
        told
    };
    verb("plan stack.yaml", "");
    verb("apply stack.yaml --yes", "");
    let status = verb("status stack.yaml", "");
    let services = status["services"].as_object().unwrap().iter();
    let services = services.map(|(name, service)| format!("{name} {}", service["health"])).collect();
    assert_eq!(status["drift"], serde_json::json!([]), "{status}");
    in_order(&corner, endpoint);
    verb("plan stack.yaml", "");
    verb("apply stack.yaml --yes", "");
    verb("plan stack.yaml", "VERSION=2\n");
    verb("apply stack.yaml --yes", "VERSION=2\n");
    verb("rollback stack.yaml --yes", "VERSION=2\n");
    verb("apply stack.yaml --yes", "API=wf-broken:1\n");
    verb("scale stack.yaml worker=2 --yes", "");
    verb("destroy stack.yaml --yes --allow-destroy volume", "");
    assert!(corner.marked(endpoint).is_empty(), "{:?}", corner.marked(endpoint));
    life.services = services;
    let events = fs::read_to_string(world.dir.join("events")).unwrap();
    let text = |event: &Value| {
        let more = ["action", "revision", "why", "code"].map(|key| event["metadata"][key].to_string());
        assert_eq!(event["metadata"]["target"], target, "{event}");
        assert_eq!(event["stack_id"], format!("five-{}", corner.owner), "{event}");
        format!("{} {}", event["event_type"].as_str().unwrap(), more.join(" ")).replace(" null", "").replace('"', "")
    };
    life.events = events.lines().map(|line| text(&serde_json::from_str(line).unwrap())).collect();
    life
}

/// Each service was started once what it needs was there: so the engine's own clock says.
fn in_order(corner: &Corner, endpoint: &str) {
    let owner = format!("label=windflow.owner={}", corner.owner);
    let format = "{{index .Config.Labels \"windflow.service\"}} {{.State.StartedAt}} {{.State.FinishedAt}}";
    let ids = docker(endpoint, &["ps", "-aq", "--filter", &owner]);
    let words: Vec<&str> = ["inspect", "--format", format].into_iter().chain(ids.lines()).collect();
    let told = docker(endpoint, &words);
    let when = |service: &str, field: usize| {
        let mut lines = told.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.find(|line| line[0] == service).unwrap_or_else(|| panic!("{service}: {told}"))[field].to_owned()
    };
    // An engine may have a container that ends at once end before it has begun.
    for (first, next) in [("redis", "worker"), ("redis", "migration"), ("api", "web")] {
        assert!(when(first, 1) <= when(next, 1), "{first} before {next}: {told}");
    }
    assert!(when("migration", 2) <= when("api", 1), "{told}");
}

#[test]
fn the_same_file_lives_the_same_life_on_docker_and_on_a_swarm() {
    let (docker, swarm) = std::thread::scope(|scope| {
        let other = scope.spawn(|| life("swarm", &windflow_bed::swarm().endpoint));
        (life("docker", &windflow_bed::docker()), other.join().unwrap())
    });
    assert_eq!(
        docker.events,
        [
            "deployments.started apply",
            "deployments.healthy apply 1",
            "deployments.started apply",
            "deployments.healthy apply 2",
            "deployments.started rollback",
            "deployments.rolled_back rollback 3 rollback",
            "deployments.started apply",
            "deployments.rolled_back apply unhealthy",
            "deployments.failed apply deploy.rolled_back",
            "deployments.started scale",
            "deployments.healthy scale 4",
            "deployments.started destroy",
            "deployments.destroyed destroy",
        ]
    );
    assert_eq!(docker.events, swarm.events);
    assert_eq!(docker.services, swarm.services);
    assert_eq!(docker.verbs.len(), swarm.verbs.len());
    for (ours, theirs) in docker.verbs.iter().zip(&swarm.verbs) {
        assert_eq!((&ours.0, ours.1), (&theirs.0, theirs.1));
        for change in ours.2.symmetric_difference(&theirs.2) {
            let path = change.split_once(' ').unwrap().1;
            let named = docker.named.iter().chain(&swarm.named).any(|text| text.starts_with(path));
            assert!(named, "{}: {change} is on one of them only, and no plan says why: {docker:#?} {swarm:#?}", ours.0);
        }
    }
}
