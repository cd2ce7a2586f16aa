//! `ports`: `"8080"`, `"8080:80"`, `"127.0.0.1:8080:80/tcp"`, or the long form.

use windflow_core::target::PortMapping;

use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::keys;
use crate::document::tree::Kind;

const PROTOCOLS: [(&str, &str); 2] = [("tcp", "tcp"), ("udp", "udp")];

pub(super) fn ports(at: &At<'_>, problems: &mut Problems) -> Vec<PortMapping> {
    let mut out: Vec<PortMapping> = Vec::new();
    for at in at.items(problems).unwrap_or_default() {
        let port = match &at.node.kind {
            Kind::Map(_) => long(&at, problems),
            Kind::Scalar(_) => short(&at, problems),
            Kind::List(_) => at.expected(problems, "a port such as \"8080:80\""),
        };
        let Some(port) = port else { continue };
        if out.contains(&port) {
            at.error(problems, "is there twice");
        }
        out.push(port);
    }
    out
}

fn short(at: &At<'_>, problems: &mut Problems) -> Option<PortMapping> {
    let text = at.scalar_text(problems)?;
    if !at.closed(problems) {
        return None;
    }
    match read_short(text) {
        Ok(port) => Some(port),
        Err(message) => {
            let hint = "write \"8080\", \"8080:80\" or \"127.0.0.1:8080:80/tcp\"";
            at.hinted(problems, message, hint);
            None
        }
    }
}

fn read_short(text: &str) -> Result<PortMapping, String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp") {
        return Err(format!("the protocol must be tcp or udp, not '{protocol}'"));
    }
    // An IPv6 address stands in brackets: `[::1]:8080:80`.
    let (host_ip, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((address, rest)) => (Some(address), rest),
        None => match rest.matches(':').count() {
            2 => rest.split_once(':').map_or((None, rest), |(address, rest)| (Some(address), rest)),
            _ => (None, rest),
        },
    };
    if let Some(address) = host_ip
        && address.parse::<std::net::IpAddr>().is_err()
    {
        return Err(format!("'{address}' is not an IP address"));
    }
    let (published, target) = match rest.split_once(':') {
        Some((published, target)) => (Some(published).filter(|text| !text.is_empty()), target),
        None => (None, rest),
    };
    let published = published.map(port).transpose()?;
    Ok(PortMapping {
        target: port(target)?,
        published,
        host_ip: host_ip.map(str::to_owned),
        protocol: protocol.to_owned(),
    })
}

fn port(text: &str) -> Result<u16, String> {
    if text.contains('-') {
        return Err(format!("'{text}' is a range of ports, which is not honoured yet: list them one by one"));
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("'{text}' is not a port: a number from 1 to 65535")),
    }
}

fn long(at: &At<'_>, problems: &mut Problems) -> Option<PortMapping> {
    let fields = at.fields(problems, "a port", keys::PORT, keys::PORT_LATER)?;
    let number = |at: &At<'_>, problems: &mut Problems| {
        if !at.closed(problems) {
            return None;
        }
        match port(at.scalar_text(problems)?) {
            Ok(port) => Some(port),
            Err(message) => {
                at.error(problems, message);
                None
            }
        }
    };
    let published = fields.get("published").and_then(|at| number(at, problems));
    let host_ip = fields.get("host_ip").and_then(|at| {
        let text = at.scalar_text(problems)?;
        if text.parse::<std::net::IpAddr>().is_err() {
            at.error(problems, format_args!("'{text}' is not an IP address"));
        }
        Some(text.to_owned())
    });
    let protocol = fields.get("protocol").and_then(|at| at.choice(problems, &PROTOCOLS)).unwrap_or("tcp");
    let target = fields.need(problems, "target", "the port the service listens on").and_then(|at| number(at, problems));
    Some(PortMapping { target: target?, published, host_ip, protocol: protocol.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ports_read_as_compose_reads_them() {
        let read = |text| {
            let port = read_short(text)?;
            Ok((port.host_ip.unwrap_or_default(), port.published, port.target, port.protocol))
        };
        let right = |ip: &str, published, target, protocol: &str| -> Result<_, String> {
            Ok((ip.to_owned(), published, target, protocol.to_owned()))
        };
        assert_eq!(read("8080"), right("", None, 8080, "tcp"));
        assert_eq!(read("8080:80"), right("", Some(8080), 80, "tcp"));
        assert_eq!(read("53:53/udp"), right("", Some(53), 53, "udp"));
        assert_eq!(read("127.0.0.1:8080:80/tcp"), right("127.0.0.1", Some(8080), 80, "tcp"));
        assert_eq!(read("127.0.0.1::80"), right("127.0.0.1", None, 80, "tcp"));
        assert_eq!(read("[::1]:8080:80"), right("::1", Some(8080), 80, "tcp"));
        for bad in ["", "0", "70000", "a", "80:", "1:2:3", "80/sctp", "3000-3005", "1.2.3:80:80", ":", "[::1]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
