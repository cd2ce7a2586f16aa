//! The suite every target passes, over a real Swarm.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_bed::{Cut, Fault};
use windflow_core::StackName;
use windflow_core::conformance::target::{Foreign, TargetFixture};
use windflow_core::target::{Condition, Dependency, Desired, Rollout, Stack, Strategy, Target};

use crate::nonsense::NONSENSE;

use super::place::{Place, docker, docker_says, marked, port, sh, web};

struct Swarm {
    place: Place,
    port: u16,
}

impl Swarm {
    fn new() -> Self {
        Self { place: Place::new(), port: port() }
    }

    fn version(&self, version: &str) -> Stack {
        let mut web = web(self.port, version);
        let need = Dependency { condition: Condition::ServiceHealthy, required: true, restart: false };
        web.depends_on.insert("db".parse().unwrap(), need);
        self.place.stack([("web", web), ("db", sh("echo up; exec sleep 1000"))])
    }
}

#[async_trait]
impl TargetFixture for Swarm {
    async fn target(&self) -> Arc<dyn Target> {
        Arc::new(self.place.target())
    }
    async fn neighbour(&self) -> Arc<dyn Target> {
        Arc::new(self.place.neighbour())
    }
    fn stack(&self) -> Stack {
        self.version("1")
    }
    fn changed(&self) -> Stack {
        self.version("2")
    }
    fn unhealthy(&self) -> Option<Stack> {
        let mut stack = self.version("3");
        stack.services.get_mut("web").unwrap().command = sh("echo broken; exit 3").command;
        Some(stack)
    }
    async fn meddle(&self, _: &StackName) {
        let docker = docker().await;
        let mut spec = self.place.spec(&docker, "db").await;
        let container = spec.task_template.as_mut().unwrap().container_spec.as_mut().unwrap();
        container.env = Some(vec!["MEDDLED=yes".to_owned()]);
        self.place.put(&docker, "db", spec).await;
    }
    async fn leftovers(&self, stack: &StackName) -> Vec<String> {
        let left = marked(&docker().await, &self.place.owner, Some(stack.as_str())).await;
        left.into_iter().map(|(kind, id)| format!("{kind} {id}")).collect()
    }
    fn mutations(&self) -> Option<u64> {
        u64::try_from(self.place.proxy.mutations()).ok()
    }
    fn cuts(&self) -> usize {
        // Where each one is cut, there is no end to it: a case ends when a verb has no more calls.
        if std::env::var_os("WINDFLOW_ALL_CUTS").is_some() { 200 } else { 6 }
    }
    async fn cut_at(&self, n: u64) -> bool {
        let when = if n.is_multiple_of(2) { Cut::Before } else { Cut::After };
        self.place.proxy.cut_at(usize::try_from(n).unwrap(), when);
        true
    }
    async fn hostile(&self, n: usize) -> bool {
        let Some(nonsense) = NONSENSE.get(n) else { return false };
        self.place.proxy.fail(Fault::Nonsense(nonsense)).unwrap();
        true
    }
    async fn heal(&self) {
        self.place.proxy.heal().unwrap();
    }
    fn staged(&self) -> Option<[Stack; 3]> {
        let blue_green = |version: &str| {
            let rollout = Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() };
            let mut stack = self.version(version);
            stack.services.values_mut().for_each(|service| {
                // Two sets cannot publish one port.
                service.ports.clear();
                service.rollout = Some(rollout.clone());
            });
            stack
        };
        Some(["1", "2", "3"].map(blue_green))
    }
    async fn foreign(&self) -> Option<Foreign> {
        let db = "{ image: 'wf-busybox:1', stop_grace_period: 100ms, deploy: { endpoint_mode: dnsrr }, \
                  command: [sh, -c, 'exec sleep 1000'] }";
        let file = std::env::temp_dir().join(format!("{}.yaml", self.place.stack));
        std::fs::write(&file, format!("{{ version: '3.8', services: {{ db: {db} }} }}")).unwrap();
        let path = file.to_string_lossy();
        docker_says(&["stack", "deploy", "--resolve-image", "never", "-c", &path, &self.place.stack]);
        std::fs::remove_file(&file).unwrap();
        let label = format!("label=com.docker.stack.namespace={}", self.place.stack);
        let running = || docker_says(&["ps", "-q", "--no-trunc", "--filter", &label]);
        while running().is_empty() || !docker_says(&["stack", "services", &self.place.stack]).contains("1/1") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let desired = self.place.stack([("db", sh("exec sleep 1000"))]);
        Some(Foreign {
            name: desired.name.clone(),
            desired: Desired::Present(desired),
            instances: running().lines().map(str::to_owned).collect(),
        })
    }
}

windflow_core::target_conformance!(Swarm::new());
