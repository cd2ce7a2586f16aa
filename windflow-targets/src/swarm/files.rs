//! Configs, secrets and networks: made before the services that need them, removed after.
//!
//! What a Swarm keeps under one of these names cannot be changed. Another content is another object, with its hash in
//! its name; services are led over to it, and the old one goes when nobody has it any more.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;

use bollard::errors::Error;
use bollard::models::{ConfigSpec, Driver, SecretSpec};
use bollard::query_parameters::{ListConfigsOptionsBuilder, ListSecretsOptionsBuilder};
use windflow_core::ContentHash;
use windflow_core::target::{Context, FileObject, FileSource, Network, Stack, TargetError, TargetErrorKind, diff};

use super::SwarmTarget;
use super::look::Look;
use super::names;
use super::parts;
use super::records::{encoded, is_taken};
use super::render::{self, Bound, Object};
use crate::engine::mark;
use crate::engine::values::{Fingerprint, Values};

impl SwarmTarget {
    /// Everything the stack needs, resolved now.
    ///
    /// # Errors
    /// The first that is not there, or that no Swarm takes, by its path.
    pub(super) async fn values(&self, cx: &Context, stack: &Stack) -> Result<Values, TargetError> {
        let values = Values::of(cx, stack).await;
        let size = |(path, content): (&String, &[u8])| {
            let fits = !content.is_empty() && content.len() < super::records::LARGEST;
            (!fits).then(|| format!("{path}: a Swarm takes 1 to 512000 bytes, and it has {}", content.len()))
        };
        let problem = values.missing().next().or_else(|| values.files().find_map(size));
        match problem {
            Some(what) => Err(self.error(&stack.name, TargetErrorKind::Refused, what)),
            None => Ok(values),
        }
    }

    /// Has everything be there that the services of the stack share, and tells what their names lead to.
    pub(super) async fn ensure_parts(
        &self,
        cx: &Context,
        stack: &Stack,
        values: &Values,
        look: &Look,
    ) -> Result<Bound, TargetError> {
        let mut bound = Bound { volumes: parts::volumes(&self.config.owner, stack), ..Bound::default() };
        bound.api = self.api().await?;
        bound.networks = self.ensure_networks(cx, stack, look).await?;
        for (kind, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
            for (name, file) in files {
                let object = match &file.source {
                    None => self.external(stack, kind, name, file).await?,
                    Some(_) => self.ensure_file(cx, stack, kind, name, file, values, look).await?,
                };
                let known = if kind == "configs" { &mut bound.configs } else { &mut bound.secrets };
                known.insert(name.clone(), object);
            }
        }
        Ok(bound)
    }

    async fn ensure_networks(
        &self,
        cx: &Context,
        stack: &Stack,
        look: &Look,
    ) -> Result<BTreeMap<String, String>, TargetError> {
        let mut ids = BTreeMap::new();
        let there = parts::networks(look);
        for (name, network) in stack.networks.iter().filter(|(_, network)| network.external) {
            let real = network.name.as_deref().unwrap_or(name);
            let found = look.networks.iter().find(|found| found.name.as_deref() == Some(real));
            let Some(id) = found.and_then(|found| found.id.clone()) else {
                let what = format!("networks.{name}: there is no network '{real}', and it is not ours to make");
                return Err(self.error(&stack.name, TargetErrorKind::Refused, what));
            };
            ids.insert(name.clone(), id);
        }
        for path in diff::owned_parts(stack, &self.capabilities).into_keys() {
            let Some(name) = path.strip_prefix("networks.") else { continue };
            let wanted = stack.networks.get(name).cloned().unwrap_or_default();
            let same =
                |found: &&&bollard::models::Network| parts::network_in_force(found, stack.networks.get(name)) == wanted;
            let found = there.get(name).and_then(|found| found.iter().find(same));
            let id = match found.and_then(|found| found.id.clone()) {
                Some(id) => id,
                None => self.make_network(cx, stack, name, &wanted, there.contains_key(name)).await?,
            };
            ids.insert(name.to_owned(), id);
        }
        Ok(ids)
    }

