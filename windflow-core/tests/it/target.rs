//! The target suite over the target in memory, and the trouble that can be scripted there.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_core::conformance::target::TargetFixture;
use windflow_core::target::{
    Applied, Condition, Context, Dependency, EnvValue, MEMORY_HEALTH_LABEL, MemoryTarget, PlanError, Process, Service,
    Stack, Target, TargetErrorKind, TargetExt,
};
use windflow_core::{ServiceName, StackName};

struct Memory(MemoryTarget);

impl Memory {
    fn new() -> Self {
        Self(MemoryTarget::new("memory".parse().unwrap(), "ours".parse().unwrap()))
    }
}

fn service(command: &str) -> Service {
    let process = Process { command: vec![command.to_owned()], search: Vec::new(), working_dir: None };
    Service { process: Some(process), ..Service::default() }
}

fn stack(version: &str) -> Stack {
    let mut web = service("web");
    web.environment.insert("VERSION".to_owned(), EnvValue::Plain(version.to_owned()));
    let need = Dependency { condition: Condition::ServiceHealthy, required: true, restart: false };
    web.depends_on.insert(ServiceName::new("db").unwrap(), need);
    let services = [("web", web), ("db", service("db"))];
    Stack {
        name: StackName::new("shop").unwrap(),
        services: services.map(|(name, service)| (ServiceName::new(name).unwrap(), service)).into(),
    }
}

#[async_trait]
impl TargetFixture for Memory {
    async fn target(&self) -> Arc<dyn Target> {
        Arc::new(self.0.clone())
    }
    async fn neighbour(&self) -> Arc<dyn Target> {
        Arc::new(self.0.for_owner("theirs".parse().unwrap()))
    }
    fn stack(&self) -> Stack {
        stack("1")
    }
    fn changed(&self) -> Stack {
        stack("2")
    }
    fn unhealthy(&self) -> Option<Stack> {
        let mut stack = stack("3");
        stack.services.get_mut("web").unwrap().labels.insert(MEMORY_HEALTH_LABEL.to_owned(), "failed".to_owned());
        Some(stack)
    }
    async fn meddle(&self, stack: &StackName) {
        let web = ServiceName::new("web").unwrap();
        let there = self.0.meddle(stack, &web, |service| {
            service.environment.insert("VERSION".to_owned(), EnvValue::Plain("meddled".to_owned()));
        });
        assert!(there);
    }
    async fn leftovers(&self, _: &StackName) -> Vec<String> {
        Vec::new()
    }
    fn mutations(&self) -> Option<u64> {
        Some(self.0.mutations())
    }
}

windflow_core::target_conformance!(Memory::new());

#[tokio::test]
async fn a_call_that_fails_or_loses_its_answer_is_finished_by_the_next_apply() {
    let target = Memory::new().0;
    let cx = Context::new("key");
    for n in 1..=3 {
        target.faults().fail_at(n);
        let failed = target.deploy(&cx, stack("1")).await;
        assert!(matches!(failed, Err(PlanError::Target(ref e)) if e.kind == TargetErrorKind::Transient), "{failed:?}");
        target.faults().cut_at(1);
        let cut = target.deploy(&cx, stack("1")).await;
        assert!(matches!(cut, Err(PlanError::Target(ref e)) if e.kind == TargetErrorKind::Unknown), "{cut:?}");
        target.deploy(&cx, stack("1")).await.unwrap();
        assert_eq!(target.revisions(&cx, &stack("1").name).await.unwrap().len(), 1);
        target.destroy(&cx, &stack("1").name).await.unwrap();
    }
    target.faults().set_unreachable(true);
    let error = target.observe(&cx, &stack("1").name).await.unwrap_err();
    assert!(error.is_connection(), "{error}");
}

#[tokio::test]
async fn what_another_owner_runs_can_be_adopted() {
    let ours = Memory::new().0;
    let theirs = ours.for_owner("theirs".parse().unwrap());
    let cx = Context::new("key");
    theirs.deploy(&cx, stack("1")).await.unwrap();
    let found = ours.discover(&cx).await.unwrap();
    let revision = ours.adopt(&cx, &found[0], &windflow_core::target::Desired::Present(stack("1"))).await.unwrap();
    assert!(revision.adopted);
    assert_eq!(ours.deploy(&cx, stack("1")).await.unwrap(), Applied::Nothing);
    assert!(theirs.observe(&cx, &stack("1").name).await.unwrap().is_absent());
}
