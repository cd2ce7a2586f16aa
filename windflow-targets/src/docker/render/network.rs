//! How a container stands in a network.

use bollard::models::{EndpointIpamConfig, EndpointSettings};
use windflow_core::ServiceName;
use windflow_core::target::Attachment;

/// A container of this service in one of its networks, answering to the service's name.
pub(in crate::docker) fn endpoint(service: &ServiceName, to: Option<&Attachment>) -> EndpointSettings {
    let mut aliases = vec![service.to_string()];
    let Some(to) = to else { return EndpointSettings { aliases: Some(aliases), ..EndpointSettings::default() } };
    for alias in &to.aliases {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    let fixed = to.ipv4_address.is_some() || to.ipv6_address.is_some() || !to.link_local_ips.is_empty();
    EndpointSettings {
        aliases: Some(aliases),
        ipam_config: fixed.then(|| EndpointIpamConfig {
            ipv4_address: to.ipv4_address.clone(),
            ipv6_address: to.ipv6_address.clone(),
            link_local_ips: super::container::some(to.link_local_ips.clone()),
        }),
        mac_address: to.mac_address.clone(),
        driver_opts: (!to.driver_opts.is_empty())
            .then(|| to.driver_opts.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        gw_priority: to.gw_priority,
        ..EndpointSettings::default()
    }
}
