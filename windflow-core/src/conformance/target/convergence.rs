//! Applies converge: once, again, cut, taken back, gone.

use std::time::Duration;

use super::case::{Case, Cut, edited};
use super::changes_nothing as nothing;
use super::fixture::{Broken, Checked, Profile, TargetFixture};
use crate::id::ServiceName;
use crate::target::{
    Applied, Capabilities, Desired, EnvValue, FileMount, FileObject, FileSource, Mount, MountKind, Plan, PlanError,
    Replicas, Restart, RestartPolicy, Service, Stack, TargetErrorKind, TargetExt,
};

/// An apply makes it so, and a second one does nothing.
///
/// # Errors
/// The rule that was broken.
pub async fn apply_converges(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::apply_converges(case, &*beneath).await;
    }
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
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::changes_are_planned_and_applied(case, &*beneath).await;
    }
    let first = fixture.stack();
    case.deploy("base", &first).await?;
    let mut versions = vec![(fixture.changed(), Vec::new())];
    versions.extend(versions_of(&first, case.target.capabilities()));
    for (n, (version, paths)) in versions.iter().enumerate() {
        let plan = case.target.plan_for(&case.cx("look"), &Desired::Present(version.clone())).await?;
        case.holds(!plan.is_empty(), "a changed stack plans a change", n)?;
        let parts = ["services.", "networks.", "volumes.", "configs.", "secrets."];
        let is_path = |path: &str| path == "revision" || parts.iter().any(|part| path.starts_with(part));
        case.holds(plan.changes.iter().all(|change| is_path(&change.path)), "a change names its path", &plan.changes)?;
        let is_told = |path: &&String| plan.changes.iter().any(|change| change.path.starts_with(path.as_str()));
        let untold: Vec<&String> = paths.iter().filter(|path| !is_told(path)).collect();
        case.holds(untold.is_empty(), "each field that changes is named", (&untold, &plan.changes))?;
        let text = serde_json::to_string(&plan).unwrap_or_default();
        let read: Option<Plan> = serde_json::from_str(&text).ok();
        case.holds(read.as_ref() == Some(&plan), "a plan is read back as it was written", &text)?;
        let applied = case.deploy(&format!("version-{n}"), version).await?;
        case.holds(matches!(applied, Applied::Revision(Some(_))), "a change makes a revision", &applied)?;
        case.settled(version).await?;
    }
    case.done()
}

/// Versions of a stack, each with what its plan must name: such as differ in the fields of one class, one that has a service
/// more, and the stack itself, where all of that goes again.
fn versions_of(stack: &Stack, capabilities: &Capabilities) -> Vec<(Stack, Vec<String>)> {
    // Whose instances may be more than one: ports would clash.
    let portless = stack.services.iter().find(|(_, service)| service.ports.is_empty() && service.depends_on.is_empty());
    let Some(first) = stack.services.keys().next() else { return Vec::new() };
    let of = portless.map_or(first, |(name, _)| name);
    let mut versions = Vec::new();
    for class in CLASSES {
        let mut version = stack.clone();
        let mut paths = Vec::new();
        for (field, edit) in class.iter().filter(|(field, _)| capabilities.service_fields.contains(*field)) {
            let Some(service) = version.services.get_mut(of) else { continue };
            let before = service.clone();
            edit(service);
            // A service that has nothing of the kind has nothing to change.
            if *service != before {
                paths.push(format!("services.{of}.{field}"));
            }
        }
        if !paths.is_empty() {
            versions.push((version, paths));
        }
    }
    if capabilities.service_fields.contains("configs") && capabilities.stack_fields.contains("configs") {
        for content in ["one", "two"] {
            let mut version = edited(stack, of, |service| {
                let target = Some("/etc/conformance".to_owned());
                service.configs.push(FileMount { source: "conformance".to_owned(), target, ..FileMount::default() });
            });
            let source = Some(FileSource::Content(content.to_owned()));
            version.configs.insert("conformance".to_owned(), FileObject { source, ..FileObject::default() });
            versions.push((version, vec!["configs.conformance".to_owned()]));
        }
    }
    if let Some((name, service)) = portless {
        if capabilities.service_fields.contains("replicas") && capabilities.max_replicas > 1 {
            let more = edited(stack, name, |service| service.replicas = Replicas(2));
            versions.push((more, vec![format!("services.{name}.replicas")]));
        }
        if let Ok(more) = ServiceName::new("conformance") {
            let mut grown = stack.clone();
            grown.services.insert(more, service.clone());
            versions.push((grown, vec!["services.conformance".to_owned()]));
        }
        versions.push((stack.clone(), Vec::new()));
    }
    versions
}

