//! What a target must not do: miss drift, apply stale plans, touch what is not ours, promise what it does not offer.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::case::{Case, edited};
use super::changes_nothing as nothing;
use super::fixture::{Broken, Checked, Profile, TargetFixture};
use crate::id::{ServiceName, StackName};
use crate::target::{
    Applied, Condition, Dependency, Desired, Discovered, Exec, Feature, LogOptions, PlanError, Promote, Replicas,
    Service, ServiceRef, Stack, TargetError, TargetErrorKind, TargetExt,
};

/// What changes behind the target's back is found, and the next apply puts it right.
///
/// # Errors
/// The rule that was broken.
pub async fn drift_is_found(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::drift_is_found(case, &*beneath).await;
    }
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
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::stale_plans_are_refused(case, &*beneath).await;
    }
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

/// What has a name like ours, or the same name and another owner, is never touched.
///
/// # Errors
/// The rule that was broken.
pub async fn decoys_survive(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::decoys_survive(case, &*beneath).await;
    }
    let neighbour = fixture.neighbour().await;
    let stack = fixture.stack();
    // Names that a careless prefix match takes for ours. Ports would clash, so the decoys have none.
    let mut decoys = Vec::new();
    for name in
        [stack.name.to_string(), format!("{}-2", stack.name), format!("{}_", stack.name), format!("_{}", stack.name)]
    {
        let Ok(name) = StackName::new(&name) else { continue };
        let services = portless(&stack);
        decoys.push(Stack::new(name, services));
    }
    for decoy in &decoys {
        neighbour.deploy(&case.cx("decoy"), decoy.clone()).await?;
        case.checked.applies += 1;
    }
    let own = decoys[1].clone();
    case.deploy("near", &own).await?;
    case.deploy("ours", &stack).await?;
    case.deploy("ours again", &fixture.changed()).await?;
    let listed = case.target.stacks(&case.cx("list")).await?;
    let mut ours = vec![own.name.clone(), stack.name.clone()];
    ours.sort();
    case.holds(listed == ours, "our stacks are listed, and nobody else's", &listed)?;
    case.target.destroy(&case.cx("gone"), &stack.name).await?;
    let listed = case.target.stacks(&case.cx("list")).await?;
    case.holds(listed == [own.name.clone()], "a stack that is gone is not listed", &listed)?;
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

pub(super) fn portless(stack: &Stack) -> BTreeMap<ServiceName, Service> {
    let keep = stack.services.iter().filter(|(_, service)| service.ports.is_empty() && service.depends_on.is_empty());
    keep.map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// Names at the edge of what is allowed are names, not paths, options or patterns.
///
/// # Errors
/// The rule that was broken.
pub async fn hostile_names_are_only_names(fixture: &dyn TargetFixture) -> Result<Checked, Broken> {
    let mut case = Case::on(fixture).await;
    if let Profile::ChangesNothing { beneath } = fixture.profile() {
        return nothing::hostile_names_are_only_names(case, &*beneath).await;
    }
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
        let stack = Stack::new(name, names.map(|name| (name, template.clone())).collect());
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
    match fixture.profile() {
        Profile::Whole => case.deploy("one", &stack).await?,
        Profile::ChangesNothing { beneath } => beneath.deploy(&case.cx("one"), stack.clone()).await?,
    };
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
