//! A service as its containers are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{EndpointSettings, ImageConfig};
use serde_json::{Map, Value, json};
use windflow_core::target::{
    Baking, Capabilities, Endpoint, EnvValue, Health, Mode, Observed, ObservedInstance, ObservedService, Service,
    Stack, diff,
};
use windflow_core::{OwnerId, ServiceName, Timestamp};

use super::fields::{Fields, Made, fields, merged};
use super::{health, part};
use crate::docker::look::{Found, Seen};
use crate::docker::render::{self, Surroundings};
use crate::docker::{nameless, names, podman};
use crate::engine::{identity, parse_moment};

/// Fields that no container shows: they are what was asked for last.
const TOLD_ONLY: [&str; 5] = ["depends_on", "rollout", "pull_policy", "replicas", "mode"];

/// What is there, as the contract has it. `retained` says whether volumes that outlived their stack are told.
pub(in crate::docker) fn observed(
    seen: &Seen,
    owner: &OwnerId,
    capabilities: &Capabilities,
    host: &str,
    now: Timestamp,
    settle: std::time::Duration,
    retained: bool,
) -> Observed {
    let mut observed = Observed::absent();
    observed.current = seen.current().cloned();
    if let Some(staged) = &seen.staged {
        observed.staged = Some(staged.revision.clone());
        observed.baking = Some(Baking::new(staged.since, staged.until));
    }
    let names: BTreeSet<&ServiceName> = seen.containers.iter().map(|found| &found.service).collect();
    for name in names {
        let containers: Vec<&Found> = seen.of(name).collect();
        let service = service(seen, owner, capabilities, name, &containers, host, now, settle);
        observed.services.insert(name.clone(), service);
    }
    // A service that is meant to have no instance is there without one.
    if let Some(latest) = seen.latest() {
        for (name, service) in latest.stack.services.iter().filter(|(_, service)| service.replicas.0 == 0) {
            let idle = || ObservedService::new(diff::owned_spec(service, capabilities), Health::Healthy);
            observed.services.entry(name.clone()).or_insert_with(idle);
        }
    }
    observed.retained = seen.retained().map(|(path, volume)| (path.clone(), volume.name.clone())).collect();
    observed.parts = part::parts(seen, capabilities, retained);
    observed
}

#[expect(clippy::too_many_arguments, reason = "everything a service is told from")]
fn service(
    seen: &Seen,
    owner: &OwnerId,
    capabilities: &Capabilities,
    name: &ServiceName,
    containers: &[&Found],
    host: &str,
    now: Timestamp,
    settle: std::time::Duration,
) -> ObservedService {
    let asked = seen.latest().and_then(|latest| latest.stack.services.get(name));
    // While one is replaced there are two of an instance: the one that was asked for last speaks.
    let wanted = seen.latest().map(|latest| identity(&latest.stack, asked.unwrap_or(&Service::default())));
    let mut by_instance: BTreeMap<u32, &Found> = BTreeMap::new();
    // What is kept beside the staged instances is none of them.
    for found in containers.iter().filter(|found| !seen.is_kept(found)) {
        let speaks =
            by_instance.get(&found.instance).is_none_or(|_| found.identity.is_some() && found.identity == wanted);
        if speaks {
            by_instance.insert(found.instance, found);
        }
    }
    let mut spec = Value::Null;
    for found in by_instance.values() {
        let live = live_spec(seen, seen.latest().map(|latest| &latest.stack), owner, found);
        // Any instance that differs from what it was made as speaks for all.
        if spec.is_null() || live != json!(found.spec) {
            spec = live;
        }
    }
    if let Value::Object(spec) = &mut spec {
        told_only(spec, asked);
        let count = u32::try_from(by_instance.len()).unwrap_or(u32::MAX);
        let is_global = asked.is_some_and(|asked| matches!(asked.mode, Mode::Global | Mode::GlobalJob));
        if count == 1 || is_global {
            spec.remove("replicas");
        } else {
            spec.insert("replicas".to_owned(), json!(count));
        }
        spec.retain(|field, _| capabilities.service_fields.contains(field));
    }
    let instances: Vec<ObservedInstance> = by_instance
        .values()
        .map(|found| {
            let state = found.inspect.state.clone().unwrap_or_default();
            let health = health(found, now, settle);
            let mut instance = ObservedInstance::new(found.id.clone(), health);
            instance.since = state.started_at.as_deref().and_then(parse_moment).filter(|_| state.running == Some(true));
            instance.restarts = found.inspect.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
            instance
        })
        .collect();
    let mut observed = ObservedService::new(spec, worst(&instances));
    observed.endpoints = by_instance.values().flat_map(|found| endpoints(found, host)).collect();
    observed.instances = instances;
    observed
}

