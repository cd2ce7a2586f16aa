//! Where secret values come from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Secret, SecretRef};

/// Why a secret could not be had. Never carries a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Nothing is there.
    #[error("{reference} is not there{}", hint.as_deref().map(|h| format!(" ({h})")).unwrap_or_default())]
    NotFound {
        /// What was asked for.
        reference: SecretRef,
        /// What a person can do about it.
        hint: Option<String>,
    },
    /// The source refuses.
    #[error("{reference} may not be read: {reason}")]
    Denied {
        /// What was asked for.
        reference: SecretRef,
        /// Why.
        reason: String,
    },
    /// The source does not answer now; trying again may help.
    #[error("{reference} cannot be reached: {reason}")]
    Unavailable {
        /// What was asked for.
        reference: SecretRef,
        /// Why.
        reason: String,
    },
    /// No source of that name is registered.
    #[error("{reference} names the source '{}', which is not registered", reference.source())]
    NoSource {
        /// What was asked for.
        reference: SecretRef,
    },
}

/// A place that holds secret values, registered by name.
#[async_trait]
pub trait SecretSource: fmt::Debug + Send + Sync + 'static {
    /// The value now. Asked just before use, every time: a rotated secret is seen by the next attempt.
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError>;
}

/// Secrets kept in memory: the in-memory implementation, for tests and embedders.
#[derive(Default)]
pub struct MemorySecrets(Mutex<BTreeMap<String, String>>);

impl MemorySecrets {
    /// An empty source.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value found at `path`.
    #[must_use]
    pub fn with(self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.into(), value.into());
        self
    }
}

impl fmt::Debug for MemorySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemorySecrets(***)")
    }
}

#[async_trait]
impl SecretSource for MemorySecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match values.get(reference.path()) {
            Some(value) => Ok(Secret::new(value.clone())),
            None => Err(SecretError::NotFound { reference: reference.clone(), hint: None }),
        }
    }
}

/// All registered sources, by name.
#[derive(Debug, Clone, Default)]
pub struct SecretSources(BTreeMap<String, Arc<dyn SecretSource>>);

impl SecretSources {
    /// No sources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a source; a second one of the same name takes its place.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, source: Arc<dyn SecretSource>) -> Self {
        self.0.insert(name.into(), source);
        self
    }

    /// The names of all sources.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Resolves a reference through the source it names.
    ///
    /// # Errors
    /// [`SecretError::NoSource`], or what the source answers.
    pub async fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        match self.0.get(reference.source()) {
            Some(source) => source.resolve(reference).await,
            None => Err(SecretError::NoSource { reference: reference.clone() }),
        }
    }
}
