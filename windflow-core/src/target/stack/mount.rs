//! Volumes, and what is mounted into a service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A volume services share (`volumes` of a stack).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// What it is really called; made of the stack's name and its own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is somebody else's: never made, never removed.
    #[serde(skip_serializing_if = "super::service::is_false")]
    pub external: bool,
    /// What keeps it; the target's own way when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// What its driver is told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// Labels, for people and other tools.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// One thing that is mounted (the long form of a service's `volumes`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What sort of thing.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// Which: a name of the stack's volumes, an absolute path of the machine, an image. A volume without a name is one of
    /// the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where in the container, absolute.
    pub target: String,
    /// Whether it can only be read.
    #[serde(default, skip_serializing_if = "super::service::is_false")]
    pub read_only: bool,
    /// `consistent`, `cached` or `delegated`; nothing but macOS has ever heeded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// For a path of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindOptions>,
    /// For a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOptions>,
    /// For memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOptions>,
    /// For an image: the folder within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_subpath: Option<String>,
}

impl Mount {
    /// This, mounted there.
    #[must_use]
    pub fn new(kind: MountKind, source: Option<String>, target: impl Into<String>) -> Self {
        Self {
            kind,
            source,
            target: target.into(),
            read_only: false,
            consistency: None,
            bind: None,
            volume: None,
            tmpfs: None,
            image_subpath: None,
        }
    }
}

/// What sort of thing is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A volume.
    Volume,
    /// A path of the machine.
    Bind,
    /// Memory.
    Tmpfs,
    /// A named pipe of Windows.
    Npipe,
    /// A volume of the cluster (CSI).
    Cluster,
    /// An image.
    Image,
}

/// How a path of the machine is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BindOptions {
    /// How mounts below it travel: `rprivate` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// Whether a missing path is made; Compose's short form does.
    #[serde(skip_serializing_if = "super::service::is_false")]
    pub create_host_path: bool,
    /// `enabled`, `disabled`, `writable` or `readonly`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursive: Option<String>,
    /// `z` or `Z`: whether it is relabelled, and for whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
}

/// How a volume is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VolumeOptions {
    /// Whether a new volume starts empty instead of with what the image has there.
    #[serde(skip_serializing_if = "super::service::is_false")]
    pub nocopy: bool,
    /// The folder within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// Labels of a volume of the instance's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How memory is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TmpfsOptions {
    /// At most this many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The permissions of its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}
