//! Networks, how services are attached to them, and what they publish.

use std::collections::HashMap;

use bollard::models::{
    EndpointPortConfig, EndpointPortConfigProtocolEnum as Protocol, EndpointPortConfigPublishModeEnum as Publish,
    EndpointSpec, EndpointSpecModeEnum as Theirs, Ipam, IpamConfig, NetworkAttachmentConfig, NetworkCreateRequest,
};
use windflow_core::ServiceName;
use windflow_core::target::{EndpointMode, Network, PortMode, Service};

use super::service::Bound;
use crate::swarm::capability::alias;

/// The network as the Swarm is asked for it.
pub(crate) fn network(name: String, asked: &Network, marks: HashMap<String, String>) -> NetworkCreateRequest {
    let some = |map: &std::collections::BTreeMap<String, String>| {
        (!map.is_empty()).then(|| map.clone().into_iter().collect::<HashMap<String, String>>())
    };
    let mut labels: HashMap<String, String> = asked.labels.clone().into_iter().collect();
    labels.extend(marks);
    let pool = |pool: &windflow_core::target::IpamPool| IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: some(&pool.aux_addresses),
    };
    NetworkCreateRequest {
        name,
        driver: Some(asked.driver.clone().unwrap_or_else(|| "overlay".to_owned())),
        scope: None,
        internal: Some(asked.internal),
        attachable: Some(asked.attachable),
        ingress: Some(false),
        config_only: None,
        config_from: None,
        ipam: asked.ipam.as_ref().map(|ipam| Ipam {
            driver: Some(ipam.driver.clone().unwrap_or_else(|| "default".to_owned())),
            config: (!ipam.config.is_empty()).then(|| ipam.config.iter().map(pool).collect()),
            options: some(&ipam.options),
        }),
        enable_ipv4: None,
        enable_ipv6: asked.enable_ipv6,
        options: some(&asked.driver_opts),
        labels: Some(labels),
    }
}

pub(super) fn attachments(name: &ServiceName, service: &Service, bound: &Bound) -> Vec<NetworkAttachmentConfig> {
    let id = |network: &str| bound.networks.get(network).cloned().unwrap_or_else(|| network.to_owned());
    let own = alias(name);
    let names = |names: Vec<String>| Some(if bound.nameless { Vec::new() } else { names });
    if service.networks.is_empty() {
        let target = Some(id("default"));
        return vec![NetworkAttachmentConfig { target, aliases: names(vec![own]), driver_opts: None }];
    }
    let attached = service.networks.iter().map(|(network, attachment)| {
        let others = attachment.aliases.iter().filter(|alias| **alias != own).cloned();
        NetworkAttachmentConfig {
            target: Some(id(network)),
            aliases: names(std::iter::once(own.clone()).chain(others).collect()),
            driver_opts: (!attachment.driver_opts.is_empty())
                .then(|| attachment.driver_opts.clone().into_iter().collect()),
        }
    });
    attached.collect()
}

pub(super) fn endpoint(service: &Service) -> EndpointSpec {
    let port = |port: &windflow_core::target::PortMapping| EndpointPortConfig {
        name: port.name.clone(),
        protocol: Some(match port.protocol.as_str() {
            "udp" => Protocol::UDP,
            "sctp" => Protocol::SCTP,
            _ => Protocol::TCP,
        }),
        target_port: Some(i64::from(port.target)),
        published_port: port.published.map(i64::from),
        publish_mode: Some(match port.mode {
            PortMode::Ingress => Publish::INGRESS,
            PortMode::Host => Publish::HOST,
        }),
    };
    EndpointSpec {
        mode: Some(match service.endpoint_mode {
            Some(EndpointMode::Dnsrr) => Theirs::DNSRR,
            None | Some(EndpointMode::Vip) => Theirs::VIP,
        }),
        ports: (!service.ports.is_empty()).then(|| service.ports.iter().map(port).collect()),
    }
}
