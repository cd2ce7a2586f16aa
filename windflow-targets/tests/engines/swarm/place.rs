//! A place of its own on the Swarm that the tests are told of.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command as Program;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{Service as Theirs, ServiceSpec};
use bollard::query_parameters::{
    ListConfigsOptionsBuilder, ListNetworksOptionsBuilder, ListSecretsOptionsBuilder, ListServicesOptionsBuilder,
    ListVolumesOptions, RemoveVolumeOptions, UpdateServiceOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use windflow_bed::Proxy;
use windflow_core::target::{Command, EndpointMode, HealthCheck, PortMapping, PortMode, Probe, Service, Stack};
use windflow_core::{OwnerId, ServiceName, StackName, TargetName};
use windflow_targets::docker::Endpoint;
use windflow_targets::swarm::{SwarmConfig, SwarmTarget};

/// A shell and what belongs to it.
pub const IMAGE: &str = "wf-busybox:1";

/// Where the Swarm is.
pub fn endpoint() -> Endpoint {
    windflow_bed::swarm().endpoint.parse().unwrap()
}

pub fn socket() -> PathBuf {
    match endpoint() {
        Endpoint::Unix(path) => path,
        other => panic!("the tests meddle with the Swarm through its socket, and {other} is none"),
    }
}

pub async fn docker() -> Docker {
    let docker = Docker::connect_with_unix(&socket().to_string_lossy(), 30, API_DEFAULT_VERSION).unwrap();
    docker.negotiate_version().await.unwrap()
}

/// What the docker command says: the second opinion of these tests.
pub fn docker_says(words: &[&str]) -> String {
    let said = Program::new("docker").env("DOCKER_HOST", endpoint().to_string()).args(words).output().unwrap();
    assert!(said.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// Everything of one owner; it goes when this is dropped.
pub struct Place {
    pub owner: String,
    pub stack: String,
    /// What stands between a target and the Swarm, and sees every call.
    pub proxy: Proxy,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Place {
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() % 10_000_000;
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}-{now}-{n}", std::process::id());
        let proxy = Proxy::start(&endpoint().to_string()).unwrap();
        Self { owner: format!("test-{tag}"), stack: format!("shop-{tag}"), proxy }
    }

    fn config(&self, owner: &str) -> SwarmConfig {
        let endpoint = self.proxy.endpoint().parse().unwrap();
        let mut config = SwarmConfig::new(TargetName::new("swarm").unwrap(), OwnerId::new(owner).unwrap(), endpoint);
        config.health_timeout = Duration::from_secs(60);
        config
    }

    pub fn target(&self) -> SwarmTarget {
        SwarmTarget::new(self.config(&self.owner))
    }

    pub fn neighbour(&self) -> SwarmTarget {
        SwarmTarget::new(self.config(&format!("{}.", self.owner)))
    }

    pub fn stack(&self, services: impl IntoIterator<Item = (&'static str, Service)>) -> Stack {
        let services = services.into_iter().map(|(name, service)| (ServiceName::new(name).unwrap(), service));
        Stack::new(StackName::new(&self.stack).unwrap(), services.collect())
    }

    /// What the Swarm itself says of one of our services.
    pub async fn service(&self, docker: &Docker, name: &str) -> Theirs {
        let all = services(docker, &self.owner, Some(&self.stack)).await;
        let is_it = |service: &&Theirs| {
            service.spec.as_ref().and_then(|spec| spec.labels.as_ref()?.get("windflow.service").cloned()).as_deref()
                == Some(name)
        };
        all.iter().find(is_it).unwrap().clone()
    }
}

impl Place {
    /// The spec of one of our services, health check and all: the client's own model loses that when it reads one.
    pub async fn spec(&self, docker: &Docker, name: &str) -> ServiceSpec {
        let id = self.service(docker, name).await.id.unwrap();
        let script =
            format!("docker -H unix://{} service inspect --format '{{{{json .Spec}}}}' {id}", socket().display());
        let said = Program::new("sh").args(["-c", &script]).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let text = String::from_utf8(said.stdout).unwrap().replace("\"Healthcheck\"", "\"HealthCheck\"");
        serde_json::from_str(&text).unwrap()
    }

    /// Changes one of our services behind our back.
    pub async fn put(&self, docker: &Docker, name: &str, spec: ServiceSpec) {
        let service = self.service(docker, name).await;
        let version = i32::try_from(service.version.unwrap().index.unwrap()).unwrap();
        let options = UpdateServiceOptionsBuilder::default().version(version).build();
        docker.update_service(&service.id.unwrap(), spec, options, None).await.unwrap();
    }
}

fn filter(owner: &str, stack: Option<&str>) -> HashMap<String, Vec<String>> {
    let mut labels = vec![format!("windflow.owner={owner}")];
    labels.extend(stack.map(|stack| format!("windflow.stack={stack}")));
    HashMap::from([("label".to_owned(), labels)])
}

pub async fn services(docker: &Docker, owner: &str, stack: Option<&str>) -> Vec<Theirs> {
    let options = ListServicesOptionsBuilder::default().filters(&filter(owner, stack)).build();
    docker.list_services(Some(options)).await.unwrap()
}

/// Everything with our mark: what it is, and its id.
pub async fn marked(docker: &Docker, owner: &str, stack: Option<&str>) -> Vec<(&'static str, String)> {
    let filter = filter(owner, stack);
    let mut found = Vec::new();
    let services = services(docker, owner, stack).await;
    found.extend(services.into_iter().map(|service| ("service", service.id.unwrap())));
    let options = ListNetworksOptionsBuilder::default().filters(&filter).build();
    let networks = docker.list_networks(Some(options)).await.unwrap();
    found.extend(networks.into_iter().map(|network| ("network", network.id.unwrap())));
    let options = ListConfigsOptionsBuilder::default().filters(&filter).build();
    let configs = docker.list_configs(Some(options)).await.unwrap();
    found.extend(configs.into_iter().map(|config| ("config", config.id.unwrap())));
    let options = ListSecretsOptionsBuilder::default().filters(&filter).build();
    let secrets = docker.list_secrets(Some(options)).await.unwrap();
    found.extend(secrets.into_iter().map(|secret| ("secret", secret.id.unwrap())));
    found
}

impl Drop for Place {
    fn drop(&mut self) {
        let owners = [self.owner.clone(), format!("{}.", self.owner)];
        // A test may be inside a runtime of its own: this one is beside it.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let docker = docker().await;
                for _ in 0..300 {
                    let mut left = Vec::new();
                    for owner in &owners {
                        left.extend(marked(&docker, owner, None).await);
                    }
                    if left.is_empty() {
                        break;
                    }
                    for (kind, id) in left {
                        // What is still in use goes the next time.
                        let _ = match kind {
                            "service" => docker.delete_service(&id).await,
                            "network" => docker.remove_network(&id).await,
                            "config" => docker.delete_config(&id).await,
                            _ => docker.delete_secret(&id).await,
                        };
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes;
                for volume in volumes.unwrap_or_default() {
                    let mark = volume.labels.get("windflow.retained").cloned().unwrap_or_default();
                    if owners.iter().any(|owner| mark.starts_with(&format!("{owner}/"))) {
                        let _ = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
                    }
                }
            });
        });
        assert!(cleaned.join().is_ok() || std::thread::panicking(), "what the test has left could not be removed");
    }
}

pub fn sh(script: &str) -> Service {
    Service {
        image: Some(IMAGE.to_owned()),
        command: Some(Command::Argv(["sh", "-c", script].map(str::to_owned).to_vec())),
        endpoint_mode: Some(EndpointMode::Dnsrr),
        stop_grace_period: Some(Duration::from_millis(100)),
        ..Service::default()
    }
}

/// A server of files on this port of the node.
pub fn web(port: u16, version: &str) -> Service {
    let mut web = sh("mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www");
    web.environment.insert("VERSION".to_owned(), windflow_core::target::EnvValue::Plain(version.to_owned()));
    web.ports = vec![PortMapping { mode: PortMode::Host, ..PortMapping::tcp(80).published(port) }];
    web.healthcheck = Some(HealthCheck {
        probe: Probe::Exec(["wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"].map(str::to_owned).to_vec()),
        interval: Some(Duration::from_millis(200)),
        timeout: Some(Duration::from_secs(2)),
        retries: Some(5),
        start_period: None,
        start_interval: Some(Duration::from_secs(5)),
    });
    web
}

/// A port that no other test has. The node's ports are the Swarm's to give, so none is tried.
pub fn port() -> u16 {
    // Tests may have a process each, or one for all of them.
    let own = u16::try_from(std::process::id() % 100).unwrap() * 100;
    20_000 + own + u16::try_from(COUNT.fetch_add(1, Ordering::Relaxed) % 100).unwrap()
}
