//! Published ports.

use serde::{Deserialize, Serialize};

/// One published port (the long form of Compose).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortMapping {
    /// The port the service listens on. A process listens on it directly.
    pub target: u16,
    /// The port it is published on; the same as `target` for a process, one that is free for a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// The last of a range of ports that starts with `published`: each instance takes one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_end: Option<u16>,
    /// The address it is published on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// How it is published where there are many machines.
    #[serde(default, skip_serializing_if = "PortMode::is_ingress")]
    pub mode: PortMode,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is spoken on it, for people and proxies: `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

impl PortMapping {
    /// A TCP port, published as nothing is said.
    #[must_use]
    pub fn tcp(target: u16) -> Self {
        Self {
            target,
            published: None,
            published_end: None,
            host_ip: None,
            protocol: tcp(),
            mode: PortMode::Ingress,
            name: None,
            app_protocol: None,
        }
    }

    /// Published on this port.
    #[must_use]
    pub fn published(mut self, port: u16) -> Self {
        self.published = Some(port);
        self
    }

    /// Published on this address.
    #[must_use]
    pub fn on(mut self, address: impl Into<String>) -> Self {
        self.host_ip = Some(address.into());
        self
    }
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// How a port is published where there are many machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortMode {
    /// On every machine, and led to any instance: Compose's default.
    #[default]
    Ingress,
    /// On the machines that run an instance.
    Host,
}

impl PortMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_ingress(&self) -> bool {
        *self == Self::Ingress
    }
}
