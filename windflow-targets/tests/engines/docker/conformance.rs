//! The suite every target passes.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_bed::Cut;
use windflow_core::conformance::target::{Foreign, TargetFixture};
use windflow_core::target::{Condition, Context, Desired, Rollout, Stack, Strategy, Target};
use windflow_core::{OwnerId, StackName};

use super::place::{Place, compose, cx, docker, idle, needing, shell, stack, with_check, with_variable};

struct Docker {
    place: Place,
    theirs: Place,
}

impl Docker {
    fn new() -> Self {
        let (place, mut theirs) = (Place::new(), Place::new());
        theirs.owner = OwnerId::new(format!("{}.", place.owner)).unwrap();
        Self { place, theirs }
    }

    fn version(&self, version: &str) -> Stack {
        let web = needing(with_variable(idle(), "VERSION", version), "db", Condition::ServiceHealthy);
        stack("shop", [("db", with_check(idle(), "true")), ("web", web)])
    }
}

#[async_trait]
impl TargetFixture for Docker {
    async fn target(&self) -> Arc<dyn Target> {
        Arc::new(self.place.target())
    }
    async fn neighbour(&self) -> Arc<dyn Target> {
        Arc::new(self.theirs.target())
    }
    fn stack(&self) -> Stack {
        self.version("1")
    }
    fn changed(&self) -> Stack {
        self.version("2")
    }
    fn unhealthy(&self) -> Option<Stack> {
        let mut stack = self.version("3");
        let broken = needing(shell("echo broken; exit 3"), "db", Condition::ServiceHealthy);
        stack.services.insert("web".parse().unwrap(), broken);
        Some(stack)
    }
    async fn meddle(&self, stack: &StackName) {
        let owner = format!("label=windflow.owner={}", self.place.owner);
        let stack = format!("label=windflow.stack={stack}");
        let filters = ["--filter", &owner, "--filter", &stack, "--filter", "label=windflow.service=db"];
        let id = docker(&[&["ps", "-q"][..], &filters[..]].concat());
        docker(&["rm", "-f", &id]);
    }
    async fn leftovers(&self, stack: &StackName) -> Vec<String> {
        self.place.marked(Some(stack))
    }
    fn context(&self, key: &str) -> Context {
        cx(key)
    }
    fn cuts(&self) -> usize {
        // Where each one is cut, there is no end to it: a case ends when a verb has no more calls.
        if std::env::var_os("WINDFLOW_ALL_CUTS").is_some() { 200 } else { 6 }
    }
    fn mutations(&self) -> Option<u64> {
        u64::try_from(self.place.proxy.mutations()).ok()
    }
    async fn cut_at(&self, n: u64) -> bool {
        let when = if n.is_multiple_of(2) { Cut::Before } else { Cut::After };
        self.place.proxy.cut_at(usize::try_from(n).unwrap(), when);
        true
    }
    async fn heal(&self) {
        self.place.proxy.heal().unwrap();
    }
    fn staged(&self) -> Option<[Stack; 3]> {
        let blue_green = |version: &str| {
            let mut stack = self.version(version);
            stack.name = "staged".parse().unwrap();
            let rollout = Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() };
            stack.services.values_mut().for_each(|service| service.rollout = Some(rollout.clone()));
            stack
        };
        Some(["1", "2", "3"].map(blue_green))
    }
    async fn foreign(&self) -> Option<Foreign> {
        let project = self.place.owner.as_str();
        let file = "services: { db: { image: 'wf-busybox:1', stop_grace_period: 1s } }";
        compose(project, file, &["up", "--detach", "--wait", "--pull", "never"]);
        let ids = compose(project, file, &["ps", "--quiet"]);
        let mut db = windflow_core::target::Service { image: Some("wf-busybox:1".to_owned()), ..Default::default() };
        db.stop_grace_period = Some(std::time::Duration::from_secs(1));
        let shop = stack(project, [("db", db)]);
        Some(Foreign {
            name: shop.name.clone(),
            desired: Desired::Present(shop),
            instances: ids.lines().map(str::to_owned).collect(),
        })
    }
}

windflow_core::target_conformance!(Docker::new());
