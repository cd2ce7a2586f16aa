//! What runs there and is not ours, and how it becomes ours without a task being touched.
//!
//! Labels of a service are not those of its containers: they can be changed, and no task is replaced. So what is taken
//! over gets our labels. Networks and volumes cannot be labelled, so it is kept on record which they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{MountType, Service, ServiceSpec};
use bollard::query_parameters::{ListConfigsOptionsBuilder, UpdateServiceOptionsBuilder};
use serde_json::json;
use windflow_core::target::{Context, Desired, Discovered, Revision, Stack, TargetError, TargetErrorKind};
use windflow_core::{ServiceName, StackName};

use super::SwarmTarget;
use super::look::{label, labels_of};
use super::parts::volume_names;
use super::records::{ADOPTED, Adopted};
use super::render::{Bound, service as render};
use super::services::restarts_with;
use crate::engine::values::Fingerprint;
use crate::engine::{listing, mark};

/// Of which stack `docker stack deploy` says a service is.
pub(super) const NAMESPACE: &str = "com.docker.stack.namespace";

impl SwarmTarget {
    async fn all_services(&self) -> Result<Vec<Service>, TargetError> {
        let docker = self.engine.docker().await?;
        self.engine.ask("listing services", listing::services(docker, &HashMap::new())).await
    }

    /// Our stacks that are there, whole or in part.
    pub(super) async fn our_stacks(&self) -> Result<Vec<StackName>, TargetError> {
        let docker = self.engine.docker().await?;
        let ours = mark::of_owner(&self.config.owner);
        let options = ListConfigsOptionsBuilder::default().filters(&ours).build();
        let configs = self.engine.ask("listing configs", docker.list_configs(Some(options))).await?;
        let services = self.all_services().await?;
        let owner = self.config.owner.as_str();
        let of_configs = configs.iter().filter_map(|config| config.spec.as_ref()?.labels.as_ref());
        let of_services = services.iter().filter_map(labels_of);
        let names: BTreeSet<StackName> = of_configs
            .chain(of_services)
            .filter(|labels| label(Some(labels), mark::OWNER) == Some(owner))
            // Of a stack that is gone it may say whose the volumes are that were kept.
            .filter(|labels| label(Some(labels), mark::RECORD) != Some(ADOPTED))
            .filter_map(|labels| StackName::new(label(Some(labels), mark::STACK)?).ok())
            .collect();
        Ok(names.into_iter().collect())
    }

    /// Our stacks of which a revision is on record.
    async fn recorded_stacks(&self) -> Result<BTreeSet<String>, TargetError> {
        let docker = self.engine.docker().await?;
        let ours = mark::of_owner(&self.config.owner);
        let options = ListConfigsOptionsBuilder::default().filters(&ours).build();
        let configs = self.engine.ask("listing records", docker.list_configs(Some(options))).await?;
        let labels = configs.iter().filter_map(|config| config.spec.as_ref()?.labels.as_ref());
        let revisions = labels.filter(|labels| labels.contains_key(mark::REVISION));
        Ok(revisions.filter_map(|labels| labels.get(mark::STACK).cloned()).collect())
    }

