//! What services share, as it is there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{ConfigSpec, Network as TheirNetwork, Service, TaskSpecContainerSpec};
use serde_json::{Value, json};
use windflow_core::StackName;
use windflow_core::target::{Capabilities, Change, ChangeKind, FileObject, FileSource, Network, Stack, Volume, diff};

use super::look::{Look, label};
use super::names;
use super::records::data;
use super::render::{RETAINED, VolumeSource};
use crate::engine::values::{Fingerprint, Values};
use crate::engine::{mark, parse_moment};
use windflow_core::OwnerId;

/// A config or a secret that is ours.
#[derive(Clone, Debug)]
pub(super) struct OurFile {
    /// `configs.tls`, `secrets.password`.
    pub path: String,
    pub id: String,
    pub name: String,
    pub spec: FileObject,
    /// What is in it; of secrets that is told by nobody.
    pub data: Option<Vec<u8>>,
    pub fingerprint: Fingerprint,
    /// Whether a service has it now.
    pub is_used: bool,
}

impl OurFile {
    /// Whether it holds this content and says the same otherwise.
    pub fn is(&self, wanted: &FileObject, content: &[u8]) -> bool {
        let same_content = match &self.data {
            Some(data) => data == content,
            None => self.fingerprint.is_same_bytes(&self.path, content) == Some(true),
        };
        same_content && self.spec.labels == wanted.labels && self.spec.template_driver == wanted.template_driver
    }
}

fn container(service: &Service) -> Option<&TaskSpecContainerSpec> {
    service.spec.as_ref()?.task_template.as_ref()?.container_spec.as_ref()
}

/// Our configs and secrets, those that are used first, then the newest.
pub(super) fn files(look: &Look) -> Vec<OurFile> {
    let containers = || look.services.iter().filter_map(container);
    let used: BTreeSet<&String> = containers()
        .flat_map(|container| {
            let configs = container.configs.iter().flatten().filter_map(|file| file.config_id.as_ref());
            configs.chain(container.secrets.iter().flatten().filter_map(|file| file.secret_id.as_ref()))
        })
        .collect();
    let mut files: Vec<(Option<windflow_core::Timestamp>, OurFile)> = Vec::new();
    let mut take = |id: Option<&String>, created: Option<&str>, spec: ConfigSpec, data: Option<Vec<u8>>| {
        let path = label(spec.labels.as_ref(), mark::PART);
        let (Some(id), Some(path)) = (id, path) else { return };
        let said = label(spec.labels.as_ref(), mark::SPEC).and_then(|text| serde_json::from_str(text).ok());
        let file = OurFile {
            path: path.to_owned(),
            id: id.clone(),
            name: spec.name.clone().unwrap_or_default(),
            spec: said.unwrap_or_default(),
            data,
            fingerprint: Fingerprint::read(label(spec.labels.as_ref(), mark::IDENTITY)),
            is_used: used.contains(id),
        };
        files.push((created.and_then(parse_moment), file));
    };
    for config in &look.configs {
        let Some(spec) = &config.spec else { continue };
        take(config.id.as_ref(), config.created_at.as_deref(), spec.clone(), data(spec));
    }
    for secret in &look.secrets {
        let Some(spec) = &secret.spec else { continue };
        let spec = ConfigSpec { name: spec.name.clone(), labels: spec.labels.clone(), data: None, templating: None };
        take(secret.id.as_ref(), secret.created_at.as_deref(), spec, None);
    }
    files.sort_by_key(|(created, file)| std::cmp::Reverse((file.is_used, *created)));
    files.into_iter().map(|(_, file)| file).collect()
}

