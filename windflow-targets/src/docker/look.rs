//! Everything the engine has of a stack, read in one go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{ContainerInspectResponse, ContainerSummary, Network, NetworkInspect, Volume};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use futures_util::future::try_join_all;
use futures_util::try_join;
use windflow_core::target::{Revision, Service, Stack, TargetError};
use windflow_core::{OwnerId, ServiceName, StackName};

use super::podman;
use super::records::{Adopted, Adoption, Records, Unreadable};
use super::render::keeping_restart;
use crate::engine::doing::Doing;
use crate::engine::staged::Staged;
use crate::engine::{Engine, Identity, Image, identity, mark};

/// A container of ours.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub id: String,
    pub service: ServiceName,
    pub instance: u32,
    /// The service as it was asked for when the container was made, or taken over.
    pub spec: Service,
    /// What it was made as; none when it was taken over.
    pub identity: Option<Identity>,
    pub inspect: ContainerInspectResponse,
}

/// What the engine has of a stack.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub containers: Vec<Found>,
    /// By path within the stack.
    pub networks: BTreeMap<String, Network>,
    /// By path within the stack. What was kept when the stack went is among them.
    pub volumes: BTreeMap<String, Volume>,
    /// Oldest first; the last is current.
    pub revisions: Vec<Revision>,
    /// The highest number that a record of a revision has, whether it can be read or not.
    pub highest: u64,
    /// Records that cannot be read.
    pub unreadable: Vec<Unreadable>,
    pub doing: Option<Doing>,
    /// What waits to be promoted.
    pub staged: Option<Staged>,
    /// What was staged and is current already, though what was kept beside it may still be there: whoever comes next ends
    /// that.
    pub promoted: Option<Staged>,
    /// What carries somebody else's marks, and was taken over.
    pub adopted: Adoption,
    /// That is taken for other words than stand on record, which is to be written anew.
    pub reworded: bool,
    /// By their ids.
    pub images: HashMap<String, Image>,
}

