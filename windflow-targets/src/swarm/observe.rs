//! From what was read of the Swarm to what is there, in our own terms. Pure.

use std::collections::BTreeMap;

use bollard::models::{EndpointPortConfigPublishModeEnum as Publish, Network, Service, ServiceSpec};
use serde_json::{Map, Value, json};
use windflow_core::target::{
    Baking, Capabilities, Endpoint, Health, Observed, ObservedService, RESTART_LABEL, Service as Ours, Stack, diff,
};
use windflow_core::{OwnerId, ServiceName, StackName};

use super::capability::OURS_ALONE;
use super::health::judge;
use super::look::{Look, label, name_of};
use super::parts;
use super::read::{Names, mount as read_mount, service as read};
use super::render::{Bound, memory, service as render};
use super::volumes;
use crate::engine::mark;
use crate::engine::values::Fingerprint;

/// What is there, as it is in force.
pub(super) fn observed(owner: &OwnerId, stack: &StackName, look: &Look, capabilities: &Capabilities) -> Observed {
    let mut observed = Observed::absent();
    observed.current = look.records.current().cloned();
    let staged = look.records.staged();
    observed.staged = staged.map(|staged| staged.revision.clone());
    observed.baking = staged.map(|staged| Baking::new(staged.since, staged.until));
    let recorded = observed.latest().map(|latest| latest.stack.clone());
    for service in &look.services {
        let (Some(name), Some(spec)) = (name_of(service), &service.spec) else { continue };
        let names = names(&name, look, recorded.as_ref());
        let asked = recorded.as_ref().and_then(|stack| stack.services.get(&name));
        let in_force = in_force(owner, stack, &name, spec, &names, asked);
        let judged = judge(service, look);
        let mut found = ObservedService::new(diff_owned(in_force, capabilities), judged.health);
        found.instances = judged.instances;
        found.endpoints = endpoints(service, look);
        observed.services.insert(name, found);
    }
    observed.retained = volumes::retained(look);
    observed.parts = parts::observed(stack, look, recorded.as_ref(), capabilities);
    if let Some(staged) = staged {
        // What only the kept revision has stays until it is decided, and is nothing of the staged one.
        let parts = diff::owned_parts(&staged.revision.stack, capabilities);
        observed.services.retain(|name, _| staged.revision.stack.services.contains_key(name));
        observed.parts.retain(|path, _| parts.contains_key(path) || path.starts_with("volumes."));
    }
    observed
}

fn diff_owned(mut spec: Map<String, Value>, capabilities: &Capabilities) -> Value {
    spec.retain(|field, _| capabilities.service_fields.contains(field));
    Value::Object(spec)
}

/// What the ids in the services of a stack are called in it.
pub(super) fn names(service: &ServiceName, look: &Look, stack: Option<&Stack>) -> Names {
    let mut names = Names { service: service.to_string(), ..Names::default() };
    let id = |network: &Network| network.id.clone().unwrap_or_default();
    names.networks = look.our_networks().into_iter().map(|(part, network)| (id(network), part)).collect();
    let external = stack.into_iter().flat_map(|stack| &stack.networks).filter(|(_, network)| network.external);
    for (name, network) in external {
        let real = network.name.as_deref().unwrap_or(name);
        let found = look.networks.iter().filter(|found| found.name.as_deref() == Some(real));
        names.networks.extend(found.map(|found| (id(found), name.clone())));
    }
    let part = |labels, kind: &str| label(labels, mark::PART)?.strip_prefix(kind).map(str::to_owned);
    for config in &look.configs {
        let labels = config.spec.as_ref().and_then(|spec| spec.labels.as_ref());
        names.configs.extend(config.id.clone().zip(part(labels, "configs.")));
    }
    for secret in &look.secrets {
        let labels = secret.spec.as_ref().and_then(|spec| spec.labels.as_ref());
        names.secrets.extend(secret.id.clone().zip(part(labels, "secrets.")));
    }
    names.volumes = stack.map(parts::volume_names).unwrap_or_default();
    // What is somebody else's has no label of ours: services say what it is really called.
    for container in look.services.iter().filter_map(container) {
        let files = [("configs", stack.map(|s| &s.configs)), ("secrets", stack.map(|s| &s.secrets))];
        for (kind, known) in files {
            let external = known.into_iter().flatten().filter(|(_, file)| file.is_external());
            for (name, file) in external {
                let real = file.name.as_deref().unwrap_or(name);
                match kind {
                    "configs" => names.configs.extend(container.configs.iter().flatten().filter_map(|used| {
                        (used.config_name.as_deref() == Some(real))
                            .then(|| Some((used.config_id.clone()?, name.clone())))?
                    })),
                    _ => names.secrets.extend(container.secrets.iter().flatten().filter_map(|used| {
                        (used.secret_name.as_deref() == Some(real))
                            .then(|| Some((used.secret_id.clone()?, name.clone())))?
                    })),
                }
            }
        }
    }
    names
}