/// The health of a service is the worst of its instances'.
fn worst(instances: &[ObservedInstance]) -> Health {
    let rank = |health: &Health| match health {
        Health::Failed { .. } => 0,
        Health::Unhealthy { .. } => 1,
        Health::Stopped => 2,
        Health::Starting => 3,
        Health::Healthy => 4,
        _ => 5,
    };
    instances
        .iter()
        .map(|instance| &instance.health)
        .min_by_key(|health| rank(health))
        .cloned()
        .unwrap_or(Health::Stopped)
}

fn told_only(spec: &mut Map<String, Value>, asked: Option<&Service>) {
    let Some(asked) = asked else { return };
    let asked = json!(asked);
    for field in TOLD_ONLY {
        match asked.get(field) {
            Some(value) => drop(spec.insert(field.to_owned(), value.clone())),
            None => drop(spec.remove(field)),
        }
    }
}

/// Whether a container of this stack still is what it was made as.
pub(in crate::docker) fn is_as_made(seen: &Seen, stack: &Stack, owner: &OwnerId, found: &Found) -> bool {
    live_spec(seen, Some(stack), owner, found) == json!(found.spec)
}

/// The fields in which a container of this stack is not what it was made as.
pub(in crate::docker) fn differing(seen: &Seen, stack: &Stack, owner: &OwnerId, found: &Found) -> Vec<String> {
    let (live, made) = (live_spec(seen, Some(stack), owner, found), json!(found.spec));
    let fields = |spec: &Value| spec.as_object().into_iter().flatten().map(|(field, _)| field.clone()).collect();
    let all: BTreeSet<String> = [&live, &made].into_iter().flat_map(|spec| -> Vec<String> { fields(spec) }).collect();
    all.into_iter().filter(|field| live.get(field) != made.get(field)).collect()
}

/// Whether a container that was taken over under other words is what this service says: none of its fields differs, and
/// what it was taken over as says of nothing that it is there and that this does not want.
pub(in crate::docker) fn says_the_same(
    seen: &Seen,
    stack: &Stack,
    owner: &OwnerId,
    found: &Found,
    wanted: &Service,
) -> bool {
    let mut live = live_spec(seen, Some(stack), owner, found);
    if let Value::Object(spec) = &mut live {
        told_only(spec, Some(wanted));
    }
    let reworded = Found { spec: wanted.clone(), ..found.clone() };
    live == json!(wanted) && is_as_made(seen, stack, owner, &reworded)
}

/// Whether a container of this stack still is what it was made as, whatever networks it is on, and under which names.
pub(in crate::docker) fn is_as_made_apart_from_networks(
    seen: &Seen,
    stack: &Stack,
    owner: &OwnerId,
    found: &Found,
) -> bool {
    let apart = |mut spec: Value| {
        spec.as_object_mut().map(|fields| fields.remove("networks"));
        spec
    };
    apart(live_spec(seen, Some(stack), owner, found)) == apart(json!(found.spec))
}

