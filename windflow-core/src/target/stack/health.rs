//! How the health of a service is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::millis;

/// How health is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// Between two tries. Here and below: where nothing is said, what the image says holds, and then Compose's default.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::option")]
    pub interval: Option<Duration>,
    /// How long one try may take.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::option")]
    pub timeout: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Failures within this time after the start do not count.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::option")]
    pub start_period: Option<Duration>,
    /// Between two tries within the start period.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis::option")]
    pub start_interval: Option<Duration>,
}

/// Compose's defaults, for targets that know no images.
impl HealthCheck {
    /// A check that tries this, and says nothing else.
    #[must_use]
    pub fn of(probe: Probe) -> Self {
        Self { probe, interval: None, timeout: None, retries: None, start_period: None, start_interval: None }
    }

    /// No check at all, also where the image of a container has one.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Probe::None)
    }

    /// Between two tries: 30 s.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(30))
    }

    /// How long one try may take: 30 s.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(30))
    }

    /// Failures in a row that make it unhealthy: 3.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries.unwrap_or(3)
    }

    /// Failures within this time after the start do not count: none.
    #[must_use]
    pub fn start_period(&self) -> Duration {
        self.start_period.unwrap_or_default()
    }

    /// Between two tries within the start period: 5 s.
    #[must_use]
    pub fn start_interval(&self) -> Duration {
        self.start_interval.unwrap_or(Duration::from_secs(5))
    }
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Nothing: not even what the image of a container would try (`disable: true`, or `NONE`).
    None,
    /// A command that exits with 0 (`CMD`).
    Exec(Vec<String>),
    /// A shell text that exits with 0 (`CMD-SHELL`).
    Shell(String),
    /// An HTTP GET on the loopback address that answers 200 to 399 (`x-windflow`).
    Http {
        /// The port.
        port: u16,
        /// The path, starting with `/`.
        path: String,
    },
    /// A TCP connection on the loopback address (`x-windflow`).
    Tcp {
        /// The port.
        port: u16,
    },
}