/// Our networks, by the stack's name for each: the one that services are on, else the newest.
pub(super) fn networks(look: &Look) -> BTreeMap<String, Vec<&TheirNetwork>> {
    let used: BTreeSet<String> = look
        .services
        .iter()
        .filter_map(|service| service.spec.as_ref()?.task_template.as_ref()?.networks.clone())
        .flatten()
        .filter_map(|network| network.target)
        .collect();
    let mut found: BTreeMap<String, Vec<&TheirNetwork>> = BTreeMap::new();
    for (part, network) in look.our_networks() {
        found.entry(part).or_default().push(network);
    }
    for networks in found.values_mut() {
        networks.reverse();
        networks.sort_by_key(|network| !network.id.as_ref().is_some_and(|id| used.contains(id)));
    }
    found
}

/// What a network of ours was asked for as.
pub(super) fn network_in_force(network: &TheirNetwork, recorded: Option<&Network>) -> Network {
    if let Some(said) = label(network.labels.as_ref(), mark::SPEC).and_then(|text| serde_json::from_str(text).ok()) {
        return said;
    }
    // It was taken over: what cannot be told from it is taken for what the stack says.
    let mut there = recorded.cloned().unwrap_or_default();
    (there.internal, there.attachable) = (network.internal == Some(true), network.attachable == Some(true));
    there
}

/// What is there of the stack besides its services, by path.
pub(super) fn observed(
    stack: &StackName,
    look: &Look,
    recorded: Option<&Stack>,
    capabilities: &Capabilities,
) -> BTreeMap<String, Value> {
    let mut parts = BTreeMap::new();
    for (name, found) in networks(look) {
        let known = recorded.and_then(|stack| stack.networks.get(&name));
        parts
            .extend(found.first().map(|network| (format!("networks.{name}"), json!(network_in_force(network, known)))));
    }
    for file in files(look) {
        parts.entry(file.path.clone()).or_insert_with(|| json!(file_in_force(&file, recorded)));
    }
    for service in &look.services {
        for mount in container(service).iter().flat_map(|container| container.mounts.iter().flatten()) {
            let Some(options) = &mount.volume_options else { continue };
            let Some(name) = label(options.labels.as_ref(), RETAINED).and_then(|mark| mark.rsplit('/').next()) else {
                continue;
            };
            let mut labels: BTreeMap<String, String> = options.labels.clone().unwrap_or_default().into_iter().collect();
            labels.retain(|label, _| !mark::is_ours(label));
            let driver = options.driver_config.clone().unwrap_or_default();
            let real = mount.source.clone().unwrap_or_default();
            let volume = Volume {
                name: (real != names::object(stack.as_str(), name)).then_some(real),
                external: false,
                driver: driver.name,
                driver_opts: driver.options.unwrap_or_default().into_iter().collect(),
                labels,
            };
            // The engine's own driver is what no word asks for.
            let known = recorded.and_then(|stack| stack.volumes.get(name)).cloned().unwrap_or_default();
            let volume =
                Volume { driver: volume.driver.filter(|driver| driver != "local" || known.driver.is_some()), ..volume };
            parts.insert(format!("volumes.{name}"), json!(volume));
        }
    }
    if let Some(recorded) = recorded {
        // Nobody has these: they are made by whoever mounts them first, or, where they were there before us, carry no
        // mark of ours.
        for (path, spec) in diff::owned_parts(recorded, capabilities) {
            if path.starts_with("volumes.") {
                parts.entry(path).or_insert(spec);
            }
        }
    }
    parts
}

fn file_in_force(file: &OurFile, recorded: Option<&Stack>) -> FileObject {
    let mut spec = file.spec.clone();
    if spec.source.is_some() {
        return spec;
    }
    let (kind, name) = file.path.split_once('.').unwrap_or_default();
    let known = recorded.and_then(|stack| match kind {
        "configs" => stack.configs.get(name),
        _ => stack.secrets.get(name),
    });
    let known = known.and_then(|known| known.source.clone());
    let bytes = |source: &FileSource| match source {
        FileSource::Content(text) => Some(text.clone().into_bytes()),
        FileSource::Base64(text) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        }
        FileSource::Secret(_) => None,
    };
    let same = known.filter(|source| bytes(source).is_some_and(|bytes| file.is(&file.spec, &bytes)));
    spec.source = same.or_else(|| match &file.data {
        Some(data) => match String::from_utf8(data.clone()) {
            Ok(text) => Some(FileSource::Content(text)),
            Err(_) => Some(FileSource::Base64(super::records::encoded(data))),
        },
        None => Some(FileSource::Content("(another value)".to_owned())),
    });
    spec
}