/// What was asked for, with everything that is otherwise now put in its place.
fn live_spec(seen: &Seen, stack: Option<&Stack>, owner: &OwnerId, found: &Found) -> Value {
    let mut spec = json!(found.spec);
    let image = found.inspect.image.as_ref().and_then(|id| seen.images.get(id));
    let no_image = ImageConfig::default();
    let image = image.map_or(&no_image, |image| &image.config);
    let asked = asked_fields(seen, stack, owner, found, image);
    let mut live = live_fields(seen, stack, found);
    if podman::made(&found.inspect) {
        // It fills in much by itself, and says so as if it had been asked for.
        live.retain(|path, _| asked.contains_key(path) || path.starts_with("networks."));
        for (field, without_its_own) in podman::ADDS {
            if let (Some(Value::Array(live)), Some(Value::Array(asked))) = (live.get_mut(field), asked.get(field)) {
                without_its_own(live, asked);
            }
        }
    }
    if found.identity.is_none() {
        // Whoever made it left marks of their own, and settings we know nothing about: only what we asked for is ours.
        live.retain(|path, _| asked.contains_key(path));
        // Files that are handed to it stand in it as mounts, where another has handed them.
        let handed: Vec<String> = found
            .spec
            .secrets
            .iter()
            .map(|mount| mount.secret_path())
            .chain(found.spec.configs.iter().map(|mount| mount.config_path()))
            .collect();
        if let Some(Value::Array(mounts)) = live.get_mut("volumes") {
            mounts.retain(|mount| !handed.iter().any(|path| mount["target"] == *path));
        }
    }
    // One that was made of the image itself, where its name led elsewhere: which image it is is told by its id.
    if live.get("image").is_some_and(|name| found.inspect.image.as_deref() == name.as_str()) {
        live.extend(asked.get("image").map(|name| ("image".to_owned(), name.clone())));
    }
    for (variable, value) in &found.spec.environment {
        // The value of a secret is nobody's business here; that the variable is there is.
        let path = format!("environment.{variable}");
        if let (EnvValue::Secret(_), Some(value)) = (value, live.get_mut(&path)) {
            *value = asked.get(&path).cloned().unwrap_or_default();
        }
    }
    // What nothing was said about and the engine decides by itself.
    for path in ["logging.driver", "logging.options", "cgroup"] {
        if !asked.contains_key(path) && (path != "logging.options" || !asked.contains_key("logging.driver")) {
            live.remove(path);
        }
    }
    let paths: BTreeSet<&String> = asked.keys().chain(live.keys()).collect();
    for path in paths {
        if asked.get(path) != live.get(path) {
            // The network that need not be written can be missing all the same.
            let unwritten = found.spec.networks.is_empty() && path.starts_with("networks.");
            put(&mut spec, path, live.get(path).cloned().or_else(|| unwritten.then_some(Value::Null)));
        }
    }
    spec
}

fn asked_fields(seen: &Seen, of: Option<&Stack>, owner: &OwnerId, found: &Found, image: &ImageConfig) -> Fields {
    let named = || Some(Stack::new(found_stack(found)?, BTreeMap::new()));
    let Some(mut stack) = of.cloned().or_else(named) else { return Fields::new() };
    stack.services.insert(found.service.clone(), found.spec.clone());
    let called = |part: &'static str, objects: Vec<(String, String)>| {
        objects.into_iter().filter_map(move |(path, name)| Some((path.strip_prefix(part)?.to_owned(), name))).collect()
    };
    let networks: BTreeMap<String, String> = called(
        "networks.",
        seen.networks.iter().filter_map(|(path, network)| Some((path.clone(), network.id.clone()?))).collect(),
    );
    let volumes: BTreeMap<String, String> =
        called("volumes.", seen.volumes.iter().map(|(path, volume)| (path.clone(), volume.name.clone())).collect());
    // What was ours and is somebody else's now has another name on the engine.
    let networks = without(networks, |name| stack.networks.get(name).is_some_and(|network| network.external));
    let volumes = without(volumes, |name| stack.volumes.get(name).is_some_and(|volume| volume.external));
    let around = Surroundings { owner, stack: &stack, networks: &networks, volumes: &volumes, start_interval: false };
    let rendered = render::container(&around, &found.service, &found.spec, found.instance);
    let mut joined: HashMap<String, EndpointSettings> =
        rendered.body.networking_config.clone().and_then(|config| config.endpoints_config).unwrap_or_default();
    let known = |real: &str| {
        networks.iter().find(|(_, name)| *name == real).map_or_else(|| real.to_owned(), |(name, _)| name.clone())
    };
    for real in &rendered.joins {
        let to = found.spec.networks.get(&known(real));
        joined.insert(real.clone(), render::endpoint(&found.service, to));
    }
    let host = rendered.body.host_config.clone().unwrap_or_default();
    fields(Made {
        config: merged(rendered.body, image),
        host,
        networks: joined,
        known_as: &known,
        known_volume: &|name| known_volume(seen, of, name),
        own_names: found.spec.hostname.iter().cloned().collect(),
    })
}

fn without(mut names: BTreeMap<String, String>, goes: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    names.retain(|name, _| !goes(name));
    names
}

fn found_stack(found: &Found) -> Option<windflow_core::StackName> {
    let labels = found.inspect.config.as_ref()?.labels.as_ref()?;
    windflow_core::StackName::new(labels.get(crate::engine::mark::STACK)?).ok()
}

