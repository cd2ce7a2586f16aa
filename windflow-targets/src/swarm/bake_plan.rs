//! What a plan says of a revision that is staged, or would be.

use std::collections::BTreeSet;

use bollard::models::{EndpointSpecModeEnum, Service as Theirs};
use windflow_core::ServiceName;
use windflow_core::target::{Change, ChangeKind, Context, Plan, PlanError, Service, Stack, diff};

use super::bake::sick;
use super::jobs::is_job;
use super::look::Look;
use super::parts;
use crate::engine::staged::{Meant, Staged, is_blue_green};
use crate::engine::values::Values;

/// The services of which an apply of this stack keeps the old set: those whose tasks it would replace.
pub(super) fn to_stage(stack: &Stack, look: &Look, changes: &[Change], values: &Values) -> BTreeSet<ServiceName> {
    let Some(current) = look.records.base().filter(|current| !diff::is_revision(stack, current)) else {
        return BTreeSet::new();
    };
    let asked = stack
        .services
        .iter()
        .filter(|(name, service)| is_blue_green(service) && current.stack.services.contains_key(*name));
    let replaced = asked.filter(|(name, service)| {
        let is_told = |change: &Change| change.service.as_ref() == Some(*name) && change.kind == ChangeKind::Replace;
        let live = look.service(name);
        live.is_some_and(|live| changes.iter().any(is_told) || has_other_parts(live, service, stack, look, values))
    });
    replaced.map(|(name, _)| name.clone()).collect()
}

/// Whether a service would be led over to another network, or to a config or secret with another content. That is asked of
/// what it has itself: others may have been led over already.
fn has_other_parts(live: &Theirs, service: &Service, stack: &Stack, look: &Look, values: &Values) -> bool {
    let task = live.spec.as_ref().and_then(|spec| spec.task_template.as_ref());
    let container = task.and_then(|task| task.container_spec.as_ref());
    let configs = container.into_iter().flat_map(|found| found.configs.iter().flatten());
    let secrets = container.into_iter().flat_map(|found| found.secrets.iter().flatten());
    let used: BTreeSet<&str> = configs
        .filter_map(|file| file.config_id.as_deref())
        .chain(secrets.filter_map(|file| file.secret_id.as_deref()))
        .collect();
    let other_file = parts::files(look).iter().filter(|file| used.contains(file.id.as_str())).any(|file| {
        let (kind, name) = file.path.split_once('.').unwrap_or_default();
        let wanted = if kind == "configs" { stack.configs.get(name) } else { stack.secrets.get(name) };
        let content = values.file(&file.path);
        wanted.zip(content).is_some_and(|(wanted, content)| !file.is(wanted, content))
    });
    let on: BTreeSet<&str> = task
        .into_iter()
        .flat_map(|task| task.networks.iter().flatten())
        .filter_map(|network| network.target.as_deref())
        .collect();
    let other_network = look.our_networks().into_iter().any(|(name, network)| {
        let is_asked = service.networks.contains_key(&name) || (service.networks.is_empty() && name == "default");
        let wanted = stack.networks.get(&name).cloned().unwrap_or_default();
        let is_on = network.id.as_deref().is_some_and(|id| on.contains(id));
        is_asked && is_on && parts::network_in_force(network, stack.networks.get(&name)) != wanted
    });
    other_file || other_network
}

/// What a plan says of what is staged, or would be.
pub(super) fn plan_beside(plan: &mut Plan, stack: &Stack, look: &Look, values: &Values) -> Result<(), PlanError> {
    let current = look.records.current();
    if let Some(staged) = look.records.staged() {
        for name in look.lost() {
            plan.degradations.push(Staged::told_lost(name));
        }
        return Ok(staged.plan(plan, stack, current)?);
    }
    let names = to_stage(stack, look, &plan.changes, values);
    let problems: Vec<(String, String)> = names.iter().flat_map(|name| in_the_way(name, stack, look)).collect();
    if !problems.is_empty() {
        let target = plan.target.clone();
        return Err(PlanError::Refused { target, stack: stack.name.clone(), problems });
    }
    if let (Some(current), false) = (current, names.is_empty()) {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        plan.degradations.push(format!(
            "rollout: a new set of {} takes the traffic beside the old one; blue revision {} is kept until promoted; a Swarm \
             gives tasks other names by replacing them, so both sets begin once more when the traffic goes over; and the \
             Swarm calls the new set otherwise: names like 'stack_service' lead to the old one until it goes",
            names.join(", "),
            current.number
        ));
    }
    Ok(())
}

/// What keeps the set of this service that is there from being kept, as path and sentence.
pub(super) fn in_the_way(name: &ServiceName, stack: &Stack, look: &Look) -> Vec<(String, String)> {
    let Some(live) = look.service(name) else { return Vec::new() };
    let first = "'blue_green' keeps it: apply this change with 'rolling' or 'recreate' first";
    let mut found = Vec::new();
    let endpoint = live.spec.as_ref().and_then(|spec| spec.endpoint_spec.clone()).unwrap_or_default();
    if is_job(live) {
        found.push((format!("services.{name}.mode"), format!("what is there is a job, and {first}")));
    } else if endpoint.mode != Some(EndpointSpecModeEnum::DNSRR) {
        let why =
            format!("what is there has a virtual address, which keeps the name as long as it is there, and {first}");
        found.push((format!("services.{name}.endpoint_mode"), why));
    }
    let held = live.endpoint.as_ref().and_then(|endpoint| endpoint.ports.clone());
    let held = held.into_iter().chain(endpoint.ports).flatten().filter_map(|port| port.published_port);
    let held: BTreeSet<i64> = held.collect();
    for (other, service) in &stack.services {
        for (n, port) in service.ports.iter().enumerate() {
            if let Some(port) = port.published.filter(|port| held.contains(&i64::from(*port))) {
                let why = format!("the old set of '{name}' publishes port {port}, and {first}");
                found.push((format!("services.{other}.ports[{n}]"), why));
            }
        }
    }
    found
}

/// What an apply would do about what is staged already.
pub(super) fn baking_changes(cx: &Context, stack: &Stack, look: &Look, changes: &mut Vec<Change>) {
    for (name, set) in look.left_over() {
        let called = set.spec.as_ref().and_then(|spec| spec.name.clone()).unwrap_or_default();
        let change = Change::new(ChangeKind::Delete, format!("services.{name}")).of(name);
        changes.push(change.note(format!("{called} is left over, and goes")));
    }
    let Some(staged) = look.records.staged() else { return };
    if matches!(staged.meant(stack, look.records.current()), Meant::Staged) {
        let sick = sick(look).map(|why| cx.masker().mask(&why));
        staged.changes(changes, sick, look.is_led_over());
    }
}
