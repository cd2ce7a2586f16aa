//! Small parts of how a container is set up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A bound on what processes may use; -1 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// What holds at first.
    pub soft: i64,
    /// How far it can be raised.
    pub hard: i64,
}

/// Where the container's output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// What takes it; the target's own way when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// What the driver is told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A device of the machine that is handed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its path on the machine, or a CDI name.
    pub source: String,
    /// Its path in the container.
    pub target: String,
    /// Of `r`, `w` and `m`, what may be done with it.
    pub permissions: String,
}