fn live_fields(seen: &Seen, stack: Option<&Stack>, found: &Found) -> Fields {
    let given = |real: &str| {
        let stack = stack?;
        let external = |name: &&String| names::given_network(stack, name).as_deref() == Some(real);
        stack.networks.keys().find(external).cloned()
    };
    let known = |real: &str| {
        let ours = seen.networks.iter().find(|(_, network)| network.name.as_deref() == Some(real));
        let ours = ours.map(|(path, _)| path.strip_prefix("networks.").unwrap_or(path).to_owned());
        ours.or_else(|| given(real)).unwrap_or_else(|| real.to_owned())
    };
    let short: String = found.id.chars().take(12).collect();
    let name = found.inspect.name.clone().unwrap_or_default().trim_start_matches('/').to_owned();
    let networks = found.inspect.network_settings.clone().and_then(|settings| settings.networks).unwrap_or_default();
    let host = found.inspect.host_config.clone().unwrap_or_default();
    let in_a_mode = host.network_mode.as_deref().is_some_and(|mode| match mode {
        "bridge" if podman::made(&found.inspect) => networks.keys().all(|name| name == "podman"),
        mode => networks.contains_key(mode) && matches!(mode, "host" | "none" | "bridge"),
    });
    fields(Made {
        config: found.inspect.config.clone().unwrap_or_default(),
        host: nameless::forgotten(host, &found.spec),
        networks: if in_a_mode { HashMap::new() } else { networks },
        known_as: &known,
        known_volume: &|name| known_volume(seen, stack, name),
        own_names: [short, name].into_iter().chain(found.spec.hostname.clone()).collect(),
    })
}

fn known_volume(seen: &Seen, stack: Option<&Stack>, real: &str) -> String {
    let ours = seen.volumes.iter().find(|(_, volume)| volume.name == real);
    let ours = ours.and_then(|(path, _)| path.strip_prefix("volumes.")).map(str::to_owned);
    let external = || {
        stack?
            .volumes
            .iter()
            .find(|(name, volume)| names::given_volume(name, volume).as_deref() == Some(real))
            .map(|(name, _)| name.clone())
    };
    ours.or_else(external).unwrap_or_else(|| real.to_owned())
}

/// Puts a value at a path of the spec. The last part of a path that goes by entries may hold dots.
fn put(spec: &mut Value, path: &str, value: Option<Value>) {
    let by_entry = ["environment.", "labels.", "networks."];
    let parts: Vec<&str> = match by_entry.iter().find(|prefix| path.starts_with(**prefix)) {
        Some(prefix) => vec![prefix.trim_end_matches('.'), &path[prefix.len()..]],
        None => path.split('.').collect(),
    };
    let Some((last, above)) = parts.split_last() else { return };
    let mut at = &mut *spec;
    for part in above {
        let Value::Object(map) = at else { return };
        at = map.entry((*part).to_owned()).or_insert_with(|| json!({}));
    }
    let Value::Object(map) = at else { return };
    match value {
        Some(value) => drop(map.insert((*last).to_owned(), value)),
        None => drop(map.remove(*last)),
    }
    // A map of which nothing is left is as if it was never written.
    if let ([field], Value::Object(fields)) = (above, spec)
        && fields.get(*field).is_some_and(|value| value.as_object().is_some_and(Map::is_empty))
    {
        fields.remove(*field);
    }
}

fn endpoints(found: &Found, host: &str) -> Vec<Endpoint> {
    let ports = found.inspect.network_settings.clone().and_then(|settings| settings.ports).unwrap_or_default();
    let mut all = Vec::new();
    for (port, bindings) in ports {
        let protocol = port.split_once('/').map_or("tcp", |(_, protocol)| protocol);
        for binding in bindings.unwrap_or_default() {
            let Some(port) = binding.host_port.and_then(|port| port.parse().ok()) else { continue };
            let address = binding.host_ip.filter(|ip| !ip.is_empty() && ip != "0.0.0.0" && ip != "::");
            let endpoint =
                Endpoint { host: address.unwrap_or_else(|| host.to_owned()), port, protocol: protocol.to_owned() };
            if !all.contains(&endpoint) {
                all.push(endpoint);
            }
        }
    }
    all.sort();
    all
}
