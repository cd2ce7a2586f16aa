//! Where the engines of the bed are: what `scripts/bed/run` has set in the environment.
//!
//! A test that needs an engine and finds none fails and says how to get one. It is never passed over in silence.

use std::env;
use std::path::PathBuf;

/// The endpoint of the plain Docker Engine, as `unix:///…`.
///
/// # Panics
///
/// Without the bed.
#[must_use]
pub fn docker() -> String {
    needed("WINDFLOW_TEST_DOCKER", "")
}

/// A Swarm of one node.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The endpoint of a manager, as `unix:///…`.
    pub endpoint: String,
    /// Where ports that are published in host mode answer.
    pub address: String,
}

/// The Swarm of one.
///
/// # Panics
///
/// Without the bed.
#[must_use]
pub fn swarm() -> Swarm {
    Swarm { endpoint: needed("WINDFLOW_TEST_SWARM", ""), address: needed("WINDFLOW_TEST_SWARM_ADDRESS", "") }
}

/// The nodes of the Swarm of three: two managers and a worker.
///
/// # Panics
///
/// Without it.
#[must_use]
pub fn swarm3() -> Vec<Swarm> {
    let (endpoints, addresses) =
        (needed("WINDFLOW_TEST_SWARM3", " --swarm3"), needed("WINDFLOW_TEST_SWARM3_ADDRESSES", " --swarm3"));
    let both = endpoints.split(',').zip(addresses.split(','));
    both.map(|(endpoint, address)| Swarm { endpoint: endpoint.to_owned(), address: address.to_owned() }).collect()
}

/// The endpoint of Podman's compatible socket, as `unix:///…`.
///
/// # Panics
///
/// Without it.
#[must_use]
pub fn podman() -> String {
    needed("WINDFLOW_TEST_PODMAN", " --podman")
}

/// The two image registries, which hold `wf-web:1`, `wf-web:2` and `wf-redis:1`.
#[derive(Clone, Debug)]
pub struct Registry {
    /// `host:port` of the one that lets everybody in.
    pub open: String,
    /// `host:port` of the one that asks who comes.
    pub closed: String,
    /// The name it wants to hear.
    pub user: String,
    /// And the password.
    pub password: String,
}

/// The registries.
///
/// # Panics
///
/// Without them.
#[must_use]
pub fn registry() -> Registry {
    let of = |name: &str| needed(&format!("WINDFLOW_TEST_REGISTRY{name}"), " --registry");
    Registry { open: of(""), closed: of("_AUTH"), user: of("_USER"), password: of("_PASSWORD") }
}

/// Two more ways to the plain engine.
#[derive(Clone, Debug)]
pub struct Doors {
    /// The port where both sides show certificates, as `tcp://…`.
    pub tls: String,
    /// The way through ssh, as `ssh://…`.
    pub ssh: String,
    /// Where the certificates (`tls/known`, `tls/unsigned`, `tls/expired`, `tls/elsewhere`) and the keys (`ssh/key`,
    /// `ssh/unknown`, `ssh/known_hosts`) are.
    pub folder: PathBuf,
}

/// The doors.
///
/// # Panics
///
/// Without them.
#[must_use]
pub fn doors() -> Doors {
    let of = |name: &str| needed(&format!("WINDFLOW_TEST_DOORS{name}"), " --doors");
    Doors { tls: of("_TLS"), ssh: of("_SSH"), folder: of("").into() }
}

#[expect(clippy::panic, reason = "a test that cannot have what it needs must fail")]
pub(crate) fn needed(name: &str, option: &str) -> String {
    match env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!(
            "{name} is not set: run this test within the test bed, as `scripts/bed/run{option} cargo nextest run …` (as root)"
        ),
    }
}
