//! Where an HTTP request may go.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where [`HttpAction`](super::HttpAction) may go. Judged by address, after the name was resolved and just before the
/// connection is made to that very address, so that no spelling and no second answer of a name server leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPolicy {
    loopback: bool,
    private: bool,
    allowed: BTreeSet<String>,
}

impl Default for EgressPolicy {
    /// [`EgressPolicy::operator`].
    fn default() -> Self {
        Self::operator()
    }
}

/// What sort of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Public,
    Loopback,
    Private,
    /// Link-local (where clouds keep their metadata), multicast, unspecified, reserved.
    Never,
}

impl EgressPolicy {
    /// For people who run workflows of their own: public places over HTTPS, the local machine and private networks
    /// over HTTP too. Link-local addresses, where clouds keep credentials, are denied.
    #[must_use]
    pub fn operator() -> Self {
        Self { loopback: true, private: true, allowed: BTreeSet::new() }
    }

    /// For authors who are not trusted with this machine's network: public places over HTTPS only.
    #[must_use]
    pub fn untrusted() -> Self {
        Self { loopback: false, private: false, allowed: BTreeSet::new() }
    }

    /// Opens one host, wherever it is, over HTTP too.
    #[must_use]
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.allowed.insert(host.into().to_ascii_lowercase());
        self
    }

    /// Whether a host that resolved to this address may be asked.
    pub(super) fn judge(&self, host: &str, address: SocketAddr, encrypted: bool) -> Result<(), String> {
        if self.allowed.contains(&host.to_ascii_lowercase()) {
            return Ok(());
        }
        let place = place(address.ip());
        let open = match place {
            Place::Public => true,
            Place::Loopback => self.loopback,
            Place::Private => self.private,
            Place::Never => false,
        };
        if !open {
            return Err(format!("{host} is at {}, where requests may not go", address.ip()));
        }
        if !encrypted && place == Place::Public {
            return Err(format!("{host} is a public place: only https may go there"));
        }
        Ok(())
    }
}

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127, ..) => Place::Loopback,
        // Alibaba's metadata, within the carrier-grade range.
        (100, 100, 100) => Place::Never,
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (198, 18..=19, _) => Place::Private,
        // This network, link-local, protocol assignments, multicast, reserved, broadcast.
        (0, ..) | (169, 254, _) | (192, 0, 0) | (224..=255, ..) => Place::Never,
        _ => Place::Public,
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    if address == Ipv6Addr::LOCALHOST {
        return Place::Loopback;
    }
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        place_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Mapped, compatible, translated (NAT64), and 6to4 addresses are the IPv4 ones they carry.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Amazon's metadata, within the unique-local range.
        [0xfd00, 0x0ec2, ..] => Place::Never,
        [first, ..] if first & 0xfe00 == 0xfc00 => Place::Private,
        // Link-local, site-local, multicast, local NAT64, Teredo, and what is not given out.
        [first, ..] if first & 0xe000 != 0x2000 => Place::Never,
        [0x2001, 0, ..] => Place::Never,
        _ => Place::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: &EgressPolicy, address: &str, encrypted: bool) -> bool {
        let address: IpAddr = address.parse().unwrap();
        policy.judge("host.example", SocketAddr::new(address, 80), encrypted).is_ok()
    }

    #[test]
    fn untrusted_authors_reach_public_places_only() {
        let policy = EgressPolicy::untrusted();
        for denied in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "2001:0:1::",
            "192.0.0.1",
            "198.18.0.1",
        ] {
            assert!(!judge(&policy, denied, true), "{denied}");
        }
        for open in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(judge(&policy, open, true), "{open}");
            assert!(!judge(&policy, open, false), "{open} without encryption");
        }
    }

    #[test]
    fn operators_reach_their_own_machine_and_networks_but_no_metadata() {
        let policy = EgressPolicy::operator();
        for open in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12::1"] {
            assert!(judge(&policy, open, false), "{open}");
        }
        for denied in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0"] {
            assert!(!judge(&policy, denied, true), "{denied}");
        }
        assert!(!judge(&policy, "1.1.1.1", false));
        assert!(judge(&policy.clone().allow_host("Host.Example"), "169.254.169.254", false));
    }
}
