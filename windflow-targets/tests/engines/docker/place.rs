//! A corner of an engine of a test's own: an owner nobody else has, and nothing left of it in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use windflow_bed::Proxy;
use windflow_core::target::{Command, Condition, Context, Dependency, EnvValue, HealthCheck, Probe, Service, Stack};
use windflow_core::{OwnerId, ServiceName, StackName};
use windflow_targets::docker::{DockerConfig, DockerTarget, Endpoint};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Where the engine is that tests may use.
pub fn endpoint() -> Endpoint {
    windflow_bed::docker().parse().unwrap()
}

/// A corner of the engine.
pub struct Place {
    pub owner: OwnerId,
    endpoint: Endpoint,
    /// What stands between a target and the engine, and sees every call.
    pub proxy: Proxy,
}

impl Place {
    pub fn new() -> Self {
        Self::on(endpoint())
    }

    /// A corner of another engine.
    pub fn on(endpoint: Endpoint) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let owner = format!("test-{}-{number}", std::process::id());
        let proxy = Proxy::start(&endpoint.to_string()).unwrap();
        Self { owner: OwnerId::new(owner).unwrap(), endpoint, proxy }
    }

    pub fn config(&self) -> DockerConfig {
        let mut config =
            DockerConfig::new("engine".parse().unwrap(), self.owner.clone(), self.proxy.endpoint().parse().unwrap());
        config.settle = Duration::from_millis(300);
        config.health_timeout = Duration::from_secs(40);
        config.drain = Duration::ZERO;
        config
    }

    pub fn target(&self) -> DockerTarget {
        self.target_of(&self.owner)
    }

    pub fn target_of(&self, owner: &OwnerId) -> DockerTarget {
        let mut config = self.config();
        config.owner = owner.clone();
        DockerTarget::new(config)
    }

    /// Objects on the engine that carry this owner's mark, of this stack if one is named.
    pub fn marked(&self, stack: Option<&StackName>) -> Vec<String> {
        let owner = format!("label=windflow.owner={}", self.owner);
        // Of two labels in a filter, Podman takes one for enough.
        let stack = stack.map(|stack| format!("windflow.stack={stack}"));
        let mut left = Vec::new();
        for (what, list) in [
            ("container", ["ps", "-a", "--format", "{{.ID}} {{.Labels}}"].as_slice()),
            ("volume", ["volume", "ls", "--format", "{{.Name}} {{.Labels}}"].as_slice()),
            ("network", ["network", "ls", "--format", "{{.ID}} {{.Labels}}"].as_slice()),
        ] {
            let found = self.docker(&[list, &["--filter", owner.as_str()]].concat());
            for (id, labels) in found.lines().filter_map(|line| line.split_once(' ')) {
                if stack.as_ref().is_none_or(|stack| labels.split(',').any(|label| label == stack)) {
                    left.push(format!("{what} {id}"));
                }
            }
        }
        left
    }

    /// The real Compose tool on this engine.
    pub fn compose(&self, project: &str, file: &str, words: &[&str]) -> String {
        compose_on(&self.endpoint, project, file, words)
    }

    /// The docker command on this engine.
    pub fn docker(&self, words: &[&str]) -> String {
        let (ok, text) = docker_on(&self.endpoint, words);
        assert!(ok, "docker {words:?}: {text}");
        text.trim().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for line in self.marked(None).iter().rev() {
            let Some((what, id)) = line.split_once(' ') else { continue };
            let words = if what == "container" { vec!["rm", "-fv", id] } else { vec![what, "rm", id] };
            docker_on(&self.endpoint, &words);
        }
        for line in self.marked(None) {
            let Some((what, id)) = line.split_once(' ') else { continue };
            docker_on(&self.endpoint, &[what, "rm", id]);
        }
    }
}

/// The docker command on the engine: the second opinion of these tests.
pub fn docker(words: &[&str]) -> String {
    let (ok, text) = docker_may_fail(words);
    assert!(ok, "docker {words:?}: {text}");
    text.trim().to_owned()
}

pub fn docker_may_fail(words: &[&str]) -> (bool, String) {
    docker_on(&endpoint(), words)
}

fn docker_on(endpoint: &Endpoint, words: &[&str]) -> (bool, String) {
    let out =
        std::process::Command::new("docker").env("DOCKER_HOST", endpoint.to_string()).args(words).output().unwrap();
    let text = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The real Compose tool, on the same engine.
pub fn compose(project: &str, file: &str, words: &[&str]) -> String {
    compose_on(&endpoint(), project, file, words)
}

fn compose_on(endpoint: &Endpoint, project: &str, file: &str, words: &[&str]) -> String {
    let Ok(tool) = std::env::var("WINDFLOW_COMPOSE") else {
        panic!("WINDFLOW_COMPOSE names no Compose tool: run these tests through scripts/bed/run");
    };
    let mut child = std::process::Command::new(tool)
        .env("DOCKER_HOST", endpoint.to_string())
        .args(["--project-name", project, "--file", "-"])
        .args(words)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), file.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "compose {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Waits until something holds that is bound to come about.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not come about that {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A call under this key, which tells what it does to whoever reads a test that fails.
pub fn cx(key: &str) -> Context {
    let key_told = key.to_owned();
    Context::new(key).with_progress(std::sync::Arc::new(move |text: &str| println!("{key_told}: {text}")))
}

pub fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

pub fn stack(called: &str, services: impl IntoIterator<Item = (&'static str, Service)>) -> Stack {
    let services: BTreeMap<ServiceName, Service> =
        services.into_iter().map(|(n, service)| (name(n), service)).collect();
    Stack::new(StackName::new(called).unwrap(), services)
}

/// A service that runs a shell text in the smallest image there is.
pub fn shell(text: &str) -> Service {
    Service {
        image: Some("wf-busybox:1".to_owned()),
        command: Some(Command::Argv(["sh", "-c", text].map(str::to_owned).into())),
        stop_grace_period: Some(Duration::from_secs(1)),
        ..Service::default()
    }
}

/// A service that does nothing for as long as it may.
pub fn idle() -> Service {
    shell("exec sleep 100000")
}

pub fn with_check(mut service: Service, check: &str) -> Service {
    service.healthcheck = Some(HealthCheck {
        probe: Probe::Shell(check.to_owned()),
        interval: Some(Duration::from_millis(200)),
        timeout: Some(Duration::from_secs(5)),
        retries: Some(3),
        start_period: Some(Duration::from_secs(5)),
        start_interval: Some(Duration::from_secs(5)),
    });
    service
}

pub fn needing(mut service: Service, need: &str, condition: Condition) -> Service {
    service.depends_on.insert(name(need), Dependency { condition, required: true, restart: false });
    service
}

pub fn with_variable(mut service: Service, variable: &str, value: &str) -> Service {
    service.environment.insert(variable.to_owned(), EnvValue::Plain(value.to_owned()));
    service
}
