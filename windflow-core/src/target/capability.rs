//! What may be asked of a target.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One thing a target may or may not be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Feature {
    /// [`Target::logs`](super::Target::logs).
    Logs,
    /// [`Target::exec`](super::Target::exec).
    Exec,
    /// [`Target::discover`](super::Target::discover).
    Discover,
    /// [`Target::adopt`](super::Target::adopt).
    Adopt,
    /// [`Target::promote`](super::Target::promote): staged rollouts.
    Promote,
    /// A watch that is told of changes instead of polling.
    WatchEvents,
}

/// What a stack may ask of a target. What is not here is refused in the plan, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// What sort of place it is: `host`, `docker`, `memory`…
    pub kind: String,
    /// What it can do.
    pub features: BTreeSet<Feature>,
    /// Which fields of a service it honours, by name (`image`, `process`, `ports`…).
    pub service_fields: BTreeSet<String>,
    /// Which parts of a stack besides its services it honours, by name (`networks`, `volumes`…).
    pub stack_fields: BTreeSet<String>,
    /// Which fields and other keys of a service it passes over, and why that does no harm: the plan says so.
    pub passed_over: BTreeMap<String, String>,
    /// How many instances of one service it can run.
    pub max_replicas: u32,
}

impl Capabilities {
    /// Nothing but the kind's name.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), max_replicas: 1, ..Self::default() }
    }

    /// It can do these.
    #[must_use]
    pub fn with_features(mut self, features: impl IntoIterator<Item = Feature>) -> Self {
        self.features.extend(features);
        self
    }

    /// It honours these fields of a service.
    #[must_use]
    pub fn with_service_fields(mut self, fields: impl IntoIterator<Item = &'static str>) -> Self {
        self.service_fields.extend(fields.into_iter().map(str::to_owned));
        self
    }

    /// It honours these parts of a stack besides its services.
    #[must_use]
    pub fn with_stack_fields(mut self, fields: impl IntoIterator<Item = &'static str>) -> Self {
        self.stack_fields.extend(fields.into_iter().map(str::to_owned));
        self
    }

    /// It passes over this field or other key of a service, for this reason.
    #[must_use]
    pub fn passing_over(mut self, field: impl Into<String>, why: impl Into<String>) -> Self {
        self.passed_over.insert(field.into(), why.into());
        self
    }

    /// It runs up to this many instances of a service.
    #[must_use]
    pub fn with_max_replicas(mut self, most: u32) -> Self {
        self.max_replicas = most;
        self
    }

    /// Whether it can do this.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}

/// What a probe found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fingerprint {
    /// The other side's version.
    pub version: String,
    /// Its architecture, in Rust's words: `x86_64`, `aarch64`.
    pub architecture: String,
    /// Anything else worth showing: host name, capacity.
    pub details: BTreeMap<String, String>,
}

impl Fingerprint {
    /// What was found.
    #[must_use]
    pub fn new(version: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { version: version.into(), architecture: architecture.into(), details: BTreeMap::new() }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }
}
