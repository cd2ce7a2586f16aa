//! What every [`Target`] must do, as a suite anybody can run over theirs.
//!
//! Implement [`TargetFixture`] and write `windflow_core::target_conformance!(MyFixture::new());` in a test file: each
//! case becomes a test, on a fixture of its own. The test crate needs tokio with `macros` and `rt-multi-thread`.
//! Every case returns what it counted, and fails when it checked nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use async_trait::async_trait;
use futures_util::StreamExt as _;

use crate::id::{ServiceName, StackName};
use crate::target::{
    Applied, Condition, Context, Dependency, Desired, Discovered, EnvValue, Exec, Feature, LogOptions, Observed, Plan,
    PlanError, Promote, Replicas, Service, ServiceRef, Stack, Target, TargetError, TargetErrorKind, TargetExt,
};

/// A place of its own on which a target is proved. Whatever a case leaves there goes when the fixture is dropped.
#[async_trait]
pub trait TargetFixture: Send + Sync {
    /// The target. Two calls give handles to the same place and the same owner.
    async fn target(&self) -> Arc<dyn Target>;

    /// The same place as another owner sees it.
    async fn neighbour(&self) -> Arc<dyn Target>;

    /// A stack this target can run, with one or more services that become healthy.
    fn stack(&self) -> Stack;

    /// The same stack in another version: at least one service differs, and it becomes healthy too.
    fn changed(&self) -> Stack;

    /// A version of the stack that never becomes healthy; none when the target cannot tell.
    fn unhealthy(&self) -> Option<Stack>;

    /// Changes something of a stack behind the target's back, so that what runs is no longer what was applied.
    async fn meddle(&self, stack: &StackName);

    /// What is left of a stack outside what the target shows: directories, processes, objects with our mark.
    async fn leftovers(&self, stack: &StackName) -> Vec<String>;

    /// How many calls have changed something, when the fixture can count them.
    fn mutations(&self) -> Option<u64> {
        None
    }

    /// At how many points an apply is cut, at most. Each costs two applies.
    fn cuts(&self) -> usize {
        24
    }

    /// The context of a call under this key.
    fn context(&self, key: &str) -> Context {
        Context::new(key)
    }
}

/// What a case has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Applies that ran to their end.
    pub applies: usize,
    /// Applies that were cut.
    pub cuts: usize,
    /// Statements that were checked.
    pub checks: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks, {} applies, {} cuts", self.checks, self.applies, self.cuts)
    }
}

/// A rule that was broken, and how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// What should hold, and what was found.
    #[error("{rule}: {found}")]
    Rule {
        /// What should hold.
        rule: &'static str,
        /// What was found.
        found: String,
    },
    /// A call failed that should not.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl From<TargetError> for Broken {
    fn from(error: TargetError) -> Self {
        Self::Plan(error.into())
    }
}

/// One case on one fixture.
struct Case<'a> {
    fixture: &'a dyn TargetFixture,
    target: Arc<dyn Target>,
    checked: Checked,
}

impl<'a> Case<'a> {
    async fn on(fixture: &'a dyn TargetFixture) -> Self {
        Self { fixture, target: fixture.target().await, checked: Checked::default() }
    }

    fn cx(&self, key: &str) -> Context {
        self.fixture.context(key)
    }

    fn holds(&mut self, holds: bool, rule: &'static str, found: impl fmt::Debug) -> Result<(), Broken> {
        self.checked.checks += 1;
        if holds { Ok(()) } else { Err(Broken::Rule { rule, found: format!("{found:?}") }) }
    }

    async fn deploy(&mut self, key: &str, stack: &Stack) -> Result<Applied, Broken> {
        self.checked.applies += 1;
        Ok(self.target.deploy(&self.cx(key), stack.clone()).await?)
    }

    async fn observed(&self, stack: &StackName) -> Result<Observed, Broken> {
        Ok(self.target.observe(&self.cx("observe"), stack).await?)
    }

