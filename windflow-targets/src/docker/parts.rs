//! Networks and volumes: making those that are wanted, removing those that are not.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{ListNetworksOptionsBuilder, RemoveVolumeOptions};
use windflow_core::target::{Change, ChangeKind, Network, Stack, TargetError, TargetErrorKind};
use windflow_core::{OwnerId, StackName};

use super::look::Seen;
use super::{blue_green, names, podman, render};
use crate::engine::Engine;
use crate::engine::mark::{self, own_as_external};

/// The engine's names by the stack's.
type Names = BTreeMap<String, String>;

/// Has every network and volume of the stack be there; answers how the engine knows them: our networks by their ids, all else
/// by name.
pub(super) async fn ensure(
    engine: &Engine,
    owner: &OwnerId,
    stack: &Stack,
    seen: &Seen,
) -> Result<(Names, Names), TargetError> {
    let mut networks = Names::new();
    for name in wanted_networks(stack) {
        // Engines allow two networks of one name: only the id says which.
        let found = seen.networks.get(&format!("networks.{name}")).and_then(|network| network.id.clone());
        let called = match (found, stack.networks.get(&name)) {
            (_, Some(network)) if network.external => external_network(stack, &name),
            (Some(called), _) => called,
            (None, network) => make_network(engine, owner, stack, &name, network).await?,
        };
        networks.insert(name, called);
    }
    let mut volumes = Names::new();
    for (name, volume) in &stack.volumes {
        let found = seen.volumes.get(&format!("volumes.{name}")).map(|volume| volume.name.clone());
        let given = names::given_volume(name, volume);
        let called = match found {
            _ if volume.external => external_volume(engine, stack, name, given).await?,
            Some(called) => called,
            None => make_volume(engine, owner, stack, name).await?,
        };
        volumes.insert(name.clone(), called);
    }
    Ok((networks, volumes))
}

/// The networks of a stack, with the one that need not be written.
fn wanted_networks(stack: &Stack) -> Vec<String> {
    let mut names: Vec<String> = stack.networks.keys().cloned().collect();
    let on_default = stack.services.keys().any(|name| names::networks_of(stack, name).iter().any(|on| on == "default"));
    if on_default && !stack.networks.contains_key("default") {
        names.push("default".to_owned());
    }
    names
}

/// The engine would make one that has gone since the plan was made, and nothing would be in it.
async fn external_volume(
    engine: &Engine,
    stack: &Stack,
    name: &str,
    given: Option<String>,
) -> Result<String, TargetError> {
    let called = given.unwrap_or_else(|| name.to_owned());
    match missing_volume(engine, name, &called).await? {
        None => Ok(called),
        Some((path, why)) => {
            let what = format!("{path}: {why}");
            Err(TargetError::new(engine.target(), TargetErrorKind::Refused, what).in_stack(&stack.name))
        }
    }
}

fn external_network(stack: &Stack, name: &str) -> String {
    names::given_network(stack, name).unwrap_or_else(|| name.to_owned())
}

/// What the stack counts on as somebody else's and is not there, or is its own, and what of its own is somebody else's: as
/// path and sentence.
pub(super) async fn problems(
    engine: &Engine,
    owner: &OwnerId,
    stack: &Stack,
    seen: &Seen,
) -> Result<Vec<(String, String)>, TargetError> {
    let docker = engine.docker().await?;
    let mut problems = Vec::new();
    let is_new = |name: &String| !seen.volumes.contains_key(&format!("volumes.{name}"));
    for (name, volume) in stack.volumes.iter().filter(|(name, volume)| !volume.external && is_new(name)) {
        let given = names::given_volume(name, volume);
        let called = given.clone().unwrap_or_else(|| names::part(&stack.name, name));
        if let Some((path, _)) = seen.volumes.iter().find(|(_, own)| own.name == called) {
            problems.push((format!("volumes.{name}"), own_under_another_key(path, &called)));
            continue;
        }
        let found = engine.find("looking for a volume", docker.inspect_volume(&called)).await?;
        if found.is_some_and(|found| !is_free(&found.labels, owner, &stack.name, given.is_some())) {
            let why = format!("the engine has a volume '{called}' already, which is not this stack's");
            problems.push((format!("volumes.{name}"), format!("{why}: {}", instead_of("volume"))));
        }
    }
    let is_own = |id: &String| seen.networks.values().any(|network| network.id.as_ref() == Some(id));
    // A name that nobody has asked for gives way to another.
    for (name, _) in stack.networks.iter().filter(|(_, network)| !network.external) {
        let Some(called) = names::given_network(stack, name) else { continue };
        let found = engine.find("looking for a network", docker.inspect_network(&called, None)).await?;
        let found = found.filter(|found| found.name.as_ref() == Some(&called));
        if found.and_then(|found| found.id).is_some_and(|id| !is_own(&id)) {
            let why = format!("the engine has a network '{called}' already, which is not this stack's");
            problems.push((format!("networks.{name}"), format!("{why}: {}", instead_of("network"))));
        }
    }
    for (name, _) in stack.networks.iter().filter(|(_, network)| network.external) {
        let (path, called) = (format!("networks.{name}"), external_network(stack, name));
        let found = engine.find("looking for a network", docker.inspect_network(&called, None)).await?;
        match found.map(|found| found.id) {
            None => problems
                .push((path, format!("there is no network '{called}' on the engine: whoever it belongs to makes it"))),
            Some(Some(id)) if is_own(&id) => problems.push((path, own_as_external("network", &called))),
            Some(_) => {}
        }
    }
    for (name, volume) in stack.volumes.iter().filter(|(_, volume)| volume.external) {
        let called = names::given_volume(name, volume).unwrap_or_else(|| name.clone());
        if seen.volumes.values().any(|own| own.name == called) {
            problems.push((format!("volumes.{name}"), own_as_external("volume", &called)));
        } else {
            problems.extend(missing_volume(engine, name, &called).await?);
        }
    }
    Ok(problems)
}

