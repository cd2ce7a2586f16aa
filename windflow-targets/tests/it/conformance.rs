//! The suite every target passes, over the host kind.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use windflow_core::StackName;
use windflow_core::conformance::target::TargetFixture;
use windflow_core::target::{Condition, Dependency, Health, Stack, Target};
use windflow_targets::host::HostTarget;

use crate::place::{Place, free_port, kill, observe, pid_of, program, sh, stack, web};

struct Host {
    place: Place,
    port: u16,
    /// A file that holds nonsense now, and what is really in it.
    spoilt: Mutex<Option<(PathBuf, Vec<u8>)>>,
}

impl Host {
    fn new() -> Self {
        Self { place: Place::new(), port: free_port(), spoilt: Mutex::new(None) }
    }

    fn version(&self, version: &str) -> Stack {
        let mut web = web(self.port, version);
        let need = Dependency { condition: Condition::ServiceHealthy, required: true, restart: false };
        web.depends_on.insert("db".parse().unwrap(), need);
        stack([("web", web), ("db", sh("echo up; exec sleep 1000"))])
    }
}

#[async_trait]
impl TargetFixture for Host {
    async fn target(&self) -> Arc<dyn Target> {
        Arc::new(self.place.target())
    }
    async fn neighbour(&self) -> Arc<dyn Target> {
        Arc::new(HostTarget::new(self.place.config("ours.")))
    }
    fn stack(&self) -> Stack {
        self.version("1")
    }
    fn changed(&self) -> Stack {
        self.version("2")
    }
    fn unhealthy(&self) -> Option<Stack> {
        let mut stack = self.version("3");
        stack.services.get_mut("web").unwrap().process = program(&["sh", "-c", "echo broken; exit 3"]).process;
        Some(stack)
    }
    async fn meddle(&self, _: &StackName) {
        let (target, stack) = (self.place.target(), self.stack());
        kill(pid_of(&target, &stack, "db").await);
        // The end of a service is noticed by its supervisor.
        while !matches!(observe(&target, &stack).await.services["db"].health, Health::Failed { .. }) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    async fn leftovers(&self, stack: &StackName) -> Vec<String> {
        let dir = self.place.root.join("ours").join(stack.as_str());
        let mut left: Vec<String> = dir.exists().then(|| dir.display().to_string()).into_iter().collect();
        left.extend(self.place.marked(&dir).into_iter().map(|pid| format!("process {pid}")));
        left
    }
    fn cuts(&self) -> usize {
        16
    }
    /// What is on the disk of a machine is what it answers. The other files may be lost: what runs is found by its marks.
    async fn hostile(&self, n: usize) -> bool {
        let file = self.place.dir(&self.stack()).join("current.json");
        let before = std::fs::read(&file).unwrap();
        let nonsense = match n {
            0 => b"\xff\x00nonsense".to_vec(),
            1 => before[..before.len() / 2].to_vec(),
            2 => b"[1, 2, 3]".to_vec(),
            3 => Vec::new(),
            _ => return false,
        };
        std::fs::write(&file, nonsense).unwrap();
        *self.spoilt.lock().unwrap() = Some((file, before));
        true
    }
    async fn heal(&self) {
        if let Some((file, before)) = self.spoilt.lock().unwrap().take() {
            std::fs::write(file, before).unwrap();
        }
    }
}

windflow_core::target_conformance!(Host::new());
