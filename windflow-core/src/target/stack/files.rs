//! Configs and secrets: small files that are handed to services.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::secret::SecretRef;

/// A config or a secret (`configs`, `secrets` of a stack).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileObject {
    /// What it is really called; made of the stack's name, its own and its content when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where its content comes from; absent when it is somebody else's (`external`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<FileSource>,
    /// Which templates its content may hold: `golang`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_driver: Option<String>,
    /// Labels, for people and other tools.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl FileObject {
    /// Whether it is somebody else's: never made, never removed.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.source.is_none()
    }
}

/// Where the content of a config or a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSource {
    /// Text that may be shown; a config's file is read when the stack is.
    Content(String),
    /// Bytes that are no text, in base64.
    Base64(String),
    /// A reference, resolved just before it is handed out.
    Secret(SecretRef),
}

/// How a config or a secret stands in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileMount {
    /// Which, by the stack's name for it.
    pub source: String,
    /// Where: an absolute path, or a name below `/run/secrets` for a secret and `/` for a config; the source's own when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whose file it is, as a number; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Of which group, as a number; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<String>,
    /// Its permissions; `0o444` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

impl FileMount {
    /// Where a secret stands in the container.
    #[must_use]
    pub fn secret_path(&self) -> String {
        self.path_below("/run/secrets/")
    }

    /// Where a config stands in the container.
    #[must_use]
    pub fn config_path(&self) -> String {
        self.path_below("/")
    }

    fn path_below(&self, folder: &str) -> String {
        let target = self.target.as_deref().unwrap_or(&self.source);
        if target.starts_with('/') { target.to_owned() } else { format!("{folder}{target}") }
    }
}