/// Whether a volume with these labels is no reason not to make one by its name: it is ours, or ours gets another name.
fn is_free(labels: &HashMap<String, String>, owner: &OwnerId, stack: &StackName, is_given: bool) -> bool {
    let is = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    let is_ours = is(mark::OWNER, owner.as_str()) && is(mark::STACK, stack.as_str());
    // Another owner's stack of the same name has its own; what nobody has marked may be what somebody counts on.
    is_ours || (!is_given && labels.contains_key(mark::OWNER))
}

async fn missing_volume(engine: &Engine, name: &str, called: &str) -> Result<Option<(String, String)>, TargetError> {
    let docker = engine.docker().await?;
    let found = engine.find("looking for a volume", docker.inspect_volume(called)).await?;
    let why = || format!("there is no volume '{called}' on the engine: whoever it belongs to makes it");
    Ok(found.is_none().then(|| (format!("volumes.{name}"), why())))
}

async fn make_network(
    engine: &Engine,
    owner: &OwnerId,
    stack: &Stack,
    name: &str,
    network: Option<&Network>,
) -> Result<String, TargetError> {
    let docker = engine.docker().await?;
    let given = names::given_network(stack, name);
    let first = given.clone().unwrap_or_else(|| names::part(&stack.name, name));
    let nothing_said = Network::default();
    let network = network.unwrap_or(&nothing_said);
    for called in [first.clone(), names::instead(owner, &first)] {
        if alike(engine, &called).await? == 0 {
            let request = render::network(owner, &stack.name, name, called.clone(), network);
            let what = format!("making the network {name}");
            let mut id = engine.tell(&what, docker.create_network(request.clone())).await?.id;
            // Engines allow two networks of one name, and then find neither: if somebody was as quick, we give way.
            let mut is_alone = alike(engine, &called).await? == 1;
            if is_alone && blue_green::keeps_addresses(stack, name) {
                id = pinned(engine, &what, &id, request).await?;
                is_alone = alike(engine, &called).await? == 1;
            }
            if is_alone {
                return Ok(id);
            }
            engine.remove("giving way with a network", docker.remove_network(&id)).await?;
        }
        if given.is_some() {
            break;
        }
    }
    Err(somebody_s(engine, stack, "network", name, &first))
}

/// The same network with the address range it has got as one that was asked for: in no other may a container come back to the
/// address it had. Where somebody is as quick as to take the range, it gets another one.
async fn pinned(
    engine: &Engine,
    what: &str,
    id: &str,
    mut request: NetworkCreateRequest,
) -> Result<String, TargetError> {
    let docker = engine.docker().await?;
    let made = engine.ask(what, docker.inspect_network(id, None)).await?;
    engine.remove(what, docker.remove_network(id)).await?;
    let plain = request.clone();
    request.ipam = made.ipam.filter(|ipam| ipam.config.as_ref().is_some_and(|pools| !pools.is_empty()));
    match engine.tell(what, docker.create_network(request)).await {
        Ok(made) => Ok(made.id),
        Err(error) if error.kind == TargetErrorKind::Unknown || error.is_connection() => Err(error),
        Err(_) => engine.tell(what, docker.create_network(plain)).await.map(|made| made.id),
    }
}