type Edit = (&'static str, fn(&mut Service));

/// The fields of a service by what they are about; those of a class are changed together, and each must be named.
const CLASSES: [&[Edit]; 6] = [
    // What is told to people and to the program.
    &[
        ("environment", |service| {
            service.environment.insert("CONFORMANCE".to_owned(), EnvValue::Plain("1".to_owned()));
        }),
        ("labels", |service| drop(service.labels.insert("conformance".to_owned(), "1".to_owned()))),
    ],
    // How it ends and begins again.
    &[
        ("stop_signal", |service| service.stop_signal = Some("SIGINT".to_owned())),
        ("stop_grace_period", |service| service.stop_grace_period = Some(Duration::from_secs(3))),
        ("restart", |service| {
            service.restart = RestartPolicy { policy: Restart::OnFailure, max_attempts: Some(7), ..service.restart };
        }),
        ("healthcheck", |service| {
            if let Some(check) = &mut service.healthcheck {
                check.retries = Some(check.retries() + 1);
            }
        }),
    ],
    // As whom and where it runs.
    &[
        ("user", |service| service.user = Some("0".to_owned())),
        ("working_dir", |service| service.working_dir = Some("/tmp".to_owned())),
        ("hostname", |service| service.hostname = Some("conformance".to_owned())),
        ("init", |service| service.init = Some(!service.init.unwrap_or(false))),
    ],
    // What it may use and do.
    &[
        ("resources", |service| service.resources.limits.memory = Some(256 << 20)),
        ("cap_drop", |service| service.cap_drop.push("NET_RAW".to_owned())),
    ],
    // What is mounted.
    &[
        ("tmpfs", |service| service.tmpfs.push("/conformance".to_owned())),
        ("volumes", |service| service.volumes.push(Mount::new(MountKind::Tmpfs, None, "/conformance2"))),
    ],
    // Whom it knows, and by which names it is known.
    &[
        ("extra_hosts", |service| {
            service.extra_hosts.insert("conformance".to_owned(), vec!["10.1.2.3".to_owned()]);
        }),
        ("networks", |service| {
            let network = service.networks.keys().next().cloned().unwrap_or_else(|| "default".to_owned());
            service.networks.entry(network).or_default().aliases.push("conformance".to_owned());
        }),
    ],
];

/// Revisions are numbered from 1, the last ten are kept, and an older one can be made current again.
///
/// # Errors
/// The rule that was broken.
pub async fn revisions_roll_back(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::revisions_roll_back(case, &*beneath).await;
    }
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
    let plan = case.target.plan_restart(&case.cx("restart"), &first.name, None, "now").await?;
    let applied = case.target.apply(&case.cx("restart"), &plan).await?;
    case.holds(applied == Applied::Revision(Some(4)), "a restart is a revision of its own", &applied)?;
    let plan = case.target.plan_rollback(&case.cx("past"), &first.name, None).await?;
    let applied = case.target.apply(&case.cx("past"), &plan).await?;
    case.holds(applied == Applied::Revision(Some(5)), "a rollback goes past a restart", &applied)?;
    case.settled(&second).await?;
    let unknown = case.target.plan_rollback(&case.cx("four"), &first.name, Some(99)).await;
    let refused = matches!(&unknown, Err(PlanError::Target(error)) if error.kind == TargetErrorKind::NotFound);
    case.holds(refused, "a revision that is not kept is not found", &unknown)?;
    for n in 6..=13 {
        let version = if n % 2 == 0 { &first } else { &second };
        case.deploy(&format!("version-{n}"), version).await?;
    }
    let kept = case.target.revisions(&case.cx("list"), &first.name).await?;
    let numbers: Vec<u64> = kept.iter().map(|revision| revision.number).collect();
    case.holds(numbers == (4..=13).collect::<Vec<u64>>(), "the last ten revisions are kept", &numbers)?;
    case.done()
}

/// A destroyed stack is gone, and a second destroy does nothing.
///
/// # Errors
/// The rule that was broken.
pub async fn destroy_leaves_nothing(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::destroy_leaves_nothing(case, &*beneath).await;
    }
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
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::cut_applies_converge(case, &*beneath).await;
    }
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
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::unhealthy_stacks_are_taken_back(case, &*beneath).await;
    }
    let Some(unhealthy) = fixture.unhealthy() else { return case.unchecked("the target cannot tell health") };
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