fn container(service: &Service) -> Option<&bollard::models::TaskSpecContainerSpec> {
    service.spec.as_ref()?.task_template.as_ref()?.container_spec.as_ref()
}

/// The fields of a service as they are in force: as they were asked for, where what is there still says the same.
pub(super) fn in_force(
    owner: &OwnerId,
    stack: &StackName,
    name: &ServiceName,
    live: &ServiceSpec,
    names: &Names,
    recorded: Option<&Ours>,
) -> Map<String, Value> {
    let mut found = fields(&read(live, names));
    let asked: Option<Ours> = label(live.labels.as_ref(), mark::SPEC).and_then(|text| serde_json::from_str(text).ok());
    let Some(mut asked) = asked else { return found };
    let mut spec = fields(&asked);
    // The Swarm is told of it as the order in which it updates.
    asked.rollout = recorded.and_then(|recorded| recorded.rollout.clone());
    let fingerprint = Fingerprint::read(label(live.labels.as_ref(), mark::IDENTITY));
    let bound = Bound { api: bound_api(live), ..Bound::default() };
    let mut expected = render(owner, stack, name, &asked, &bound);
    settle(&mut expected, live);
    let mut expected = fields(&read(&expected, &Names { service: name.to_string(), ..Names::default() }));
    tmpfs(&asked, &mut found, &mut expected, &mut spec);
    let all: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for field in all {
        let (there, wanted) = (found.get(field), expected.get(field));
        match field.as_str() {
            "environment" | "labels" | "deploy_labels" => {
                entries(&mut spec, field, there, wanted, |key, value| fingerprint.is_same(key, value));
            }
            _ if there != wanted => put(&mut spec, field, there.cloned()),
            _ => {}
        }
    }
    for field in OURS_ALONE {
        let recorded = recorded.map(fields).unwrap_or_default();
        put(&mut spec, field, recorded.get(field).cloned());
    }
    spec
}

/// What is asked for as `tmpfs` stands among the mounts of a service: each of it is there, or it is not.
fn tmpfs(
    asked: &Ours,
    found: &mut Map<String, Value>,
    expected: &mut Map<String, Value>,
    spec: &mut Map<String, Value>,
) {
    let take = |from: &mut Map<String, Value>, mount: &Value| {
        let Some(Value::Array(mounts)) = from.get_mut("volumes") else { return false };
        let Some(at) = mounts.iter().position(|other| other == mount) else { return false };
        mounts.remove(at);
        if mounts.is_empty() {
            from.remove("volumes");
        }
        true
    };
    let mut there = Vec::new();
    for text in &asked.tmpfs {
        let mount = json!(read_mount(&memory(text), &Names::default()));
        take(expected, &mount);
        if take(found, &mount) {
            there.push(text);
        }
    }
    put(spec, "tmpfs", (!there.is_empty()).then(|| json!(there)));
}

/// Older engines drop the interval of the start period: what is there tells whether this one did.
fn bound_api(live: &ServiceSpec) -> (usize, usize) {
    let container = live.task_template.as_ref().and_then(|task| task.container_spec.as_ref());
    let check = container.and_then(|container| container.health_check.as_ref());
    let knows = check.is_none_or(|check| check.start_interval.is_some());
    if knows { (1, 44) } else { (1, 41) }
}

/// What a service keeps although it was not asked for in those words: a digest that was found for its image, and, where
/// it was taken over, how it is started again.
pub(super) fn settle(expected: &mut ServiceSpec, live: &ServiceSpec) {
    let adopted = label(live.labels.as_ref(), mark::ADOPTED).is_some();
    let (Some(expected), Some(live)) = (&mut expected.task_template, &live.task_template) else { return };
    if let (Some(ours), Some(theirs)) = (&mut expected.container_spec, &live.container_spec) {
        if let (Some(asked), Some(found)) = (&ours.image, &theirs.image)
            && found.strip_prefix(asked.as_str()).is_some_and(|rest| rest.starts_with("@sha256:"))
        {
            ours.image = Some(found.clone());
        }
        if adopted {
            ours.init = ours.init.or(theirs.init);
            ours.stop_grace_period = ours.stop_grace_period.or(theirs.stop_grace_period);
        }
    }
    let says_nothing = expected.restart_policy.as_ref().is_some_and(|policy| {
        *policy
            == bollard::models::TaskSpecRestartPolicy {
                condition: Some(bollard::models::TaskSpecRestartPolicyConditionEnum::NONE),
                ..Default::default()
            }
    });
    if adopted && says_nothing {
        expected.restart_policy.clone_from(&live.restart_policy);
    }
}