    /// Every service of the stack runs and is ready, the revision is recorded, and nothing is left to do.
    async fn settled(&mut self, stack: &Stack) -> Result<u64, Broken> {
        let observed = self.observed(&stack.name).await?;
        let names = |observed: &Observed| observed.services.keys().cloned().collect::<Vec<ServiceName>>();
        let wanted: Vec<ServiceName> = stack.services.keys().cloned().collect();
        self.holds(names(&observed) == wanted, "exactly the services of the stack are there", names(&observed))?;
        for (name, service) in &observed.services {
            self.holds(service.health.is_ready(), "an applied service is ready", (name, &service.health))?;
        }
        let current = observed.current.as_ref();
        let recorded = current.is_some_and(|current| current.hash == stack.hash());
        self.holds(recorded, "the applied stack is the current revision", current.map(|c| c.number))?;
        let plan = self.target.plan_for(&self.cx("again"), &Desired::Present(stack.clone())).await?;
        self.holds(plan.is_empty(), "a second apply plans nothing", &plan.changes)?;
        Ok(current.map_or(0, |current| current.number))
    }

    async fn gone(&mut self, stack: &StackName) -> Result<(), Broken> {
        let observed = self.observed(stack).await?;
        self.holds(observed.is_absent(), "nothing of a destroyed stack is observed", &observed)?;
        let left = self.fixture.leftovers(stack).await;
        self.holds(left.is_empty(), "nothing with our mark is left after a destroy", &left)
    }

    fn done(self) -> Result<Checked, Broken> {
        match self.checked.checks {
            0 => Err(Broken::Rule { rule: "a case checks something", found: "nothing was checked".to_owned() }),
            _ => Ok(self.checked),
        }
    }
}

/// An apply makes it so, and a second one does nothing.
///
/// # Errors
/// The rule that was broken.
pub async fn apply_converges(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let stack = fixture.stack();
    let absent = case.observed(&stack.name).await?;
    case.holds(absent.is_absent(), "a fresh place holds nothing", &absent)?;
    let plan = case.target.plan_for(&case.cx("first"), &Desired::Present(stack.clone())).await?;
    case.holds(plan.changes.len() >= stack.services.len(), "a first plan creates each service", &plan.changes)?;
    let still = case.observed(&stack.name).await?;
    case.holds(still.is_absent(), "planning changes nothing", &still)?;
    let applied = case.target.apply(&case.cx("first"), &plan).await?;
    case.holds(applied == Applied::Revision(Some(1)), "the first apply makes revision 1", &applied)?;
    case.settled(&stack).await?;
    let before = fixture.mutations();
    let again = case.deploy("second", &stack).await?;
    case.holds(again == Applied::Nothing, "a second apply has nothing to do", &again)?;
    let repeated = case.target.apply(&case.cx("first"), &plan).await?;
    let same = repeated == Applied::Revision(Some(1));
    case.holds(same, "the same plan under the same key gets the same answer", &repeated)?;
    case.holds(fixture.mutations() == before, "a second apply calls nothing that mutates", fixture.mutations())?;
    let kept = case.target.revisions(&case.cx("list"), &stack.name).await?;
    case.holds(kept.len() == 1 && kept[0].key == "first", "a repeated apply makes no revision", &kept)?;
    let probed = case.target.probe(&case.cx("probe")).await?;
    case.holds(!probed.architecture.is_empty(), "a probe tells the architecture", &probed)?;
    case.done()
}

/// Each sort of change is planned by name, applied, and planned no more.
///
/// # Errors
/// The rule that was broken.
pub async fn changes_are_planned_and_applied(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let first = fixture.stack();
    case.deploy("base", &first).await?;
    let mut versions = vec![fixture.changed()];
    let fields = case.target.capabilities().service_fields.clone();
    let Some(name) = first.services.keys().next().cloned() else { return case.done() };
    if fields.contains("environment") {
        versions.push(edited(&first, &name, |service| {
            service.environment.insert("CONFORMANCE".to_owned(), EnvValue::Plain("1".to_owned()));
        }));
    }
    if fields.contains("labels") {
        versions.push(edited(&first, &name, |service| {
            service.labels.insert("conformance".to_owned(), "1".to_owned());
        }));
    }
    for (n, version) in versions.iter().enumerate() {
        let plan = case.target.plan_for(&case.cx("look"), &Desired::Present(version.clone())).await?;
        case.holds(!plan.is_empty(), "a changed stack plans a change", n)?;
        let named = plan.changes.iter().all(|change| change.path == "revision" || change.path.starts_with("services."));
        case.holds(named, "a change names its path", &plan.changes)?;
        let text = serde_json::to_string(&plan).unwrap_or_default();
        let read: Option<Plan> = serde_json::from_str(&text).ok();
        case.holds(read.as_ref() == Some(&plan), "a plan is read back as it was written", &text)?;
        let applied = case.deploy(&format!("version-{n}"), version).await?;
        case.holds(matches!(applied, Applied::Revision(Some(_))), "a change makes a revision", &applied)?;
        case.settled(version).await?;
    }
    case.done()
}

