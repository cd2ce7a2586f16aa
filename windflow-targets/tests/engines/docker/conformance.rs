//! The suite every target passes.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_bed::{Cut, Fault};
use windflow_core::conformance::target::{Broken, Foreign, TargetFixture};
use windflow_core::target::{Command, Condition, Context, Desired, PlanError, Rollout, Stack, Strategy, Target};
use windflow_core::{OwnerId, StackName};
use windflow_targets::docker::Endpoint;

use crate::nonsense::NONSENSE;

use super::calls::has_lost_count;
use super::place::{Place, cx, endpoint, idle, needing, shell, stack, with_check, with_variable};

/// The suite on an engine, whatever answers there as a Docker Engine does.
pub struct OnEngine {
    place: Place,
    theirs: Place,
    /// Whether the engine runs health checks.
    checks: bool,
    cuts: usize,
}

impl OnEngine {
    fn docker() -> Self {
        // Where each one is cut, there is no end to it: a case ends when a verb has no more calls.
        let cuts = if std::env::var_os("WINDFLOW_ALL_CUTS").is_some() { 200 } else { 6 };
        Self::new(&endpoint(), true, cuts)
    }

    pub fn new(endpoint: &Endpoint, checks: bool, cuts: usize) -> Self {
        let (place, mut theirs) = (Place::on(endpoint.clone()), Place::on(endpoint.clone()));
        theirs.owner = OwnerId::new(format!("{}.", place.owner)).unwrap();
        Self { place, theirs, checks, cuts }
    }

    fn version(&self, version: &str) -> Stack {
        let db = if self.checks { with_check(idle(), "true") } else { idle() };
        let web = needing(with_variable(idle(), "VERSION", version), "db", Condition::ServiceHealthy);
        stack("shop", [("db", db), ("web", web)])
    }
}

#[async_trait]
impl TargetFixture for OnEngine {
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
        let id = self.place.docker(&[&["ps", "-q"][..], &filters[..]].concat());
        self.place.docker(&["rm", "-f", &id]);
    }
    async fn leftovers(&self, stack: &StackName) -> Vec<String> {
        self.place.marked(Some(stack))
    }
    fn context(&self, key: &str) -> Context {
        cx(key)
    }
    fn cuts(&self) -> usize {
        self.cuts
    }
    fn mutations(&self) -> Option<u64> {
        u64::try_from(self.place.proxy.mutations()).ok()
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
            let mut stack = self.version(version);
            stack.name = "staged".parse().unwrap();
            let rollout = Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() };
            stack.services.values_mut().for_each(|service| service.rollout = Some(rollout.clone()));
            stack
        };
        Some(["1", "2", "3"].map(blue_green))
    }
    /// An engine that has lost count of a network: seen about once in some hundred cuts, and told apart in the other tests
    /// that cut, too. It removes that network for nobody until it starts anew, which others here would not survive.
    fn is_known_defect(&self, broken: &Broken) -> bool {
        matches!(broken, Broken::Plan(PlanError::Target(error)) if has_lost_count(error))
    }
    async fn foreign(&self) -> Option<Foreign> {
        let project = self.place.owner.as_str();
        let file = "services: { db: { image: 'wf-busybox:1', command: [sleep, '100000'], stop_grace_period: 1s } }";
        self.place.compose(project, file, &["up", "--detach", "--wait", "--pull", "never"]);
        let ids = self.place.compose(project, file, &["ps", "--quiet"]);
        let mut db = idle();
        db.command = Some(Command::Argv(["sleep", "100000"].map(str::to_owned).into()));
        let shop = stack(project, [("db", db)]);
        Some(Foreign {
            name: shop.name.clone(),
            desired: Desired::Present(shop),
            instances: ids.lines().map(str::to_owned).collect(),
        })
    }
}

windflow_core::target_conformance!(OnEngine::docker());
