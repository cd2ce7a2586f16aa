//! Fixed addresses: an engine gives them only within a range its network was made with. Pure.

use std::net::IpAddr;

use windflow_core::target::{Network, Stack};

/// The addresses no network of this stack can give, as path and sentence. What somebody else's network has nobody knows here.
pub(super) fn out_of_range(stack: &Stack) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (service, spec) in &stack.services {
        for (name, to) in &spec.networks {
            let Some(network) = stack.networks.get(name).filter(|network| !network.external) else { continue };
            for (field, address) in [("ipv4_address", &to.ipv4_address), ("ipv6_address", &to.ipv6_address)] {
                let Some(address) = address.as_deref() else { continue };
                let Ok(asked) = address.parse::<IpAddr>() else { continue };
                if let Some(why) = not_given(network, asked) {
                    found.push((format!("services.{service}.networks.{name}.{field}"), format!("{address} {why}")));
                }
            }
        }
    }
    found
}

fn not_given(network: &Network, asked: IpAddr) -> Option<String> {
    let pools = network.ipam.iter().flat_map(|ipam| &ipam.config).filter_map(|pool| pool.subnet.as_deref());
    let ranges: Vec<&str> = pools.filter(|subnet| bits_of(subnet).is_some_and(|(of, _)| same(of, asked))).collect();
    match ranges[..] {
        // Podman chooses one that holds it; an engine says itself that it does not.
        [] => None,
        _ if ranges.iter().any(|subnet| holds(subnet, asked)) => None,
        _ => Some(format!("is not in {}, the subnet of this network", ranges.join(" or "))),
    }
}

fn bits_of(subnet: &str) -> Option<(IpAddr, u32)> {
    let (first, bits) = subnet.split_once('/')?;
    Some((first.parse().ok()?, bits.parse().ok()?))
}

fn same(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

fn holds(subnet: &str, asked: IpAddr) -> bool {
    let Some((first, bits)) = bits_of(subnet) else { return false };
    match (first, asked) {
        (IpAddr::V4(first), IpAddr::V4(asked)) => {
            let differ = u32::from(first) ^ u32::from(asked);
            differ.leading_zeros() >= bits
        }
        (IpAddr::V6(first), IpAddr::V6(asked)) => {
            let differ = u128::from(first) ^ u128::from(asked);
            differ.leading_zeros() >= bits
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windflow_core::target::{Attachment, Ipam, IpamPool, Service};

    fn told(subnets: &[&str], address: &str) -> Vec<String> {
        let config = subnets.iter().map(|of| IpamPool { subnet: Some((*of).to_owned()), ..IpamPool::default() });
        let ipam = Some(Ipam { config: config.collect(), ..Ipam::default() });
        let to = match address.contains(':') {
            false => Attachment { ipv4_address: Some(address.to_owned()), ..Attachment::default() },
            true => Attachment { ipv6_address: Some(address.to_owned()), ..Attachment::default() },
        };
        let web = Service { networks: [("back".to_owned(), to)].into(), ..Service::default() };
        let mut stack = Stack::new("shop".parse().unwrap(), [("web".parse().unwrap(), web)].into());
        stack.networks.insert("back".to_owned(), Network { ipam, ..Network::default() });
        out_of_range(&stack).into_iter().map(|(path, why)| format!("{path}: {why}")).collect()
    }

    #[test]
    fn an_address_is_in_a_subnet_of_its_network() {
        assert_eq!(told(&["10.5.0.0/16", "fd00:5::/64"], "10.5.3.9"), [""; 0]);
        assert_eq!(told(&["10.5.0.0/16", "fd00:5::/64"], "fd00:5::9"), [""; 0]);
        assert_eq!(told(&["0.0.0.0/0"], "10.5.3.9"), [""; 0]);
        assert_eq!(told(&["10.5.0.9/32"], "10.5.0.9"), [""; 0]);
        let at = "services.web.networks.back";
        assert_eq!(
            told(&["10.5.0.0/16", "fd00:5::/64"], "10.6.0.1"),
            [format!("{at}.ipv4_address: 10.6.0.1 is not in 10.5.0.0/16, the subnet of this network")]
        );
        assert_eq!(told(&["10.5.0.0/16"], "fd00:5::9"), [""; 0], "no range of this sort is said");
    }
}