/// How many networks have exactly this name.
async fn alike(engine: &Engine, called: &str) -> Result<usize, TargetError> {
    let docker = engine.docker().await?;
    let filters = HashMap::from([("name".to_owned(), vec![called.to_owned()])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let found = engine.ask("listing networks", docker.list_networks(Some(options))).await?;
    // The filter finds parts of names as well.
    Ok(found.iter().filter(|other| other.name.as_deref() == Some(called)).count())
}

async fn make_volume(engine: &Engine, owner: &OwnerId, stack: &Stack, name: &str) -> Result<String, TargetError> {
    let docker = engine.docker().await?;
    let Some(volume) = stack.volumes.get(name) else { return Ok(name.to_owned()) };
    let given = names::given_volume(name, volume);
    let first = given.clone().unwrap_or_else(|| names::part(&stack.name, name));
    let what = format!("making the volume {name}");
    for called in [first.clone(), names::instead(owner, &first)] {
        let request = render::volume(owner, &stack.name, name, called, volume);
        let made = engine.tell(&what, docker.create_volume(request)).await?;
        // An engine answers with the one that was there already: its labels tell whose it is.
        let is = |label: &str, value: &str| made.labels.get(label).is_some_and(|found| found == value);
        if is(mark::OWNER, owner.as_str()) && is(mark::STACK, stack.name.as_str()) {
            return Ok(made.name);
        }
        if !is_free(&made.labels, owner, &stack.name, given.is_some()) {
            break;
        }
    }
    Err(somebody_s(engine, stack, "volume", name, &first))
}

fn somebody_s(engine: &Engine, stack: &Stack, what: &str, name: &str, called: &str) -> TargetError {
    let message = format!("{what}s.{name}: the engine has a {what} '{called}' already, which is not this stack's");
    TargetError::new(engine.target(), TargetErrorKind::Refused, message)
        .in_stack(&stack.name)
        .with_hint(instead_of(what))
}

/// Why a volume of the stack itself cannot have another key: what has the old one no more is removed, or kept for nobody.
fn own_under_another_key(path: &str, called: &str) -> String {
    let key = path.strip_prefix("volumes.").unwrap_or(path);
    format!("the volume '{called}' is this stack's own as '{key}': keep that key, or choose another name")
}

/// What to do where something is somebody else's.
fn instead_of(what: &str) -> String {
    format!("adopt what it belongs to, choose another name, or mark the {what} as 'external: true'")
}

/// Removes a network. An engine may hold on to the place a container had on it although that container is gone, when it was
/// killed or removed in a bad moment; nothing but such a place is ever taken off.
async fn remove_network(engine: &Engine, what: &str, id: &str) -> Result<(), TargetError> {
    let docker = engine.docker().await?;
    let in_use = match engine.remove(what, docker.remove_network(id)).await {
        Err(error) if error.message.contains("active endpoints") => error,
        done => return done,
    };
    let Some(network) = engine.find(what, docker.inspect_network(id, None)).await? else { return Ok(()) };
    let (mut freed, mut on_it) = (false, Vec::new());
    for (container, place) in network.containers.unwrap_or_default() {
        let called = place.name.unwrap_or_else(|| container.clone());
        if podman::inspect(engine, &container).await?.is_none() {
            let request = NetworkDisconnectRequest { container: called, force: Some(true) };
            engine.remove(what, docker.disconnect_network(id, request)).await?;
            freed = true;
        } else {
            on_it.push(called);
        }
    }
    let still = match freed {
        true => match engine.remove(what, docker.remove_network(id)).await {
            Err(error) if error.message.contains("active endpoints") => error,
            done => return done,
        },
        false => in_use,
    };
    Err(still.with_hint(match on_it.is_empty() {
        true => "the engine shows nothing on it, and has lost count: start the engine anew, then go on".to_owned(),
        false => format!("these are on it, and not this stack's: {}; take them off, then go on", on_it.join(", ")),
    }))
}

/// Removes what these changes say, as far as nothing uses it any more.
pub(super) async fn remove(
    engine: &Engine,
    stack: &StackName,
    seen: &Seen,
    changes: &[Change],
) -> Result<(), TargetError> {
    let docker = engine.docker().await?;
    for change in changes.iter().filter(|change| matches!(change.kind, ChangeKind::Delete | ChangeKind::Replace)) {
        let of = |path: &String| change.path == *path || change.path.starts_with(&format!("{path}."));
        for (path, network) in seen.networks.iter().filter(|(path, _)| of(path)) {
            let Some(id) = network.id.as_deref() else { continue };
            let removed = remove_network(engine, &format!("removing {path}"), id).await;
            removed.map_err(|error| error.in_stack(stack))?;
        }
        for (path, volume) in seen.volumes.iter().filter(|(path, _)| of(path)) {
            engine
                .remove(&format!("removing {path}"), docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>))
                .await
                .map_err(|error| error.in_stack(stack))?;
        }
    }
    Ok(())
}