    async fn make_network(
        &self,
        cx: &Context,
        stack: &Stack,
        name: &str,
        wanted: &Network,
        stands: bool,
    ) -> Result<String, TargetError> {
        let docker = self.engine.docker().await?;
        let mut marks: HashMap<String, String> = mark::labels(&self.config.owner, &stack.name);
        marks.insert(mark::PART.to_owned(), format!("networks.{name}"));
        marks.insert(mark::SPEC.to_owned(), serde_json::to_string(wanted).unwrap_or_default());
        let usual = names::object(stack.name.as_str(), name);
        let hash = names::short(&ContentHash::of(marks[mark::SPEC].as_bytes()), 6);
        // The old one stands until nobody is on it any more, and keeps its name.
        let others = [
            names::beside(stack.name.as_str(), name, &self.config.owner),
            names::version(stack.name.as_str(), name, &hash),
        ];
        let candidates: Vec<String> = match &wanted.name {
            Some(real) => vec![real.clone()],
            None if stands => others.into_iter().rev().chain([usual]).collect(),
            None => [usual].into_iter().chain(others).collect(),
        };
        let what = format!("making the network {name}");
        cx.progress(&what);
        let mut taken = None;
        for candidate in candidates {
            match self.engine.call(docker.create_network(render::network(candidate, wanted, marks.clone()))).await {
                Err(error) if has_that_name(&error) => taken = Some(error),
                done => return self.engine.tell(&what, ready(done)).await.map(|made| made.id),
            }
        }
        let Some(error) = taken else { return Ok(String::new()) };
        let mut failed = self.engine.failed(&what, &error).in_stack(&stack.name);
        failed.kind = TargetErrorKind::Refused;
        Err(failed.with_hint(format!("networks.{name}: somebody else has that name; choose another")))
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are what is asked for")]
    async fn ensure_file(
        &self,
        cx: &Context,
        stack: &Stack,
        kind: &str,
        name: &str,
        file: &FileObject,
        values: &Values,
        look: &Look,
    ) -> Result<Object, TargetError> {
        let path = format!("{kind}.{name}");
        let content = values.file(&path).unwrap_or_default();
        let known = parts::files(look);
        let is_same = |found: &&parts::OurFile| found.path == path && found.is(file, content);
        if let Some(found) = known.iter().find(is_same) {
            return Ok(Object { id: found.id.clone(), name: found.name.clone() });
        }
        let docker = self.engine.docker().await?;
        let what = format!("making {path}");
        cx.progress(&what);
        let templating = file.template_driver.clone().map(|name| Driver { name, options: None });
        // A config is no secret, but may be made of one: then its hash is salted too.
        let is_plain = kind == "configs" && !matches!(file.source, Some(FileSource::Secret(_)));
        let print = Fingerprint::of([(&path, content)], &Fingerprint::default());
        let digits = if is_plain { names::short(&ContentHash::of(content), 10) } else { print.digits(&path) };
        let labels = self.labels_of_file(stack, &path, file, Some(&print));
        // Another look of the same content, or another owner's: the salt makes the name another one.
        let salted = print.digits(&path);
        let candidates = [digits.clone(), format!("{digits}-{}", salted.get(..4).unwrap_or_default())];
        for (last, digits) in candidates.iter().enumerate() {
            let called = names::version(stack.name.as_str(), name, digits);
            let made = match kind {
                "configs" => {
                    let spec = ConfigSpec {
                        name: Some(called.clone()),
                        labels: Some(labels.clone()),
                        data: Some(encoded(content)),
                        templating: templating.clone(),
                    };
                    self.engine.call(docker.create_config(spec)).await
                }
                _ => {
                    let spec = SecretSpec {
                        name: Some(called.clone()),
                        labels: Some(labels.clone()),
                        data: Some(encoded(content)),
                        driver: None,
                        templating: templating.clone(),
                    };
                    self.engine.call(docker.create_secret(spec)).await
                }
            };
            match made {
                Err(error) if is_taken(&error) && last == 0 => {}
                done => {
                    let made = self.engine.tell(&what, ready(done)).await?;
                    return Ok(Object { id: made.id, name: called });
                }
            }
        }
        let what = format!("{path}: somebody else has its name");
        Err(self.error(&stack.name, TargetErrorKind::Refused, what))
    }

    /// What a config or a secret of ours says of itself. Of a secret, which tells nobody what is in it, also a fingerprint.
    pub(super) fn labels_of_file(
        &self,
        stack: &Stack,
        path: &str,
        file: &FileObject,
        print: Option<&Fingerprint>,
    ) -> HashMap<String, String> {
        let said = FileObject {
            source: file.source.clone().filter(|source| matches!(source, FileSource::Secret(_))),
            ..file.clone()
        };
        let mut labels: HashMap<String, String> = file.labels.clone().into_iter().collect();
        labels.extend(mark::labels(&self.config.owner, &stack.name));
        labels.insert(mark::PART.to_owned(), path.to_owned());
        // The model holds only texts, numbers and maps with text keys: it can always be written.
        labels.insert(mark::SPEC.to_owned(), serde_json::to_string(&said).unwrap_or_default());
        if let Some(print) = print.filter(|_| path.starts_with("secrets.")) {
            labels.insert(mark::IDENTITY.to_owned(), print.label());
        }
        labels
    }

    /// A config or a secret that is somebody else's.
    pub(super) async fn external(
        &self,
        stack: &Stack,
        kind: &str,
        name: &str,
        file: &FileObject,
    ) -> Result<Object, TargetError> {
        let docker = self.engine.docker().await?;
        let real = file.name.clone().unwrap_or_else(|| name.to_owned());
        let filter = HashMap::from([("name".to_owned(), vec![real.clone()])]);
        let what = format!("looking for the {} {real}", kind.trim_end_matches('s'));
        let found: Option<String> = match kind {
            "configs" => {
                let options = ListConfigsOptionsBuilder::default().filters(&filter).build();
                let all = self.engine.ask(&what, docker.list_configs(Some(options))).await?;
                let is_it = |spec: Option<&ConfigSpec>| spec.and_then(|spec| spec.name.as_deref()) == Some(&real);
                all.into_iter().find(|found| is_it(found.spec.as_ref())).and_then(|found| found.id)
            }
            _ => {
                let options = ListSecretsOptionsBuilder::default().filters(&filter).build();
                let all = self.engine.ask(&what, docker.list_secrets(Some(options))).await?;
                let is_it = |spec: Option<&SecretSpec>| spec.and_then(|spec| spec.name.as_deref()) == Some(&real);
                all.into_iter().find(|found| is_it(found.spec.as_ref())).and_then(|found| found.id)
            }
        };
        found.map(|id| Object { id, name: real.clone() }).ok_or_else(|| {
            let what = format!("{kind}.{name}: there is no '{real}', and it is not ours to make");
            self.error(&stack.name, TargetErrorKind::Refused, what)
        })
    }

    pub(super) async fn api(&self) -> Result<(usize, usize), TargetError> {
        let version = self.engine.docker().await?.client_version();
        Ok((version.major_version, version.minor_version))
    }
}

/// Engines have two ways to say that a network of that name is there.
fn has_that_name(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 409, .. } => true,
        Error::DockerResponseServerError { message, .. } => message.contains("already exists"),
        _ => false,
    }
}
