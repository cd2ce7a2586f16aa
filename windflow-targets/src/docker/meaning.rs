//! What the references of a stack mean now: which values its secrets have, and which images its names of images lead to.

use std::collections::BTreeMap;

use serde_json::json;
use windflow_core::ServiceName;
use windflow_core::target::{
    Change, ChangeKind, Context, EnvValue, FileSource, RanImage, Revision, Service, Stack, TargetError,
};

use super::look::{Found, Seen};
use crate::engine::values::{Fingerprint, Values};
use crate::engine::{Engine, Image, local, mark};

/// What is told of a secret that has another value under the same reference.
const OTHER_VALUE: &str = "the value of the secret has changed";

/// What is told of an image that has the name of the one a container was made of.
const OTHER_IMAGE: &str = "the same name leads to another image now";

/// What the references of a stack mean now.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    pub values: Values,
    /// The image of each service, where it is known.
    pub images: BTreeMap<ServiceName, RanImage>,
    /// Whether one goes back: then this is what references meant before.
    pub is_before: bool,
}

/// A field of a container that has something else than is meant now.
pub(super) struct Outdated {
    field: String,
    note: &'static str,
    values: Option<(String, String)>,
}

impl Meaning {
    /// Of this stack, resolved now.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn of(engine: &Engine, cx: &Context, stack: &Stack) -> Result<Self, TargetError> {
        let mut meaning = Self { values: Values::of(cx, stack).await, ..Self::default() };
        for service in stack.services.values() {
            let Some(name) = service.image.as_deref() else { continue };
            // Services of one image are asked for once.
            let is_known = |(of, other): (&ServiceName, &Service)| {
                other.image == service.image && other.platform == service.platform && meaning.images.contains_key(of)
            };
            if !stack.services.iter().any(is_known)
                && let Some(image) = local(engine, name, service.platform.as_deref()).await?
            {
                meaning.leads_to(stack, service, &image);
            }
        }
        Ok(meaning)
    }

    /// Where one goes back to what ran before: it runs the image it had, and what still runs of it holds the value that
    /// it was well with.
    pub async fn of_before(cx: &Context, base: &Revision) -> Self {
        Self { values: Values::of(cx, &base.stack).await, images: base.images.clone(), is_before: true }
    }

    /// The name of this service's image leads to this one.
    pub fn leads_to(&mut self, stack: &Stack, service: &Service, image: &Image) {
        let Some(name) = service.image.as_deref() else { return };
        let same = |other: &Service| other.image == service.image && other.platform == service.platform;
        for (of, _) in stack.services.iter().filter(|(_, other)| same(other)) {
            self.images.insert(of.clone(), image.ran_as(name));
        }
    }

    /// Whether a revision ran the images that are meant now, as far as that is known.
    pub fn is_what_ran(&self, current: &Revision, seen: &Seen) -> bool {
        self.images.iter().all(|(name, wanted)| match current.images.get(name) {
            Some(ran) => ran.id == wanted.id,
            None => seen.of(name).all(|found| found.inspect.image.as_ref().is_none_or(|id| *id == wanted.id)),
        })
    }

    /// The image of each service, as a revision keeps it: where it is not known by its name, what its containers are
    /// made of.
    pub fn ran(&self, stack: &Stack, seen: &Seen) -> BTreeMap<ServiceName, RanImage> {
        let of_container = |name: &ServiceName, service: &Service| {
            let image = seen.of(name).find_map(|found| seen.images.get(found.inspect.image.as_ref()?))?;
            Some(image.ran_as(service.image.as_deref()?))
        };
        let image = |name: &ServiceName, service: &Service| {
            self.images.get(name).cloned().or_else(|| of_container(name, service))
        };
        stack.services.iter().filter_map(|(name, service)| Some((name.clone(), image(name, service)?))).collect()
    }

    /// The fields of which a container has something else than they mean now. What is not known is no change, nor is
    /// what has another reference: that is told by itself.
    pub fn outdated(&self, stack: &Stack, found: &Found, service: &Service) -> Vec<Outdated> {
        let mut fields = Vec::new();
        let image = (self.images.get(&found.service), found.inspect.image.as_ref());
        if let (Some(wanted), Some(has)) = image
            && found.spec.image == service.image
            && wanted.id != *has
        {
            let values = Some((has.clone(), wanted.id.clone()));
            fields.push(Outdated { field: "image".to_owned(), note: OTHER_IMAGE, values });
        }
        if self.is_before {
            return fields;
        }
        let other_value = |field: String| Outdated { field, note: OTHER_VALUE, values: None };
        let env = found.inspect.config.as_ref().and_then(|config| config.env.as_deref()).unwrap_or_default();
        for (variable, value) in &service.environment {
            let is_same = matches!(value, EnvValue::Secret(_)) && found.spec.environment.get(variable) == Some(value);
            let held = env.iter().find_map(|entry| entry.strip_prefix(variable.as_str())?.strip_prefix('='));
            // The engine shows it by itself: nothing needs to be kept beside it.
            if let (true, Some(held), Ok(now)) = (is_same, held, self.values.need_variable(&found.service, variable))
                && held != now
            {
                fields.push(other_value(format!("environment.{variable}")));
            }
        }
        let labels = found.inspect.config.as_ref().and_then(|config| config.labels.as_ref());
        let print = Fingerprint::read(labels.and_then(|labels| labels.get(mark::VALUES)).map(String::as_str));
        for path in secret_files(stack, service) {
            let is_same = self.values.file(&path).and_then(|now| print.is_same_bytes(&path, now));
            if is_same == Some(false) {
                fields.push(other_value(path));
            }
        }
        fields
    }

    /// Whether a container has what is meant now.
    pub fn is_up_to_date(&self, stack: &Stack, found: &Found, service: &Service) -> bool {
        self.outdated(stack, found, service).is_empty()
    }

    /// What changes though nobody has written anything else.
    pub fn changes(&self, stack: &Stack, seen: &Seen) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for found in &seen.containers {
            let Some(service) = stack.services.get(&found.service) else { continue };
            for Outdated { field, note, values } in self.outdated(stack, found, service) {
                let path = format!("services.{}.{field}", found.service);
                if !changes.iter().any(|change| change.path == path) {
                    let (before, after) = values.map(|(before, after)| (json!(before), json!(after))).unzip();
                    let change = Change::new(ChangeKind::Replace, path).of(found.service.clone());
                    changes.push(change.values(before, after).note(note));
                }
            }
        }
        changes
    }

    /// What is kept with a container of this service, to tell another value from the one it is handed; a variable needs
    /// nothing.
    pub fn label(&self, stack: &Stack, service: &Service) -> Option<String> {
        let paths = secret_files(stack, service);
        let files: Vec<(&String, &[u8])> =
            paths.iter().filter_map(|path| Some((path, self.values.file(path)?))).collect();
        (!files.is_empty()).then(|| Fingerprint::of(files, &Fingerprint::default()).label())
    }

    /// The value of a secret variable.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn variable(&self, service: &ServiceName, variable: &str) -> Result<&str, String> {
        self.values.need_variable(service, variable)
    }
}

/// The files a service is handed whose content is a secret, by their paths in the stack.
fn secret_files(stack: &Stack, service: &Service) -> Vec<String> {
    let parts = [("configs", &service.configs, &stack.configs), ("secrets", &service.secrets, &stack.secrets)];
    let mut paths = Vec::new();
    for (part, mounts, objects) in parts {
        let is_secret = |source: &String| {
            objects.get(source).is_some_and(|object| matches!(object.source, Some(FileSource::Secret(_))))
        };
        let sources = mounts.iter().map(|mount| &mount.source).filter(|source| is_secret(source));
        paths.extend(sources.map(|source| format!("{part}.{source}")));
    }
    paths
}
