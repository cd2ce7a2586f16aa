//! What a plan says of a revision that is staged, or would be. Pure.

use std::collections::BTreeSet;

use windflow_core::ServiceName;
use windflow_core::target::{Change, ChangeKind, Plan, PlanError, Service, Stack, diff};

use super::bake::sick;
use super::look::Look;
use crate::engine::staged::{Meant, is_blue_green};

/// The services of which an apply of this stack keeps the old set: those whose tasks it would replace.
pub(super) fn to_stage(stack: &Stack, look: &Look, changes: &[Change]) -> BTreeSet<ServiceName> {
    let Some(current) = look.records.base().filter(|current| !diff::is_revision(stack, current)) else {
        return BTreeSet::new();
    };
    let stands = |name: &ServiceName| current.stack.services.contains_key(name) && look.service(name).is_some();
    let asked = stack.services.iter().filter(|(name, service)| is_blue_green(service) && stands(name));
    let touched = asked.filter(|(name, service)| changes.iter().any(|change| replaces(change, name, service)));
    touched.map(|(name, _)| name.clone()).collect()
}

/// Whether a change is one of what the tasks of a service are made of.
fn replaces(change: &Change, name: &ServiceName, service: &Service) -> bool {
    if change.service.as_ref() == Some(name) {
        return change.kind == ChangeKind::Replace;
    }
    let is_at = |part: &str| change.path == part || change.path.strip_prefix(part).is_some_and(|r| r.starts_with('.'));
    let files = [("configs", &service.configs), ("secrets", &service.secrets)];
    let mut parts =
        files.iter().flat_map(|(kind, files)| files.iter().map(move |file| format!("{kind}.{}", file.source)));
    let on_default = service.networks.is_empty().then(|| "networks.default".to_owned());
    let mut networks = service.networks.keys().map(|network| format!("networks.{network}")).chain(on_default);
    change.service.is_none()
        && change.kind != ChangeKind::Delete
        && (parts.any(|part| is_at(&part)) || networks.any(|network| is_at(&network)))
}

/// What a plan says of what is staged, or would be.
pub(super) fn plan_beside(plan: &mut Plan, stack: &Stack, look: &Look) -> Result<(), PlanError> {
    let current = look.records.current();
    if let Some(staged) = look.records.staged() {
        return Ok(staged.plan(plan, stack, current)?);
    }
    let names = to_stage(stack, look, &plan.changes);
    let problems: Vec<(String, String)> = names.iter().flat_map(|name| held(name, stack, look)).collect();
    if !problems.is_empty() {
        let target = plan.target.clone();
        return Err(PlanError::Refused { target, stack: stack.name.clone(), problems });
    }
    if let (Some(current), false) = (current, names.is_empty()) {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        plan.degradations.push(format!(
            "rollout: a new set of {} takes the traffic beside the old one; blue revision {} is kept until promoted; a Swarm \
             gives tasks other names by replacing them, so both sets begin once more when the traffic goes over",
            names.join(", "),
            current.number
        ));
    }
    Ok(())
}

/// The ports that services of the stack publish, and that the set of this service has which is kept.
fn held(name: &ServiceName, stack: &Stack, look: &Look) -> Vec<(String, String)> {
    let there = look.service(name).and_then(|live| live.endpoint.as_ref()?.ports.clone()).unwrap_or_default();
    let holds = |port: u16| there.iter().any(|held| held.published_port == Some(i64::from(port)));
    let asked = stack.services.iter().flat_map(|(other, service)| {
        service.ports.iter().enumerate().filter_map(move |(n, port)| Some((other, n, port.published?)))
    });
    asked
        .filter(|(_, _, port)| holds(*port))
        .map(|(other, n, port)| {
            let why = format!(
                "the old set of '{name}' publishes port {port}, and is kept with 'blue_green': apply that change with \
                 'rolling' or 'recreate'"
            );
            (format!("services.{other}.ports[{n}]"), why)
        })
        .collect()
}

/// What an apply would do about what is staged already.
pub(super) fn baking_changes(stack: &Stack, look: &Look, changes: &mut Vec<Change>) {
    let Some(staged) = look.records.staged() else {
        for (name, set) in look.beside.iter().filter_map(|set| Some((super::look::name_of(set)?, set))) {
            let called = set.spec.as_ref().and_then(|spec| spec.name.clone()).unwrap_or_default();
            let change = Change::new(ChangeKind::Delete, format!("services.{name}")).of(name);
            changes.push(change.note(format!("{called} is left over, and goes")));
        }
        return;
    };
    if matches!(staged.meant(stack, look.records.current()), Meant::Staged) {
        staged.changes(changes, sick(look), look.is_led_over());
    }
}