/// Revisions are numbered from 1, the last ten are kept, and an older one can be made current again.
///
/// # Errors
/// The rule that was broken.
pub async fn revisions_roll_back(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let (first, second) = (fixture.stack(), fixture.changed());
    case.deploy("one", &first).await?;
    case.deploy("two", &second).await?;
    let kept = case.target.revisions(&case.cx("list"), &first.name).await?;
    let numbers: Vec<u64> = kept.iter().map(|revision| revision.number).collect();
    case.holds(numbers == [1, 2], "revisions are numbered from 1, oldest first", &numbers)?;
    let same = kept[0].stack == first && kept[1].stack == second;
    case.holds(same, "a revision holds the stack as it was applied", &kept)?;
    let plan = case.target.plan_rollback(&case.cx("three"), &first.name, None).await?;
    let applied = case.target.apply(&case.cx("three"), &plan).await?;
    case.holds(applied == Applied::Revision(Some(3)), "a rollback is a revision of its own", &applied)?;
    case.settled(&first).await?;
    let unknown = case.target.plan_rollback(&case.cx("four"), &first.name, Some(99)).await;
    let refused = matches!(&unknown, Err(PlanError::Target(error)) if error.kind == TargetErrorKind::NotFound);
    case.holds(refused, "a revision that is not kept is not found", &unknown)?;
    for n in 4..=13 {
        let version = if n % 2 == 0 { &second } else { &first };
        case.deploy(&format!("version-{n}"), version).await?;
    }
    let kept = case.target.revisions(&case.cx("list"), &first.name).await?;
    let numbers: Vec<u64> = kept.iter().map(|revision| revision.number).collect();
    case.holds(numbers == (4..=13).collect::<Vec<u64>>(), "the last ten revisions are kept", &numbers)?;
    case.done()
}

/// What changes behind the target's back is found, and the next apply puts it right.
///
/// # Errors
/// The rule that was broken.
pub async fn drift_is_found(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let stack = fixture.stack();
    case.deploy("one", &stack).await?;
    let none = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(none.is_empty(), "an untouched stack has not drifted", &none.changes)?;
    fixture.meddle(&stack.name).await;
    let drift = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(!drift.is_empty(), "a stack that was meddled with has drifted", &drift)?;
    case.deploy("two", &stack).await?;
    case.settled(&stack).await?;
    let plan = case.target.plan_restart(&case.cx("restart"), &stack.name, None, "nonce").await?;
    case.holds(plan.changes.len() == stack.services.len(), "a restart names each service", &plan.changes)?;
    let applied = case.target.apply(&case.cx("restart"), &plan).await?;
    case.holds(matches!(applied, Applied::Revision(Some(_))), "a restart is a revision", &applied)?;
    let none = case.target.drift(&case.cx("drift"), &stack.name).await?;
    case.holds(none.is_empty(), "a restart is no drift", &none.changes)?;
    let plan = case.target.plan_for(&case.cx("file"), &Desired::Present(stack)).await?;
    case.holds(plan.is_empty(), "the stack without the label plans nothing after a restart", &plan.changes)?;
    case.done()
}

/// A plan whose ground has moved is refused; a plan of another owner or target too.
///
/// # Errors
/// The rule that was broken.
pub async fn stale_plans_are_refused(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let (first, second) = (fixture.stack(), fixture.changed());
    let plan = case.target.plan_for(&case.cx("late"), &Desired::Present(second.clone())).await?;
    case.deploy("early", &first).await?;
    let late = case.target.apply(&case.cx("late"), &plan).await;
    let conflict = matches!(&late, Err(error) if error.kind == TargetErrorKind::Conflict);
    case.holds(conflict, "a plan on what someone else changed is a conflict", &late)?;
    case.settled(&first).await?;
    let neighbour = fixture.neighbour().await;
    let theirs = neighbour.apply(&case.cx("theirs"), &plan).await;
    let refused = matches!(&theirs, Err(error) if error.kind == TargetErrorKind::Refused);
    case.holds(refused, "a plan is bound to its owner", &theirs)?;
    case.done()
}

