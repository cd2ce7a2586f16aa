//! Networks and volumes.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{Ipam as EngineIpam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use serde::Serialize;
use windflow_core::target::{Ipam, Network, Volume};
use windflow_core::{OwnerId, StackName};

use crate::engine::mark;

fn map(entries: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!entries.is_empty()).then(|| entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Its own labels, our marks, and what it was asked to be.
fn labels(
    owner: &OwnerId,
    stack: &StackName,
    path: String,
    own: &BTreeMap<String, String>,
    spec: &impl Serialize,
) -> HashMap<String, String> {
    let mut labels = mark::labels(owner, stack);
    labels.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    labels.insert(mark::PART.to_owned(), path);
    // The model holds only texts, numbers and maps with text keys: it can always be written.
    labels.insert(mark::SPEC.to_owned(), serde_json::to_string(spec).unwrap_or_default());
    labels
}

/// A network of a stack, under this name of the engine's.
pub(in crate::docker) fn network(
    owner: &OwnerId,
    stack: &StackName,
    name: &str,
    called: String,
    network: &Network,
) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: called,
        driver: Some(network.driver.clone().unwrap_or_else(|| "bridge".to_owned())),
        internal: network.internal.then_some(true),
        attachable: network.attachable.then_some(true),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: network.ipam.as_ref().map(ipam),
        options: map(&network.driver_opts),
        labels: Some(labels(owner, stack, format!("networks.{name}"), &network.labels, network)),
        ..NetworkCreateRequest::default()
    }
}

fn ipam(ipam: &Ipam) -> EngineIpam {
    EngineIpam {
        driver: Some(ipam.driver.clone().unwrap_or_else(|| "default".to_owned())),
        options: map(&ipam.options),
        config: Some(
            ipam.config
                .iter()
                .map(|pool| IpamConfig {
                    subnet: pool.subnet.clone(),
                    ip_range: pool.ip_range.clone(),
                    gateway: pool.gateway.clone(),
                    auxiliary_addresses: map(&pool.aux_addresses),
                })
                .collect(),
        ),
    }
}

/// A volume of a stack, under this name of the engine's.
pub(in crate::docker) fn volume(
    owner: &OwnerId,
    stack: &StackName,
    name: &str,
    called: String,
    volume: &Volume,
) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(called),
        driver: Some(volume.driver.clone().unwrap_or_else(|| "local".to_owned())),
        driver_opts: map(&volume.driver_opts),
        labels: Some(labels(owner, stack, format!("volumes.{name}"), &volume.labels, volume)),
        ..VolumeCreateRequest::default()
    }
}