    /// Stacks of others: of other owners, and of `docker stack deploy`.
    pub(super) async fn others(&self) -> Result<Vec<Discovered>, TargetError> {
        let services = self.all_services().await?;
        let recorded = self.recorded_stacks().await?;
        let mut found: BTreeMap<(Option<String>, StackName), BTreeMap<String, String>> = BTreeMap::new();
        for service in &services {
            let labels = labels_of(service);
            let Some(id) = service.id.clone() else { continue };
            let called = service.spec.as_ref().and_then(|spec| spec.name.clone()).unwrap_or_default();
            let (owner, stack, name) = match (label(labels, mark::OWNER), label(labels, NAMESPACE)) {
                // One that was cut before its revision was recorded has taken nothing over yet: it is found, and done
                // again.
                (Some(owner), Some(stack))
                    if owner == self.config.owner.as_str()
                        && label(labels, mark::ADOPTED).is_some()
                        && !label(labels, mark::STACK).is_some_and(|ours| recorded.contains(ours)) =>
                {
                    let name = called.strip_prefix(&format!("{stack}_")).unwrap_or(&called).to_owned();
                    (None, stack, name)
                }
                (Some(owner), _) if owner == self.config.owner.as_str() => continue,
                (Some(owner), _) => {
                    let name = label(labels, mark::SERVICE).unwrap_or(&called);
                    (Some(owner.to_owned()), label(labels, mark::STACK).unwrap_or_default(), name.to_owned())
                }
                (None, Some(stack)) => {
                    let name = called.strip_prefix(&format!("{stack}_")).unwrap_or(&called).to_owned();
                    (None, stack, name)
                }
                (None, None) => continue,
            };
            let Ok(stack) = StackName::new(stack) else { continue };
            found.entry((owner, stack)).or_default().insert(name, id);
        }
        let told = found.into_iter().map(|((owner, stack), services)| {
            let names = services.keys().cloned().collect();
            Discovered::new(stack, owner, names, json!({ "services": services }))
        });
        Ok(told.collect())
    }

    pub(super) async fn take_over(
        &self,
        cx: &Context,
        found: &Discovered,
        stack: &Desired,
    ) -> Result<Revision, TargetError> {
        let Desired::Present(wanted) = stack else {
            return Err(self.error(&found.name, TargetErrorKind::Refused, "absence cannot be adopted"));
        };
        let gone = || self.error(&found.name, TargetErrorKind::NotFound, "what was discovered is no longer there");
        let all = self.all_services().await?;
        let ids: BTreeMap<String, String> =
            serde_json::from_value(found.handle["services"].clone()).map_err(|_| gone())?;
        if ids.is_empty() {
            return Err(gone());
        }
        let look = self.look(&wanted.name).await?;
        let mut theirs: BTreeMap<ServiceName, &Service> = BTreeMap::new();
        for (name, id) in &ids {
            let service = all.iter().find(|service| service.id.as_ref() == Some(id)).ok_or_else(gone)?;
            let name = ServiceName::new(name)
                .map_err(|error| self.error(&wanted.name, TargetErrorKind::Refused, format_args!("{error}")))?;
            theirs.insert(name, service);
        }
        // One that was cut is gone on with: what has our labels already is the same.
        let strange = look.services.iter().any(|service| !theirs.values().any(|found| found.id == service.id));
        if strange || look.records.current().is_some() {
            let what = "a stack of ours has that name";
            return Err(self.error(&wanted.name, TargetErrorKind::Conflict, what));
        }
        for (name, service) in &theirs {
            if !wanted.services.contains_key(name) {
                let what = format!("services.{name}: it runs, and the stack does not have it");
                return Err(self
                    .error(&wanted.name, TargetErrorKind::Refused, what)
                    .with_hint("adopt it with a file that has all its services, and change it after that"));
            }
            let owner = label(labels_of(service), mark::OWNER);
            if owner.is_some_and(|owner| Some(owner) != found.owner.as_deref() && owner != self.config.owner.as_str()) {
                return Err(gone());
            }
        }
        let adopted =
            Adopted { networks: self.networks_of(wanted, &theirs, &look)?, volumes: volumes_of(wanted, &theirs) };
        self.keep_adopted(&wanted.name, &adopted).await?;
        self.mark_files(cx, wanted, &theirs, found.name.as_str()).await?;
        for (name, service) in &theirs {
            self.mark_service(cx, wanted, name, service).await?;
        }
        let records = self.records(&wanted.name).await?;
        self.record_revision(cx, wanted, &records, true).await
    }