/// A destroyed stack is gone, and a second destroy does nothing.
///
/// # Errors
/// The rule that was broken.
pub async fn destroy_leaves_nothing(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let stack = fixture.stack();
    let nothing = case.target.destroy(&case.cx("early"), &stack.name).await?;
    case.holds(nothing == Applied::Nothing, "destroying what is not there does nothing", &nothing)?;
    case.gone(&stack.name).await?;
    case.deploy("one", &stack).await?;
    let gone = case.target.destroy(&case.cx("two"), &stack.name).await?;
    case.holds(gone == Applied::Revision(None), "a destroy ends in absence", &gone)?;
    case.gone(&stack.name).await?;
    let before = fixture.mutations();
    let again = case.target.destroy(&case.cx("three"), &stack.name).await?;
    case.holds(again == Applied::Nothing, "a second destroy does nothing", &again)?;
    case.holds(fixture.mutations() == before, "a second destroy calls nothing that mutates", before)?;
    let back = case.deploy("four", &stack).await?;
    case.holds(matches!(back, Applied::Revision(Some(_))), "a destroyed stack can be deployed again", &back)?;
    case.settled(&stack).await?;
    case.done()
}

/// An apply cut anywhere is finished by the next one.
///
/// # Errors
/// The rule that was broken.
pub async fn cut_applies_converge(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let (first, second) = (fixture.stack(), fixture.changed());
    case.deploy("base", &first).await?;
    let mut polls = 1;
    for n in 0..fixture.cuts() {
        let (from, to) = if n % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let key = format!("cut-{n}");
        let cx = case.cx(&key);
        let plan = case.target.plan_for(&cx, &Desired::Present(to.clone())).await?;
        case.holds(!plan.is_empty(), "the two versions differ", (&from.name, n))?;
        let whole = Cut { future: case.target.apply(&cx, &plan), polls }.await;
        let finished = whole.is_some();
        if finished {
            case.checked.applies += 1;
        } else {
            case.checked.cuts += 1;
        }
        // Once with the plan that was cut, once with a new one: a worker that lost its plan makes another.
        if n % 4 < 2 {
            case.target.apply(&cx, &plan).await?;
            case.checked.applies += 1;
        } else {
            case.deploy(&key, to).await?;
        }
        case.settled(to).await?;
        let kept = case.target.revisions(&cx, &to.name).await?;
        let made = kept.iter().filter(|revision| revision.key == key).count();
        case.holds(made == 1, "an apply that was cut makes one revision", (n, made))?;
        if finished && n % 4 == 3 {
            break;
        }
        polls = polls * 5 / 4 + 1;
    }
    // A destroy that is cut is finished by the next, too.
    for polls in [1, 3, 9] {
        let cx = case.cx("cut-destroy");
        let plan = case.target.plan_for(&cx, &Desired::Absent(first.name.clone())).await?;
        if (Cut { future: case.target.apply(&cx, &plan), polls }).await.is_none() {
            case.checked.cuts += 1;
        }
        case.target.destroy(&cx, &first.name).await?;
        case.gone(&first.name).await?;
        case.deploy(&format!("back-{polls}"), &first).await?;
    }
    case.holds(case.checked.cuts > 0, "an apply can be cut", case.checked)?;
    case.done()
}