pub(super) fn fields(service: &Ours) -> Map<String, Value> {
    match json!(service) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn put(spec: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => spec.insert(field.to_owned(), value),
        None => spec.remove(field),
    };
}

/// Takes over the entries of a map that differ, each by itself.
fn entries(
    spec: &mut Map<String, Value>,
    field: &str,
    there: Option<&Value>,
    wanted: Option<&Value>,
    is_same_secret: impl Fn(&str, &str) -> Option<bool>,
) {
    let empty = Map::new();
    let map = |value: Option<&Value>| value.and_then(Value::as_object).unwrap_or(&empty).clone();
    let (there, wanted) = (map(there), map(wanted));
    let mut merged = map(spec.get(field));
    let all: std::collections::BTreeSet<&String> = there.keys().chain(wanted.keys()).collect();
    for key in all {
        let found = there.get(key);
        let text = found.and_then(|found| found.get("plain")?.as_str());
        let secret = merged.get(key).is_some_and(|asked| asked.get("secret").is_some());
        if field == "environment" && secret {
            match text.map(|text| is_same_secret(key, text)) {
                Some(Some(true)) => {}
                // It may be a value of the secret: it is not shown.
                Some(_) => put(&mut merged, key, Some(json!({ "plain": "(another value)" }))),
                None => put(&mut merged, key, None),
            }
        } else if found != wanted.get(key) && key != RESTART_LABEL {
            put(&mut merged, key, found.cloned());
        }
    }
    put(spec, field, (!merged.is_empty()).then_some(Value::Object(merged)));
}

/// Where a service answers: on each node that runs an instance, or on any.
fn endpoints(service: &Service, look: &Look) -> Vec<Endpoint> {
    let address = |node: Option<&str>| {
        let found = look.nodes.iter().find(|found| node.is_none_or(|node| found.id.as_deref() == Some(node)));
        let address = found.and_then(|node| node.status.as_ref()?.addr.clone());
        address.filter(|address| !address.is_empty() && address != "0.0.0.0").unwrap_or_else(|| "127.0.0.1".to_owned())
    };
    let mut endpoints: BTreeMap<Endpoint, ()> = BTreeMap::new();
    let ports = service.endpoint.iter().flat_map(|endpoint| endpoint.ports.iter().flatten());
    let number = |port: Option<i64>| port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let protocol = |protocol: Option<bollard::models::EndpointPortConfigProtocolEnum>| {
        protocol.map(|protocol| protocol.to_string()).filter(|p| !p.is_empty()).unwrap_or_else(|| "tcp".to_owned())
    };
    for port in ports.filter(|port| port.publish_mode != Some(Publish::HOST)) {
        let Some(number) = number(port.published_port) else { continue };
        endpoints.insert(Endpoint { host: address(None), port: number, protocol: protocol(port.protocol) }, ());
    }
    for task in look.tasks_of(service).filter(|task| super::health::state(task) == bollard::models::TaskState::RUNNING)
    {
        let held = task.status.iter().flat_map(|status| status.port_status.iter());
        for port in held.flat_map(|held| held.ports.iter().flatten()) {
            let Some(number) = number(port.published_port) else { continue };
            let host = address(task.node_id.as_deref());
            endpoints.insert(Endpoint { host, port: number, protocol: protocol(port.protocol) }, ());
        }
    }
    endpoints.into_keys().collect()
}

/// A secret a service printed shows no more than one we hold.
pub(super) fn mask(masker: &windflow_core::secret::Masker, observed: &mut Observed) {
    let hide = |health: &mut Health| {
        if let Health::Failed { why } | Health::Unhealthy { why } = health {
            *why = masker.mask(why);
        }
    };
    for service in observed.services.values_mut() {
        hide(&mut service.health);
        service.instances.iter_mut().for_each(|instance| hide(&mut instance.health));
    }
}

#[cfg(test)]
mod tests;