    /// The networks of what is taken over, by the stack's names for them.
    fn networks_of(
        &self,
        wanted: &Stack,
        theirs: &BTreeMap<ServiceName, &Service>,
        look: &super::look::Look,
    ) -> Result<BTreeMap<String, String>, TargetError> {
        let used: BTreeSet<String> = theirs
            .values()
            .filter_map(|service| {
                let spec = service.spec.as_ref()?;
                spec.task_template.as_ref()?.networks.clone().or(spec.networks.clone())
            })
            .flatten()
            .filter_map(|network| network.target)
            .collect();
        let mut found = BTreeMap::new();
        let parts = windflow_core::target::diff::owned_parts(wanted, &self.capabilities);
        for name in parts.keys().filter_map(|path| path.strip_prefix("networks.")) {
            let known = wanted.networks.get(name).and_then(|network| network.name.clone());
            let real = known.unwrap_or_else(|| super::names::object(wanted.name.as_str(), name));
            let network = look.networks.iter().find(|network| {
                network.name.as_deref() == Some(&real) && network.id.as_ref().is_some_and(|id| used.contains(id))
            });
            found.extend(network.and_then(|network| Some((name.to_owned(), network.id.clone()?))));
        }
        Ok(found)
    }

    /// Gives a service our labels, and changes nothing else.
    async fn mark_service(
        &self,
        cx: &Context,
        stack: &Stack,
        name: &ServiceName,
        service: &Service,
    ) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let what = format!("taking over the service {name}");
        cx.progress(&what);
        let id = service.id.clone().unwrap_or_default();
        let now = self.service_now(&what, &id).await?.unwrap_or_default();
        let mut spec: ServiceSpec = now.spec.unwrap_or_default();
        let Some(wanted) = stack.services.get(name) else { return Ok(()) };
        let bound = Bound { restarts_with: restarts_with(stack, wanted), ..Bound::default() };
        let ours = render(&self.config.owner, &stack.name, name, wanted, &bound).labels.unwrap_or_default();
        let labels = spec.labels.get_or_insert_default();
        labels.extend(ours.into_iter().filter(|(label, _)| mark::is_ours(label)));
        labels.insert(mark::ADOPTED.to_owned(), "true".to_owned());
        let secret =
            wanted.environment.iter().filter(|(_, value)| matches!(value, windflow_core::target::EnvValue::Secret(_)));
        let live = spec.task_template.as_ref().and_then(|task| task.container_spec.as_ref()?.env.clone());
        let live: BTreeMap<&str, &str> = live.iter().flatten().filter_map(|line| line.split_once('=')).collect();
        let values: Vec<(&String, &[u8])> =
            secret.filter_map(|(variable, _)| Some((variable, live.get(variable.as_str())?.as_bytes()))).collect();
        if !values.is_empty() {
            labels.insert(mark::IDENTITY.to_owned(), Fingerprint::of(values, &Fingerprint::default()).label());
        }
        let index = now.version.and_then(|version| version.index).unwrap_or(0);
        let version = i32::try_from(index).unwrap_or(i32::MAX);
        let options = UpdateServiceOptionsBuilder::default().version(version).registry_auth_from("spec").build();
        self.engine.tell(&what, docker.update_service(&id, spec, options, None)).await.map(|_| ())
    }
}

/// What the volumes of what is taken over are really called, by the stack's names for them.
fn volumes_of(wanted: &Stack, theirs: &BTreeMap<ServiceName, &Service>) -> BTreeMap<String, String> {
    let containers =
        theirs.values().filter_map(|service| service.spec.as_ref()?.task_template.as_ref()?.container_spec.as_ref());
    let mounts = containers.flat_map(|container| container.mounts.iter().flatten());
    let used: BTreeSet<&str> = mounts
        .filter(|mount| mount.typ == Some(MountType::VOLUME))
        .filter_map(|mount| mount.source.as_deref())
        .collect();
    let named = volume_names(wanted).into_iter().filter(|(real, _)| used.contains(real.as_str()));
    named.map(|(real, name)| (name, real)).filter(|(name, _)| !wanted.volumes[name].external).collect()
}