/// A stack that does not become healthy is taken back by the target itself.
///
/// # Errors
/// The rule that was broken.
pub async fn unhealthy_stacks_are_taken_back(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let Some(unhealthy) = fixture.unhealthy() else {
        case.holds(true, "the target cannot tell health", ())?;
        return case.done();
    };
    let back = case.deploy("bad", &unhealthy).await?;
    let why = |applied: &Applied| matches!(applied, Applied::RolledBack { why, .. } if !why.is_empty());
    let to_nothing = matches!(back, Applied::RolledBack { to: None, .. }) && why(&back);
    case.holds(to_nothing, "a first apply that fails is taken down, with a reason", &back)?;
    case.gone(&unhealthy.name).await?;
    let stack = fixture.stack();
    case.deploy("good", &stack).await?;
    let back = case.deploy("worse", &unhealthy).await?;
    let to_base = matches!(back, Applied::RolledBack { to: Some(1), .. }) && why(&back);
    case.holds(to_base, "an apply that fails goes back to its base, with a reason", &back)?;
    case.settled(&stack).await?;
    let kept = case.target.revisions(&case.cx("list"), &stack.name).await?;
    case.holds(kept.len() == 1, "what never became healthy is no revision", kept.len())?;
    case.done()
}

/// What has a name like ours, or the same name and another owner, is never touched.
///
/// # Errors
/// The rule that was broken.
pub async fn decoys_survive(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let neighbour = fixture.neighbour().await;
    let stack = fixture.stack();
    // Names that a careless prefix match takes for ours. Ports would clash, so the decoys have none.
    let mut decoys = Vec::new();
    for name in
        [stack.name.to_string(), format!("{}-2", stack.name), format!("{}_", stack.name), format!("_{}", stack.name)]
    {
        let Ok(name) = StackName::new(&name) else { continue };
        let services = portless(&stack);
        decoys.push(Stack { name, services });
    }
    for decoy in &decoys {
        neighbour.deploy(&case.cx("decoy"), decoy.clone()).await?;
        case.checked.applies += 1;
    }
    let own = Stack { name: decoys[1].name.clone(), services: decoys[1].services.clone() };
    case.deploy("near", &own).await?;
    case.deploy("ours", &stack).await?;
    case.deploy("ours again", &fixture.changed()).await?;
    case.target.destroy(&case.cx("gone"), &stack.name).await?;
    case.settled(&own).await?;
    for decoy in &decoys {
        let seen = neighbour.observe(&case.cx("look"), &decoy.name).await?;
        let untouched = seen.current.as_ref().is_some_and(|current| current.number == 1)
            && seen.services.len() == decoy.services.len()
            && seen.services.values().all(|service| {
                service.health.is_ready() && service.instances.iter().all(|instance| instance.restarts == 0)
            });
        case.holds(untouched, "a stack of another owner survives", (&decoy.name, &seen))?;
    }
    if case.target.capabilities().has(Feature::Discover) {
        let found = case.target.discover(&case.cx("discover")).await?;
        let theirs =
            |name: &StackName| found.iter().any(|found: &Discovered| found.name == *name && found.owner.is_some());
        let all = decoys.iter().all(|decoy| theirs(&decoy.name));
        case.holds(all, "what runs and is not ours is discovered", &found)?;
    }
    case.target.destroy(&case.cx("tidy"), &own.name).await?;
    for decoy in &decoys {
        neighbour.destroy(&case.cx("tidy"), &decoy.name).await?;
    }
    case.done()
}