impl Seen {
    pub fn current(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The revision that was applied last: the staged one, else the current one.
    pub fn latest(&self) -> Option<&Revision> {
        self.staged.as_ref().map(|staged| &staged.revision).or(self.current())
    }

    /// What stands beside what is kept, or did until a moment ago.
    pub fn two_sets(&self) -> Option<&Staged> {
        self.staged.as_ref().or(self.promoted.as_ref())
    }

    /// Whether a container is there only until what is staged is promoted.
    pub fn is_kept(&self, found: &Found) -> bool {
        let Some(stack) = self.two_sets().map(|staged| &staged.revision.stack) else { return false };
        let asked = stack.services.get(&found.service).map(|asked| keeping_restart(asked, Some(&found.spec)));
        asked.is_none_or(|asked| self.made_as(found) != Some(identity(stack, &asked)))
    }

    /// What a container was made as. What was taken over has no mark: it is what is current, or was until that
    /// was promoted which it is kept beside.
    pub fn made_as(&self, found: &Found) -> Option<Identity> {
        let kept =
            self.promoted.as_ref().and_then(|promoted| self.revisions.iter().find(|r| r.number == promoted.kept));
        found.identity.or_else(|| kept.or(self.current()).map(|current| identity(&current.stack, &found.spec)))
    }

    /// Whether anything but volumes is there: without it, volumes are what was kept.
    pub fn is_alive(&self) -> bool {
        !self.containers.is_empty() || !self.networks.is_empty() || !self.revisions.is_empty() || self.doing.is_some()
    }

    /// Volumes that nothing wants any more, by path within the stack.
    pub fn retained(&self) -> impl Iterator<Item = (&String, &Volume)> {
        let wanted = |path: &str| match (self.is_alive(), self.current()) {
            (false, _) => false,
            // Whatever is being done may want it.
            (true, None) => true,
            (true, Some(current)) => {
                path.strip_prefix("volumes.").is_some_and(|name| has_own_volume(&current.stack, name))
            }
        };
        self.volumes.iter().filter(move |(path, _)| !wanted(path))
    }

    /// Whether this is about a volume that was taken over, and that no revision on record says anything about.
    pub fn is_of_unknown_make(&self, path: &str) -> bool {
        let Some(name) = path.strip_prefix("volumes.") else { return false };
        let is_told = |name: &str| self.latest().is_some_and(|latest| has_own_volume(&latest.stack, name));
        let taken = self.adopted.volumes.keys().filter_map(|path| path.strip_prefix("volumes."));
        let mut about = taken.filter(|taken| name == *taken || name.starts_with(&format!("{taken}.")));
        about.any(|taken| !is_told(taken))
    }

    pub fn of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Found> {
        self.containers.iter().filter(move |found| found.service == *service)
    }
}

/// Whether a stack has a volume of its own of this name: another's may be called the same within it.
pub(super) fn has_own_volume(stack: &Stack, name: &str) -> bool {
    stack.volumes.get(name).is_some_and(|volume| !volume.external)
}

/// Reads a stack: three lists, and each container and image once.
pub(super) async fn look(engine: &Engine, owner: &OwnerId, stack: &StackName) -> Result<Seen, TargetError> {
    let docker = engine.docker().await?;
    let ours = mark::of_stack(owner, stack);
    let containers = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
    let networks = ListNetworksOptionsBuilder::default().filters(&ours).build();
    let volumes = ListVolumesOptionsBuilder::default().filters(&ours).build();
    let (containers, networks, volumes) = try_join!(
        podman::containers(engine, containers),
        engine.ask("listing networks", docker.list_networks(Some(networks))),
        engine.ask("listing volumes", docker.list_volumes(Some(volumes))),
    )?;
    // Of several labels in a filter, some engines take one for enough.
    let marks = mark::labels(owner, stack);
    let is_ours = |labels: &HashMap<String, String>| marks.iter().all(|(mark, value)| labels.get(mark) == Some(value));
    let is_labelled = |labels: &Option<HashMap<String, String>>| labels.as_ref().is_some_and(is_ours);
    let containers = containers.into_iter().filter(|container| is_labelled(&container.labels));
    let mut seen = Seen::default();
    for network in networks.into_iter().filter(|network| is_labelled(&network.labels)) {
        let path = network.labels.as_ref().and_then(|labels| labels.get(mark::PART).cloned());
        if let Some(path) = path {
            seen.networks.insert(path, network);
        }
    }
    let mut records = Records::default();
    for volume in volumes.volumes.unwrap_or_default().into_iter().filter(|volume| is_ours(&volume.labels)) {
        match volume.labels.get(mark::PART).cloned() {
            Some(path) => drop(seen.volumes.insert(path, volume)),
            None => records.take(&volume),
        }
    }
    let ids = containers.filter_map(|summary| summary.id);
    let ids: Vec<String> = ids.chain(records.adopted.containers.keys().cloned()).collect();
    let inspected = try_join_all(ids.iter().map(|id| podman::inspect(engine, id))).await?;
    let of_containers = inspected.iter().flatten().filter_map(|inspect| inspect.image.clone());
    let images = images(engine, of_containers).await?;
    for (id, inspect) in ids.into_iter().zip(inspected) {
        // One that went between the list and the look is gone.
        let Some(inspect) = inspect else { continue };
        let image = inspect.image.as_ref().and_then(|id| images.get(id));
        if let Some(found) = found(id, inspect, image, &records.adopted.containers) {
            seen.containers.push(found);
        }
    }
    for (path, id) in &records.adopted.networks {
        let there = engine.find("looking at a network", docker.inspect_network(id, None)).await?;
        if let Some(network) = there {
            seen.networks.insert(path.clone(), plain(network));
        }
    }
    for (path, taken) in std::mem::take(&mut records.adopted.volumes) {
        let there = engine.find("looking at a volume", docker.inspect_volume(&taken.name)).await?;
        // One that is gone claims nothing of what has its name later.
        if let Some(volume) = there.filter(|volume| taken.is(volume)) {
            seen.volumes.insert(path.clone(), volume);
            records.adopted.volumes.insert(path, taken);
        }
    }
    records.revisions.sort_by_key(|revision| revision.number);
    seen.revisions = records.revisions;
    (seen.highest, seen.unreadable) = (records.highest, records.unreadable);
    seen.doing = records.doing;
    let newest = seen.current().map_or(0, |current| current.number);
    (seen.staged, seen.promoted) = match records.staged {
        Some(staged) if staged.revision.number > newest => (Some(staged), None),
        promoted => (None, promoted),
    };
    in_order(&mut seen);
    seen.adopted = records.adopted;
    seen.images = images;
    Ok(seen)
}

/// By service and instance; of two of an instance the one that is staged comes first.
fn in_order(seen: &mut Seen) {
    let mut containers = std::mem::take(&mut seen.containers);
    containers
        .sort_by_cached_key(|found| (found.service.clone(), found.instance, seen.is_kept(found), found.id.clone()));
    seen.containers = containers;
}

/// A network that was looked at, as lists have it.
fn plain(network: NetworkInspect) -> Network {
    Network {
        name: network.name,
        id: network.id,
        driver: network.driver,
        enable_ipv6: network.enable_ipv6,
        ipam: network.ipam,
        internal: network.internal,
        attachable: network.attachable,
        options: network.options,
        labels: network.labels,
        ..Network::default()
    }
}

/// Looks at one container again; none when it is gone.
pub(super) async fn again(engine: &Engine, found: &Found) -> Result<Option<Found>, TargetError> {
    // What an engine says of a container is large, and would be part of every future above.
    let inspect = podman::inspect(engine, &found.id).await?;
    Ok(inspect.map(|inspect| Found { inspect, ..found.clone() }))
}

fn found(
    id: String,
    mut inspect: ContainerInspectResponse,
    image: Option<&Image>,
    adopted: &BTreeMap<String, Adopted>,
) -> Option<Found> {
    if let Some(taken) = adopted.get(&id) {
        let (service, spec) = (taken.service.clone(), taken.spec.clone());
        return Some(Found { id, service, instance: taken.instance, spec, identity: None, inspect });
    }
    let labels = inspect.config.as_ref()?.labels.as_ref()?;
    if mark::is_inherited(labels, image.and_then(|image| image.config.labels.as_ref())) {
        return None;
    }
    let service = ServiceName::new(labels.get(mark::SERVICE)?).ok()?;
    let instance = labels.get(mark::INSTANCE)?.parse().ok()?;
    let spec: Option<Service> = labels.get(mark::SPEC).and_then(|text| serde_json::from_str(text).ok());
    let identity = labels.get(mark::IDENTITY).and_then(|text| serde_json::from_value(text.as_str().into()).ok());
    if spec.is_none() {
        hide_values(&mut inspect);
    }
    // A spec of a later version says more than we know: the container is ours, and is made anew when it is touched.
    Some(Found { id, service, instance, spec: spec.unwrap_or_default(), identity, inspect })
}

/// Where nobody can say which variables are secrets, all are.
fn hide_values(inspect: &mut ContainerInspectResponse) {
    for entry in inspect.config.iter_mut().filter_map(|config| config.env.as_mut()).flatten() {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        *entry = format!("{name}=(hidden: what it was made of cannot be read)");
    }
}

async fn images(engine: &Engine, ids: impl Iterator<Item = String>) -> Result<HashMap<String, Image>, TargetError> {
    let docker = engine.docker().await?;
    let ids: BTreeSet<String> = ids.collect();
    let look = |id: String| async move {
        let found = engine.find("looking at an image", docker.inspect_image(&id)).await?;
        Ok::<_, TargetError>(found.map(|found| (id, Image::new(found))))
    };
    Ok(try_join_all(ids.into_iter().map(look)).await?.into_iter().flatten().collect())
}

/// The containers, networks and volumes of an owner, or of everybody, with their labels.
pub(super) async fn everything(
    engine: &Engine,
    filter: HashMap<String, Vec<String>>,
) -> Result<(Vec<ContainerSummary>, Vec<HashMap<String, String>>), TargetError> {
    let docker = engine.docker().await?;
    let containers = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
    let networks = ListNetworksOptionsBuilder::default().filters(&filter).build();
    let volumes = ListVolumesOptionsBuilder::default().filters(&filter).build();
    let (containers, networks, volumes) = try_join!(
        podman::containers(engine, containers),
        engine.ask("listing networks", docker.list_networks(Some(networks))),
        engine.ask("listing volumes", docker.list_volumes(Some(volumes))),
    )?;
    let containers = without_inherited(engine, containers).await?;
    let networks = networks.into_iter().filter_map(|network| network.labels);
    // A volume that was kept is no stack.
    let volumes = volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.labels);
    let records = volumes.filter(|labels| !labels.contains_key(mark::PART));
    Ok((containers, networks.chain(records).collect()))
}

/// The same containers, without marks that come from an image.
async fn without_inherited(
    engine: &Engine,
    mut containers: Vec<ContainerSummary>,
) -> Result<Vec<ContainerSummary>, TargetError> {
    let is_marked = |labels: &HashMap<String, String>| labels.contains_key(mark::OWNER);
    let marked = containers.iter().filter(|container| container.labels.as_ref().is_some_and(is_marked));
    let images = images(engine, marked.filter_map(|container| container.image_id.clone())).await?;
    for container in &mut containers {
        let image = container.image_id.as_ref().and_then(|id| images.get(id));
        let Some(labels) = container.labels.as_mut() else { continue };
        if mark::is_inherited(labels, image.and_then(|image| image.config.labels.as_ref())) {
            labels.retain(|label, _| !label.starts_with(mark::PREFIX));
        }
    }
    Ok(containers)
}
