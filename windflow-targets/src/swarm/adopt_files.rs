//! The configs and secrets of what is taken over. What is in them never changes, and their labels may: so those that
//! services use by the stack's own names become ours as they are.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ConfigSpec, SecretSpec, Service};
use bollard::query_parameters::{UpdateConfigOptionsBuilder, UpdateSecretOptionsBuilder};
use windflow_core::ServiceName;
use windflow_core::target::{Context, FileObject, Stack, TargetError};

use super::SwarmTarget;
use super::adopt::NAMESPACE;
use super::look::label;
use super::names;
use crate::engine::mark;
use crate::engine::values::{Fingerprint, Values};

/// The ids of the configs and secrets that services use, by kind and real name.
fn used(services: &BTreeMap<ServiceName, &Service>) -> BTreeMap<(&'static str, String), String> {
    let mut used = BTreeMap::new();
    let containers =
        services.values().filter_map(|service| service.spec.as_ref()?.task_template.as_ref()?.container_spec.as_ref());
    for container in containers {
        for config in container.configs.iter().flatten() {
            used.extend(
                config.config_name.clone().zip(config.config_id.clone()).map(|(name, id)| (("configs", name), id)),
            );
        }
        for secret in container.secrets.iter().flatten() {
            used.extend(
                secret.secret_name.clone().zip(secret.secret_id.clone()).map(|(name, id)| (("secrets", name), id)),
            );
        }
    }
    used
}

impl SwarmTarget {
    /// Gives the configs and secrets of a stack that is taken over our labels.
    pub(super) async fn mark_files(
        &self,
        cx: &Context,
        stack: &Stack,
        theirs: &BTreeMap<ServiceName, &Service>,
        namespace: &str,
    ) -> Result<(), TargetError> {
        let used = used(theirs);
        let own = [("configs", &stack.configs), ("secrets", &stack.secrets)];
        let own = own.into_iter().flat_map(|(kind, files)| files.iter().map(move |(name, file)| (kind, name, file)));
        let own: Vec<(&str, &String, &FileObject)> = own.filter(|(_, _, file)| !file.is_external()).collect();
        if own.is_empty() {
            return Ok(());
        }
        // Of secrets nobody tells what is in them: what is said to run is taken for what they were made of.
        let values = Values::of(cx, stack).await;
        for (kind, name, file) in own {
            let real = file.name.clone().unwrap_or_else(|| names::object(stack.name.as_str(), name));
            let Some(id) = used.iter().find(|((of, called), _)| *of == kind && *called == real).map(|(_, id)| id)
            else {
                continue;
            };
            let path = format!("{kind}.{name}");
            let content = values.file(&path);
            let print = content.map(|content| Fingerprint::of([(&path, content)], &Fingerprint::default()));
            let labels = self.labels_of_file(stack, &path, file, print.as_ref());
            self.mark_file(cx, kind, &real, id, labels, namespace).await?;
        }
        Ok(())
    }

    async fn mark_file(
        &self,
        cx: &Context,
        kind: &str,
        real: &str,
        id: &str,
        ours: HashMap<String, String>,
        namespace: &str,
    ) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let what = format!("taking over the {} {real}", kind.trim_end_matches('s'));
        cx.progress(&what);
        // What another stack has, or somebody has made by hand, is not taken over: others may count on it.
        let is_theirs = |labels: Option<&HashMap<String, String>>| {
            let is = |name: &str, value: Option<&String>| label(labels, name) == value.map(String::as_str);
            match label(labels, mark::OWNER) {
                Some(_) => !is(mark::OWNER, ours.get(mark::OWNER)) || !is(mark::STACK, ours.get(mark::STACK)),
                None => label(labels, NAMESPACE) != Some(namespace),
            }
        };
        if kind == "configs" {
            let found = self.engine.ask(&what, docker.inspect_config(id)).await?;
            let spec = found.spec.unwrap_or_default();
            if is_theirs(spec.labels.as_ref()) {
                return Ok(());
            }
            let version = found.version.and_then(|version| version.index).unwrap_or(0);
            let options = UpdateConfigOptionsBuilder::default().version(i64::try_from(version).unwrap_or(i64::MAX));
            let labels = spec.labels.clone().unwrap_or_default().into_iter().chain(ours).collect();
            let spec = ConfigSpec { labels: Some(labels), ..spec };
            return self.engine.tell(&what, docker.update_config(id, spec, options.build())).await;
        }
        let found = self.engine.ask(&what, docker.inspect_secret(id)).await?;
        let spec = found.spec.unwrap_or_default();
        if is_theirs(spec.labels.as_ref()) {
            return Ok(());
        }
        let version = found.version.and_then(|version| version.index).unwrap_or(0);
        let options = UpdateSecretOptionsBuilder::default().version(i64::try_from(version).unwrap_or(i64::MAX));
        let labels = spec.labels.clone().unwrap_or_default().into_iter().chain(ours).collect();
        let spec = SecretSpec { labels: Some(labels), ..spec };
        self.engine.tell(&what, docker.update_secret(id, spec, options.build())).await
    }
}