fn portless(stack: &Stack) -> BTreeMap<ServiceName, Service> {
    let keep = stack.services.iter().filter(|(_, service)| service.ports.is_empty() && service.depends_on.is_empty());
    keep.map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// Names at the edge of what is allowed are names, not paths, options or patterns.
///
/// # Errors
/// The rule that was broken.
pub async fn hostile_names_are_only_names(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let template = portless(&fixture.stack()).into_values().next();
    let Some(template) = template else { return case.done() };
    for (stack, services) in [
        ("_", ["a..", "a.0", "0"]),
        ("revisions", ["state.json", "apply.lock", "spec.json"]),
        (&*"x".repeat(63), [&*"y".repeat(63), "CON", "null"]),
    ] {
        let (Ok(name), names) = (StackName::new(stack), services.iter().filter_map(|name| ServiceName::new(name).ok()))
        else {
            continue;
        };
        let stack = Stack { name, services: names.map(|name| (name, template.clone())).collect() };
        case.deploy("hostile", &stack).await?;
        case.settled(&stack).await?;
        case.target.destroy(&case.cx("gone"), &stack.name).await?;
        case.gone(&stack.name).await?;
    }
    case.done()
}

/// Capabilities tell the truth: what is missing there is refused or unsupported, what is there is not.
///
/// # Errors
/// The rule that was broken.
pub async fn capabilities_tell_the_truth(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    let stack = fixture.stack();
    case.deploy("one", &stack).await?;
    let (target, cx) = (Arc::clone(&case.target), case.cx("ask"));
    let has = |feature| target.capabilities().has(feature);
    let unsupported = |error: Option<&TargetError>| error.is_some_and(|e| e.kind == TargetErrorKind::Unsupported);
    let Some(service) = stack.services.keys().next().cloned() else { return case.done() };
    let of = ServiceRef::service(stack.name.clone(), service.clone());

    let promoted = target.promote(&cx, &stack.name, Promote::Abort).await;
    let agrees = has(Feature::Promote) != unsupported(promoted.as_ref().err());
    case.holds(agrees, "promote agrees with the capabilities", &promoted)?;
    let ghost = Discovered::new(stack.name.clone(), Some("ghost".to_owned()), Vec::new(), serde_json::Value::Null);
    let adopted = target.adopt(&cx, &ghost, &Desired::Present(stack.clone())).await;
    let agrees = has(Feature::Adopt) != unsupported(adopted.as_ref().err());
    case.holds(agrees, "adopt agrees with the capabilities", &adopted)?;
    let found = target.discover(&cx).await;
    let agrees = has(Feature::Discover) != unsupported(found.as_ref().err());
    case.holds(agrees, "discover agrees with the capabilities", &found)?;
    let run = target.exec(&cx, &of, Exec::new(["true"])).await;
    let agrees = has(Feature::Exec) != unsupported(run.as_ref().err());
    case.holds(agrees, "exec agrees with the capabilities", &run)?;
    let line = target.logs(&cx, &of, LogOptions::default()).next().await;
    let agrees = has(Feature::Logs) != unsupported(line.as_ref().and_then(|line| line.as_ref().err()));
    case.holds(agrees, "logs agree with the capabilities", &line)?;
    let seen = target.watch(&cx, &stack.name).next().await;
    let told = matches!(&seen, Some(Ok(seen)) if !seen.is_absent());
    case.holds(told, "the first item of a watch comes at once", &seen)?;

    let many = edited(&stack, &service, |service| service.replicas = Replicas(u32::MAX));
    let refused = target.plan_for(&cx, &Desired::Present(many)).await;
    let by_path = matches!(&refused, Err(PlanError::Refused { problems, .. })
        if problems.iter().any(|(path, _)| path.contains(service.as_str()) && path.ends_with("replicas")));
    case.holds(by_path, "more replicas than offered are refused by path", &refused)?;
    let need = Dependency { condition: Condition::ServiceStarted, required: true, restart: false };
    let orphan = edited(&stack, &service, |service| {
        service.depends_on.extend(ServiceName::new("nobody").map(|nobody| (nobody, need)));
    });
    let refused = target.plan_for(&cx, &Desired::Present(orphan)).await;
    case.holds(matches!(refused, Err(PlanError::Refused { .. })), "a missing dependency is refused", &refused)?;
    case.done()
}

fn edited(stack: &Stack, service: &ServiceName, edit: impl FnOnce(&mut Service)) -> Stack {
    let mut stack = stack.clone();
    stack.services.get_mut(service).map(edit);
    stack
}

/// A future that is dropped when it has been polled so often.
struct Cut<F> {
    future: F,
    polls: usize,
}

impl<F: Future + Unpin> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match Pin::new(&mut self.future).poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // Not woken again when this was the last poll: ask for one more, which drops it.
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Runs the suite over a fixture: an expression that is evaluated anew for each case.
#[macro_export]
macro_rules! target_conformance {
    ($fixture:expr) => {
        $crate::target_conformance! { @ $fixture;
            apply_converges changes_are_planned_and_applied revisions_roll_back drift_is_found stale_plans_are_refused
            destroy_leaves_nothing cut_applies_converge unhealthy_stacks_are_taken_back decoys_survive
            hostile_names_are_only_names capabilities_tell_the_truth
        }
    };
    (@ $fixture:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() -> ::std::result::Result<(), $crate::conformance::target::Broken> {
            let fixture = $fixture;
            let checked = $crate::conformance::target::$case(&fixture).await?;
            println!("{}: {checked}", stringify!($case));
            Ok(())
        }
    )*};
}
