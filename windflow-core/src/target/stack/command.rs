//! What a service runs, and with which environment.

use serde::{Deserialize, Serialize};

use crate::secret::SecretRef;

/// A command line: Compose's text form keeps its own type, because it is split by the runtime's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// One text.
    Shell(String),
    /// Program and arguments.
    Argv(Vec<String>),
}

impl Command {
    /// Whether it says nothing: as an entrypoint, that takes away the one of the image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Shell(text) => text.trim().is_empty(),
            Self::Argv(words) => words.is_empty(),
        }
    }
}

/// How a service runs as a process (`x-windflow: { process: … }`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Program and arguments; never a shell text. A relative program is looked up in `search` and then in the
    /// target's own search path.
    pub command: Vec<String>,
    /// Folders on the host in which a relative program is looked up first, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The working directory on the host; the service's own directory when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

/// A value of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Text that may be shown.
    Plain(String),
    /// A reference, resolved just before the service starts.
    Secret(SecretRef),
}
