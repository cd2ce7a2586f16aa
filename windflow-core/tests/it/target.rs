//! The target suite over the target in memory, and the trouble that can be scripted there.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_core::conformance::target::{Foreign, TargetFixture};
use windflow_core::target::{
    Applied, Condition, Context, Dependency, Desired, EnvValue, MEMORY_HEALTH_LABEL, MemoryTarget, PlanError, Process,
    Promote, Rollout, Service, Stack, Strategy, Target, TargetErrorKind, TargetExt,
};
use windflow_core::{ServiceName, StackName};

#[derive(Clone)]
pub struct Memory(pub MemoryTarget);

impl Memory {
    pub fn new() -> Self {
        Self(MemoryTarget::new("memory".parse().unwrap(), "ours".parse().unwrap()))
    }
}

fn service(command: &str) -> Service {
    let process = Process { command: vec![command.to_owned()], search: Vec::new(), working_dir: None };
    Service { process: Some(process), ..Service::default() }
}

pub fn stack(version: &str) -> Stack {
    let mut web = service("web");
    web.environment.insert("VERSION".to_owned(), EnvValue::Plain(version.to_owned()));
    let need = Dependency { condition: Condition::ServiceHealthy, required: true, restart: false };
    web.depends_on.insert(ServiceName::new("db").unwrap(), need);
    let services = [("web", web), ("db", service("db"))];
    let services = services.map(|(name, service)| (ServiceName::new(name).unwrap(), service)).into();
    Stack::new(StackName::new("shop").unwrap(), services)
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
    async fn cut_at(&self, n: u64) -> bool {
        self.0.faults().cut_at(n);
        true
    }
    async fn heal(&self) {
        self.0.faults().heal();
    }
    fn staged(&self) -> Option<[Stack; 3]> {
        Some(["1", "2", "3"].map(|version| {
            let mut stack = stack(version);
            let rollout = Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() };
            stack.services.values_mut().for_each(|service| service.rollout = Some(rollout.clone()));
            stack
        }))
    }
    async fn foreign(&self) -> Option<Foreign> {
        let mut theirs = stack("1");
        theirs.name = StackName::new("found").unwrap();
        self.neighbour().await.deploy(&Context::new("theirs"), theirs.clone()).await.unwrap();
        let instances = vec!["db-0".to_owned(), "web-0".to_owned()];
        Some(Foreign { name: theirs.name.clone(), desired: Desired::Present(theirs), instances })
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

#[tokio::test(start_paused = true)]
async fn what_bakes_for_a_time_is_promoted_then_unless_its_health_is_lost() {
    let target = Memory::new().0;
    let baked = |version: &str| {
        let mut stack = stack(version);
        let bake = Some(std::time::Duration::from_millis(20));
        let rollout = Rollout { strategy: Some(Strategy::BlueGreen), bake, ..Rollout::default() };
        stack.services.get_mut("web").unwrap().rollout = Some(rollout);
        stack
    };
    target.deploy(&Context::new("1"), baked("1")).await.unwrap();
    assert_eq!(target.deploy(&Context::new("2"), baked("2")).await.unwrap(), Applied::Revision(Some(2)));
    let mut slow = baked("3");
    let web = slow.services.get_mut("web").unwrap();
    web.rollout.as_mut().unwrap().bake = Some(std::time::Duration::from_secs(3600));
    let (name, web) = (slow.name.clone(), ServiceName::new("web").unwrap());
    let deploying = tokio::spawn({
        let target = target.clone();
        async move { target.deploy(&Context::new("3"), slow).await }
    });
    while target.observe(&Context::new("look"), &name).await.unwrap().staged.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(target.meddle(&name, &web, |service| {
        service.labels.insert(MEMORY_HEALTH_LABEL.to_owned(), "unhealthy".to_owned());
    }));
    let back = deploying.await.unwrap().unwrap();
    assert_eq!(back, Applied::RolledBack { to: Some(2), why: "web: its label says so".to_owned() });
    let observed = target.observe(&Context::new("look"), &name).await.unwrap();
    assert!(observed.staged.is_none() && observed.current.unwrap().number == 2);
    assert_eq!(target.promote(&Context::new("late"), &name, Promote::Promote).await.unwrap(), Applied::Nothing);
}

#[tokio::test]
async fn where_earlier_revisions_are_the_same_stack_a_rollback_says_so() {
    let target = Memory::new().0;
    let name = stack("1").name;
    let told = async || match target.plan_rollback(&Context::new("back"), &name, None).await.unwrap_err() {
        PlanError::Target(error) => (error.message, error.hint.unwrap()),
        other => panic!("{other}"),
    };
    target.deploy(&Context::new("one"), stack("1")).await.unwrap();
    assert_eq!(told().await, ("no earlier revision is kept".to_owned(), "kept revisions: 1".to_owned()));
    let plan = target.plan_restart(&Context::new("restart"), &name, None, "anew").await.unwrap();
    target.apply(&Context::new("restart"), &plan).await.unwrap();
    let same = "every earlier revision that is kept is the same stack".to_owned();
    assert_eq!(told().await, (same, "kept revisions: 1, 2".to_owned()));
}
