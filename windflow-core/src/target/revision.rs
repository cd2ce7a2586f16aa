//! An applied stack: immutable, numbered and hashed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::ContentHash;
use crate::id::ServiceName;
use crate::target::Stack;
use crate::time::Timestamp;

/// A revision, kept on the target itself; the last ten are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revision {
    /// The version of this form.
    pub version: u16,
    /// Counted from 1, given by create-unique.
    pub number: u64,
    /// The hash of the stack.
    pub hash: ContentHash,
    /// The resolved stack, with secret references, never values.
    pub stack: Stack,
    /// The idempotency key it was applied under.
    pub key: String,
    /// When.
    pub at: Timestamp,
    /// Whether it was taken over rather than applied.
    pub adopted: bool,
    /// The image each service ran, as far as the target knows: names of images may lead to others later.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ServiceName, RanImage>,
}

/// The image that a service of a revision ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RanImage {
    /// The target's own name for it, which leads to no other: `sha256:…`.
    pub id: String,
    /// Under which it can be had from a registry, if it came from one: `app@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Revision {
    /// The version of the form written today.
    pub const VERSION: u16 = 1;

    /// A revision of this stack.
    #[must_use]
    pub fn new(number: u64, stack: Stack, key: impl Into<String>, at: Timestamp) -> Self {
        let (version, hash, key) = (Self::VERSION, stack.hash(), key.into());
        Self { version, number, hash, stack, key, at, adopted: false, images: BTreeMap::new() }
    }

    /// Whether each service of which both know the image ran the same one.
    #[must_use]
    pub fn ran_the_same_images(&self, other: &Self) -> bool {
        self.images.iter().all(|(name, image)| other.images.get(name).is_none_or(|other| other.id == image.id))
    }
}
