//! What the engine itself says of the stack: the same question whoever has deployed it.

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions};
use tokio::runtime::Runtime;

use crate::stack::VERSION;

/// Where everybody must come to.
#[derive(Clone, Copy, Debug)]
pub enum Point {
    /// So many containers run, all of them healthy, and exactly one, or all if there is just one, of this version.
    Healthy { services: usize, version: u32 },
    /// No container is there, running or not, and no network that an engine does not have by itself.
    Gone,
}

/// How long anybody may take to come there.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine, asked.
pub struct Judge<'a> {
    pub docker: Docker,
    runtime: &'a Runtime,
}

impl<'a> Judge<'a> {
    pub fn of(runtime: &'a Runtime, endpoint: &str) -> Self {
        let path = endpoint.strip_prefix("unix://").unwrap();
        let docker = Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap();
        let docker = runtime.block_on(docker.negotiate_version()).unwrap();
        Self { docker, runtime }
    }

    /// Waits until that point is reached, and says how long that took. Whoever has come there already pays for one look.
    pub fn wait(&self, point: Point) -> Duration {
        let began = Instant::now();
        while !self.runtime.block_on(self.is_at(point)) {
            assert!(began.elapsed() < PATIENCE, "{point:?} is not reached: {:#?}", self.told());
            std::thread::sleep(Duration::from_millis(5));
        }
        began.elapsed()
    }

    pub async fn is_at(&self, point: Point) -> bool {
        match point {
            Point::Healthy { services, version } => {
                // Those of earlier versions that a Swarm keeps do not run any more.
                let running = self.containers(false).await;
                let healthy =
                    running.iter().filter(|found| found.status.as_deref().is_some_and(|s| s.contains("(healthy)")));
                let of_version = running.iter().filter(|found| version_of(found) == Some(version)).count();
                let wanted = if version == 1 { services } else { 1 };
                running.len() == services && healthy.count() == services && of_version == wanted
            }
            Point::Gone => {
                let networks = self.docker.list_networks(None::<ListNetworksOptions>).await.unwrap();
                let own = ["bridge", "host", "none", "ingress", "docker_gwbridge"];
                let all_own = |name: Option<&str>| name.is_some_and(|name| own.contains(&name));
                networks.iter().all(|network| all_own(network.name.as_deref()))
                    && self.containers(true).await.is_empty()
            }
        }
    }

    async fn containers(&self, all: bool) -> Vec<ContainerSummary> {
        let options = ListContainersOptionsBuilder::default().all(all).build();
        let mut found = self.docker.list_containers(Some(options)).await.unwrap();
        found.retain(|found| all || found.state == Some(ContainerSummaryStateEnum::RUNNING));
        found
    }

    fn told(&self) -> Vec<(Option<Vec<String>>, Option<String>)> {
        let all = self.runtime.block_on(self.containers(true));
        all.into_iter().map(|found| (found.names, found.status)).collect()
    }
}

fn version_of(found: &ContainerSummary) -> Option<u32> {
    found.labels.as_ref()?.get(VERSION)?.parse().ok()
}
