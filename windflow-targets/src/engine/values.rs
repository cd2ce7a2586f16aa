//! The values of secrets, at hand only while an apply or a plan needs them, and what tells whether they have changed.
//!
//! What is kept on the engine beside a value is a salted hash of it, with a salt of its own: two services with the same
//! secret do not show that they have it, and no table of hashes made beforehand is of use.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use windflow_core::target::{Context, EnvValue, FileSource, Stack};
use windflow_core::{ContentHash, SecretRef, ServiceName};

/// What tells whether values are the same as those that were put there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    salt: String,
    hashes: BTreeMap<String, String>,
}

impl Fingerprint {
    /// As a label says; without one nothing is known.
    pub fn read(label: Option<&str>) -> Self {
        label.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Of these values, with the salt of what was there before.
    pub fn of<'a>(values: impl IntoIterator<Item = (&'a String, &'a [u8])>, before: &Self) -> Self {
        let salt = match before.salt.as_str() {
            "" => format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            salt => salt.to_owned(),
        };
        let hashes = values.into_iter().map(|(name, value)| (name.clone(), hash(&salt, name, value))).collect();
        Self { salt, hashes }
    }

    pub fn label(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether this is the value that was put there under this name; nothing when none was.
    pub fn is_same(&self, name: &str, value: &str) -> Option<bool> {
        self.is_same_bytes(name, value.as_bytes())
    }

    pub fn is_same_bytes(&self, name: &str, value: &[u8]) -> Option<bool> {
        self.hashes.get(name).map(|known| *known == hash(&self.salt, name, value))
    }

    /// The first digits of the hash under this name.
    pub fn digits(&self, name: &str) -> String {
        self.hashes.get(name).map(|hash| hash.chars().take(10).collect()).unwrap_or_default()
    }
}

fn hash(salt: &str, name: &str, value: &[u8]) -> String {
    let mut bytes = format!("{salt}\0{name}\0").into_bytes();
    bytes.extend_from_slice(value);
    // Hashed twice, so that nothing can be put behind a value.
    ContentHash::of(ContentHash::of(&bytes).bytes()).to_string().trim_start_matches("sha256:").to_owned()
}

/// What stands behind a reference, or why it is not to be had.
type Found<T> = Result<T, String>;

/// The values a stack needs.
#[derive(Default)]
pub(crate) struct Values {
    variables: BTreeMap<ServiceName, BTreeMap<String, Found<String>>>,
    files: BTreeMap<String, Found<Vec<u8>>>,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

impl Values {
    /// Everything the stack needs, resolved now. What is not to be had is known as such: who needs it says so.
    pub async fn of(cx: &Context, stack: &Stack) -> Self {
        let mut values = Self::default();
        for (name, service) in &stack.services {
            for (variable, value) in &service.environment {
                let EnvValue::Secret(reference) = value else { continue };
                let found = resolved(cx, reference).await;
                values.variables.entry(name.clone()).or_default().insert(variable.clone(), found);
            }
        }
        for (part, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
            for (name, file) in files {
                let content = match &file.source {
                    None => continue,
                    Some(FileSource::Content(text)) => Ok(text.clone().into_bytes()),
                    Some(FileSource::Base64(text)) => {
                        STANDARD.decode(text).map_err(|error| format!("is no base64: {error}"))
                    }
                    Some(FileSource::Secret(reference)) => resolved(cx, reference).await.map(String::into_bytes),
                };
                values.files.insert(format!("{part}.{name}"), content);
            }
        }
        values
    }

    /// Those that are not to be had, by their paths in the stack, and why.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        let variables = self.variables.iter().flat_map(|(service, variables)| {
            variables.iter().filter_map(move |(variable, found)| {
                Some(format!("services.{service}.environment.{variable}: {}", found.as_ref().err()?))
            })
        });
        let files = self.files.iter().filter_map(|(path, found)| Some(format!("{path}: {}", found.as_ref().err()?)));
        variables.chain(files)
    }

    /// What a plan says of them: who makes it need not have what the apply needs.
    pub fn told_missing(&self) -> impl Iterator<Item = String> + '_ {
        self.missing().map(|why| format!("{why}; the apply needs it"))
    }

    /// The variables of a service that are secret and to be had.
    pub fn variables(&self, service: &ServiceName) -> BTreeMap<String, String> {
        let all = self.variables.get(service).into_iter().flatten();
        all.filter_map(|(variable, found)| Some((variable.clone(), found.clone().ok()?))).collect()
    }

    /// The content of a config or a secret that is to be had, by its path in the stack.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path)?.as_deref().ok()
    }

    /// All files that are to be had, by their paths in the stack.
    pub fn files(&self) -> impl Iterator<Item = (&String, &[u8])> {
        self.files.iter().filter_map(|(path, found)| Some((path, found.as_deref().ok()?)))
    }

    /// A variable of a service that is secret.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn need_variable(&self, service: &ServiceName, variable: &str) -> Result<&str, String> {
        match self.variables.get(service).and_then(|variables| variables.get(variable)) {
            Some(found) => found.as_deref().map_err(Clone::clone),
            None => Err("is not known".to_owned()),
        }
    }

    /// The content of a config or a secret, by its path in the stack.
    ///
    /// # Errors
    /// Why it is not to be had; without a source it is somebody else's.
    pub fn need_file(&self, path: &str) -> Result<&[u8], String> {
        match self.files.get(path) {
            Some(found) => found.as_deref().map_err(Clone::clone),
            None => Err("is somebody else's, and Docker keeps none".to_owned()),
        }
    }
}

async fn resolved(cx: &Context, reference: &SecretRef) -> Found<String> {
    match cx.secret(reference).await {
        Ok(secret) => Ok(secret.expose().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_a_changed_value_and_shows_none() {
        let name = "PASSWORD".to_owned();
        let print = Fingerprint::of([(&name, b"hunter2".as_slice())], &Fingerprint::default());
        assert_eq!(print.is_same("PASSWORD", "hunter2"), Some(true));
        assert_eq!(print.is_same("PASSWORD", "hunter3"), Some(false));
        assert_eq!(print.is_same("OTHER", "hunter2"), None);
        assert!(!print.label().contains("hunter2"));
        let again = Fingerprint::of([(&name, b"hunter2".as_slice())], &Fingerprint::read(Some(&print.label())));
        assert_eq!(again, print, "the same value under the same salt is no change");
        let other = Fingerprint::of([(&name, b"hunter2".as_slice())], &Fingerprint::default());
        assert_ne!(other, print, "the salt is another one each time");
    }
}
