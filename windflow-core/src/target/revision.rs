//! An applied stack: immutable, numbered and hashed.

use serde::{Deserialize, Serialize};

use crate::hash::ContentHash;
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
}

impl Revision {
    /// The version of the form written today.
    pub const VERSION: u16 = 1;

    /// A revision of this stack.
    #[must_use]
    pub fn new(number: u64, stack: Stack, key: impl Into<String>, at: Timestamp) -> Self {
        Self { version: Self::VERSION, number, hash: stack.hash(), stack, key: key.into(), at, adopted: false }
    }
}
