//! What others have started becomes ours through the command, and none of it notices.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::corner::{Corner, docker, docker_may_fail};
use crate::world::{free_port, until};

/// A project with a bit of everything: ports, networks, dependencies, a job, volumes, configs, secrets, variables.
const PROJECT: &str = "\
name: NAME
services:
  web:
    image: wf-web:1
    ports: ['127.0.0.1::80']
    networks: { front: { aliases: [www] }, back: {} }
    depends_on: { api: { condition: service_healthy }, migrate: { condition: service_completed_successfully } }
    configs: [{ source: page, target: /etc/page }]
    labels: { team: shop }
  api:
    image: wf-web:2
    environment: { LEVEL: '${LEVEL:-info}' }
    networks: [back]
    secrets: [word]
    volumes: ['data:/data', { type: tmpfs, target: /scratch }]
    restart: unless-stopped
    mem_limit: 64m
  migrate:
    image: wf-busybox:1
    command: [sh, -c, 'echo migrated']
    networks: [back]
networks: { front: {}, back: { internal: true } }
volumes: { data: { labels: { kept: 'yes' } } }
configs: { page: { file: ./page } }
secrets: { word: { file: ./word } }
";

/// The same as a Swarm starts it: nothing is waited for, and no address is virtual.
const STACK: &str = "\
version: '3.8'
services:
  web:
    image: wf-web:1
    ports: [{ target: 80, published: PORT, mode: host }]
    networks: { front: { aliases: [www] } }
    configs: [{ source: page, target: /etc/page }]
    deploy: { endpoint_mode: dnsrr, labels: { team: shop } }
  api:
    image: wf-web:2
    environment: { LEVEL: '${LEVEL:-info}' }
    networks: [front]
    secrets: [word]
    volumes: ['data:/data']
    deploy: { endpoint_mode: dnsrr, replicas: 2 }
networks: { front: {} }
volumes: { data: {} }
configs: { page: { file: ./page } }
secrets: { word: { file: ./word } }
";

/// Each container with this label: which it is, since when it runs, and how often it was started again.
fn running(endpoint: &str, label: &str) -> Vec<String> {
    let ids = docker(endpoint, &["ps", "-aq", "--no-trunc", "--filter", &format!("label={label}")]);
    let told = ids.lines().map(|id| {
        docker(
            endpoint,
            &["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.State.Running}} {{.RestartCount}}", id],
        )
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

/// From nobody's to ours: told, taken over, the same containers, nothing planned, nothing drifted, and one event.
fn becomes_ours(corner: &Corner, target: &str, name: &str, services: &[&str], running: impl Fn() -> Vec<String>) {
    let world = &corner.world;
    let before = running();
    assert!(before.len() >= services.len(), "{before:?}");
    let found = world.expect(0, &format!("discover --target {target} --json"));
    let found: Value = serde_json::from_str(&found.out).unwrap();
    let ours = found["found"].as_array().unwrap().iter().find(|found| found["name"] == name).unwrap();
    assert_eq!((&ours["owner"], ours["services"].as_array().unwrap().len()), (&Value::Null, services.len()), "{ours}");
    let done = world.expect(0, &format!("adopt stack.yaml --target {target} --yes --json --events events"));
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap()["target"], target, "{}", done.out);
    assert_eq!(running(), before, "the same containers, since the same moment");
    let plan = world.expect(0, &format!("plan stack.yaml --target {target}"));
    assert!(plan.out.contains("no changes"), "{}", plan.out);
    let status = world.expect(0, &format!("status {name} --target {target} --json"));
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!((&status["revision"], &status["drift"]), (&1.into(), &Value::Array(Vec::new())), "{status}");
    let events = fs::read_to_string(world.dir.join("events")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["deployments.started", "deployments.adopted"]);
    assert!(events.iter().all(|event| event["stack_id"] == name), "{events:?}");
    let listed = world.expect(0, &format!("discover --target {target} --json"));
    assert!(!listed.out.contains(&format!("\"{name}\"")), "it is ours now: {}", listed.out);
    // Ours in every way: what is changed is changed where it is changed, and all of it goes.
    world.write(".env", "LEVEL=debug\n");
    let plan = world.expect(2, &format!("plan stack.yaml --target {target} --json"));
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let paths: Vec<&str> =
        plan["plan"]["changes"].as_array().unwrap().iter().map(|change| change["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["services.api.environment.LEVEL"]);
    world.expect(0, &format!("apply stack.yaml --target {target} --yes"));
    let after = running();
    let web = |all: &[String]| before.iter().filter(|line| all.contains(line)).count();
    assert!(web(&after) >= 1, "what has not changed runs on: {before:?} {after:?}");
    world.expect(0, &format!("destroy {name} --target {target} --yes --allow-destroy volume"));
}

fn written(corner: &Corner, name: &str, text: &str) {
    corner.world.write("stack.yaml", &text.replace("NAME", name));
    corner.world.write("page", "a page\n");
    corner.world.write("word", "a word\n");
}

#[test]
fn a_project_of_the_compose_tool_becomes_ours_as_it_runs() {
    let corner = Corner::new("");
    let (endpoint, name) = (windflow_bed::docker(), format!("adopted-{}", corner.owner));
    written(&corner, &name, PROJECT);
    let compose = |words: &[&str]| {
        let tool = std::env::var_os("WINDFLOW_COMPOSE").unwrap();
        let mut command = Command::new(tool);
        command.current_dir(&corner.world.dir).env("DOCKER_HOST", &endpoint).args(["-f", "stack.yaml"]).args(words);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    compose(&["up", "--detach", "--pull", "never"]);
    let label = format!("com.docker.compose.project={name}");
    let well = ["ps", "-q", "--filter", "health=healthy", "--filter", &format!("label={label}")];
    until("web and api are healthy", || docker(&endpoint, &well).lines().count() == 2);
    // What is not ours in the end, the tool that has made it takes away.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        becomes_ours(&corner, "docker", &name, &["web", "api", "migrate"], || running(&endpoint, &label));
    }));
    compose(&["down", "--volumes", "--timeout", "1"]);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_stack_of_docker_stack_deploy_becomes_ours_as_it_runs() {
    let corner = Corner::new("");
    let (endpoint, name) = (windflow_bed::swarm().endpoint, format!("adopted-{}", corner.owner));
    let port = free_port();
    written(&corner, &name, &STACK.replace("PORT", &port.to_string()));
    let file = corner.world.dir.join("stack.yaml");
    docker(&endpoint, &["stack", "deploy", "--resolve-image", "never", "-c", &file.to_string_lossy(), &name]);
    let text = fs::read_to_string(&file).unwrap();
    corner.world.write("stack.yaml", &format!("name: {name}\n{}", text.replace("version: '3.8'\n", "")));
    let label = format!("com.docker.stack.namespace={name}");
    let states =
        || docker(&endpoint, &["service", "ls", "--format", "{{.Replicas}}", "--filter", &format!("label={label}")]);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("all tasks are well", || states().lines().collect::<BTreeSet<_>>() == ["1/1", "2/2"].into());
        becomes_ours(&corner, "swarm", &name, &["web", "api"], || running(&endpoint, &label));
    }));
    docker_may_fail(&endpoint, &["stack", "rm", &name]);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