/// What the volumes of a stack are really called, and what that stands for.
pub(super) fn volume_names(stack: &Stack) -> BTreeMap<String, String> {
    let real = |name: &String, volume: &Volume| match (&volume.name, volume.external) {
        (Some(real), _) => real.clone(),
        (None, true) => name.clone(),
        (None, false) => names::object(stack.name.as_str(), name),
    };
    stack.volumes.iter().map(|(name, volume)| (real(name, volume), name.clone())).collect()
}

/// The volumes as each node makes them.
pub(super) fn volumes(owner: &OwnerId, stack: &Stack) -> BTreeMap<String, VolumeSource> {
    let names: BTreeMap<String, String> = volume_names(stack).into_iter().map(|(real, name)| (name, real)).collect();
    let source = |name: &String, volume: &Volume| {
        let mut labels = volume.labels.clone();
        if !volume.external {
            labels.insert(RETAINED.to_owned(), format!("{owner}/{}/{name}", stack.name));
        }
        VolumeSource {
            name: names.get(name).cloned().unwrap_or_else(|| name.clone()),
            driver: volume.driver.clone().filter(|_| !volume.external),
            driver_opts: if volume.external { BTreeMap::new() } else { volume.driver_opts.clone() },
            labels,
        }
    };
    stack.volumes.iter().map(|(name, volume)| (name.clone(), source(name, volume))).collect()
}

/// What would change besides what differs in the stack itself: secrets that have another value now, and what an apply
/// that was cut has left.
pub(super) fn changes(stack: &Stack, look: &Look, values: Option<&Values>) -> Vec<Change> {
    let mut changes = Vec::new();
    // While something is staged nothing is tidied: what is kept has it, or had it.
    let is_tidied = look.records.staged().is_none();
    let files = files(look);
    let mut seen = BTreeSet::new();
    for file in &files {
        if !seen.insert(&file.path) {
            let change = Change::new(ChangeKind::Delete, file.path.clone());
            let change = change.note(format!("{} is left over, and goes", file.name));
            changes.extend(is_tidied.then_some(change));
            continue;
        }
        let (kind, name) = file.path.split_once('.').unwrap_or_default();
        let wanted = if kind == "configs" { stack.configs.get(name) } else { stack.secrets.get(name) };
        let content = values.and_then(|values| values.file(&file.path));
        if let (Some(wanted), Some(content)) = (wanted, content)
            && matches!(wanted.source, Some(FileSource::Secret(_)))
            && wanted.source == file.spec.source
            && !file.is(&FileObject { labels: file.spec.labels.clone(), ..file.spec.clone() }, content)
        {
            let change = Change::new(ChangeKind::Replace, file.path.clone());
            changes.push(change.note("its value has changed; the services that have it are updated"));
        }
    }
    for (name, networks) in networks(look) {
        for network in networks.iter().skip(1).filter(|_| is_tidied) {
            let change = Change::new(ChangeKind::Delete, format!("networks.{name}"));
            changes.push(change.note(format!("{} is left over, and goes", network.name.clone().unwrap_or_default())));
        }
    }
    if let Some(values) = values {
        for service in &look.services {
            let Some(name) = super::look::name_of(service) else { continue };
            let print = Fingerprint::read(label(super::look::labels_of(service), mark::IDENTITY));
            for (variable, value) in values.variables(&name) {
                if print.is_same(&variable, &value) == Some(false) {
                    let path = format!("services.{name}.environment.{variable}");
                    let change = Change::new(ChangeKind::Replace, path).of(name.clone());
                    changes.push(change.note("the value of the secret has changed"));
                }
            }
        }
    }
    changes
}
