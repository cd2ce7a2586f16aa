//! Taking over what runs, without touching it.
//!
//! A container cannot be given labels while it runs, nor a network or a volume ever: what was taken over stands on a record of
//! ours, on the engine itself. The next revision that replaces a container makes one with our labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::query_parameters::{ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use serde_json::json;
use windflow_core::target::{
    Context, Desired, Discovered, Revision, Stack, Target as _, TargetError, TargetErrorKind, Volume, diff,
};
use windflow_core::{ServiceName, StackName};

use super::look::{self, Seen};
use super::meaning::Meaning;
use super::observe::says_the_same;
use super::records::{self, Adopted, AdoptedVolume, Adoption};
use super::rollout::{count, wanted};
use super::target::DockerTarget;
use crate::engine::mark;

/// The labels of the real Compose tool.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
const NETWORK: &str = "com.docker.compose.network";
const VOLUME: &str = "com.docker.compose.volume";

/// An owner, where one is marked, and a stack or project.
type Whose = (Option<String>, StackName);

#[derive(Default)]
struct Running {
    services: BTreeSet<String>,
    containers: Vec<String>,
}

impl DockerTarget {
    /// What runs there and is not ours: projects of the Compose tool, and stacks of other owners.
    pub(super) async fn others(&self) -> Result<Vec<Discovered>, TargetError> {
        let (containers, records) = look::everything(&self.engine, Default::default()).await?;
        // What was taken over is ours, or another owner's.
        let mut taken: BTreeMap<String, (String, String)> = BTreeMap::new();
        let whose = |labels: &HashMap<String, String>| {
            Some((labels.get(mark::OWNER)?.clone(), labels.get(mark::STACK)?.clone()))
        };
        let recorded: BTreeSet<_> =
            records.iter().filter(|labels| labels.contains_key(mark::REVISION)).filter_map(whose).collect();
        // One that was cut before its revision was recorded has taken nothing over yet: it is found, and done again.
        for labels in records.iter().filter(|labels| whose(labels).is_some_and(|whose| recorded.contains(&whose))) {
            let adoption = labels.get(mark::ADOPTED).and_then(|text| serde_json::from_str::<Adoption>(text).ok());
            if let (Some(adoption), Some(owner), Some(stack)) =
                (adoption, labels.get(mark::OWNER), labels.get(mark::STACK))
            {
                taken.extend(adoption.containers.into_keys().map(|id| (id, (owner.clone(), stack.clone()))));
            }
        }
        let mut found: BTreeMap<Whose, Running> = BTreeMap::new();
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            let taken_over = container.id.as_ref().and_then(|id| taken.get(id));
            let owner = labels.get(mark::OWNER).or(taken_over.map(|(owner, _)| owner)).cloned();
            if owner.as_deref() == Some(self.config.owner.as_str()) {
                continue;
            }
            let (stack, service) = match (&owner, taken_over) {
                (_, Some((_, stack))) => (Some(stack), labels.get(SERVICE)),
                (Some(_), None) => (labels.get(mark::STACK), labels.get(mark::SERVICE)),
                (None, None) => (labels.get(PROJECT), labels.get(SERVICE)),
            };
            let (Some(stack), Some(service)) = (stack, service) else { continue };
            let Ok(stack) = StackName::new(stack) else { continue };
            let entry = found.entry((owner, stack)).or_default();
            entry.services.insert(service.clone());
            entry.containers.extend(container.id);
        }
        let told = found.into_iter().map(|((owner, name), running)| {
            let services = running.services.into_iter().collect();
            Discovered::new(name, owner, services, json!({ "containers": running.containers }))
        });
        Ok(told.collect())
    }

    /// Makes a project of the Compose tool a stack of ours.
    pub(super) async fn take_over(
        &self,
        cx: &Context,
        found: &Discovered,
        desired: &Desired,
    ) -> Result<Revision, TargetError> {
        let error = |kind, what: String| TargetError::new(&self.config.name, kind, what).in_stack(&found.name);
        let refused = |what: String| error(TargetErrorKind::Refused, what);
        let Desired::Present(stack) = desired else { return Err(refused("absence cannot be adopted".to_owned())) };
        if let Some(owner) = &found.owner {
            return Err(refused(format!("it belongs to the owner '{owner}', who must let go of it")));
        }
        let seen = self.look(&stack.name).await?;
        self.check_records(&stack.name, &seen)?;
        if let Some(current) = seen.current().filter(|current| current.key == cx.key() && current.adopted) {
            // The answer was lost; it has happened.
            return Ok(current.clone());
        }
        if seen.is_alive() && seen.current().is_some() {
            return Err(error(TargetErrorKind::Conflict, "a stack of ours has that name".to_owned()));
        }
        let mut adoption = Adoption { turn: seen.adopted.turn, ..self.adoption(found, stack).await? };
        // What was kept when an earlier one went stays known as the stack's.
        for (path, taken) in seen.adopted.volumes.iter().filter(|(path, _)| seen.volumes.contains_key(*path)) {
            // Unless the stack says now that it is somebody else's.
            let is_external =
                |volume: &Volume| volume.external && volume.name.as_ref().is_none_or(|name| *name == taken.name);
            if !stack.volumes.values().any(is_external) {
                adoption.volumes.entry(path.clone()).or_insert_with(|| taken.clone());
            }
        }
        let (engine, owner) = (&self.engine, &self.config.owner);
        records::adopt(engine, owner, &stack.name, adoption).await?;
        let mut revision = Revision::new(0, stack.clone(), cx.key(), cx.clock().now());
        revision.adopted = true;
        revision.images = Meaning::default().ran(stack, &self.look(&stack.name).await?);
        let made = records::record(engine, owner, &seen, revision).await;
        made.map_err(|error| error.in_stack(&stack.name))
    }

    /// Takes what was taken over under other words, and is what this stack says, for what it says: it need not be made anew.
    pub(super) fn reword(&self, stack: &Stack, seen: &mut Seen) {
        let mut reworded = Vec::new();
        for (at, found) in seen.containers.iter().enumerate().filter(|(_, found)| found.identity.is_none()) {
            let Some(service) = stack.services.get(&found.service) else { continue };
            let wanted = wanted(seen, stack, &found.service, service);
            if found.spec != wanted && says_the_same(seen, stack, &self.config.owner, found, &wanted) {
                reworded.push((at, wanted));
            }
        }
        seen.reworded = !reworded.is_empty();
        for (at, wanted) in reworded {
            if let Some(adopted) = seen.adopted.containers.get_mut(&seen.containers[at].id) {
                adopted.spec = wanted.clone();
            }
            seen.containers[at].spec = wanted;
        }
    }

    /// Which container is which instance of which service, and which networks and volumes go with them.
    async fn adoption(&self, found: &Discovered, stack: &Stack) -> Result<Adoption, TargetError> {
        let refused =
            |what: String| TargetError::new(&self.config.name, TargetErrorKind::Refused, what).in_stack(&found.name);
        let project = HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={}", found.name)])]);
        let (containers, _) = look::everything(&self.engine, project.clone()).await?;
        let mut adoption = Adoption::default();
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            let (Some(id), Some(service)) = (container.id, labels.get(SERVICE)) else { continue };
            if labels.contains_key(mark::OWNER)
                || labels.get("com.docker.compose.oneoff").is_some_and(|one| one == "True")
            {
                continue;
            }
            let name = ServiceName::new(service).map_err(|error| refused(error.to_string()))?;
            let Some(spec) = stack.services.get(&name) else {
                return Err(refused(format!("'{name}' runs, and the stack has no such service"))
                    .with_hint("write it into the file, or stop it first"));
            };
            let instance = labels.get(NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1);
            adoption.containers.insert(id, Adopted { service: name, instance, spec: spec.clone() });
        }
        for (name, service) in &stack.services {
            let running = adoption.containers.values().filter(|adopted| adopted.service == *name).count();
            if u32::try_from(running) != Ok(count(service)) {
                let what = format!("services.{name}: {} wanted, and {running} there", count(service));
                return Err(
                    refused(what).with_hint("what is taken over must be what the file says: adopt first, change then")
                );
            }
        }
        if adoption.containers.is_empty() {
            let what = "what was discovered is no longer there";
            return Err(TargetError::new(&self.config.name, TargetErrorKind::NotFound, what).in_stack(&found.name));
        }
        self.shared(&mut adoption, stack, &project).await?;
        Ok(adoption)
    }

    async fn shared(
        &self,
        adoption: &mut Adoption,
        stack: &Stack,
        project: &std::collections::HashMap<String, Vec<String>>,
    ) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let wanted = diff::owned_parts(stack, self.capabilities());
        let options = ListNetworksOptionsBuilder::default().filters(project).build();
        for network in self.engine.ask("listing networks", docker.list_networks(Some(options))).await? {
            let name = network.labels.as_ref().and_then(|labels| labels.get(NETWORK));
            let path = name.map(|name| format!("networks.{name}")).filter(|path| wanted.contains_key(path));
            if let (Some(path), Some(id)) = (path, network.id) {
                adoption.networks.insert(path, id);
            }
        }
        let options = ListVolumesOptionsBuilder::default().filters(project).build();
        let volumes = self.engine.ask("listing volumes", docker.list_volumes(Some(options))).await?;
        for volume in volumes.volumes.unwrap_or_default() {
            let path = volume.labels.get(VOLUME).map(|name| format!("volumes.{name}"));
            if let Some(path) = path.filter(|path| wanted.contains_key(path)) {
                adoption.volumes.insert(path, AdoptedVolume::of(&volume));
            }
        }
        Ok(())
    }
}
