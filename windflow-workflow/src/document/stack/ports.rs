//! `ports`: `"8080"`, `"8080:80"`, `"127.0.0.1:8080-8089:80-89/tcp"`, or the long form.

use std::net::IpAddr;

use super::keys::PORT;
use super::shape::{Cx, fields, map, plain, text};
use crate::document::decode::At;
use crate::document::tree::{Kind, Node};

const HINT: &str = "write \"8080\", \"8080:80\" or \"127.0.0.1:8080:80/tcp\"";

/// What a short form says: from which to which port, on which address.
#[derive(Debug, PartialEq, Eq)]
struct Short<'t> {
    host_ip: Option<&'t str>,
    published: Option<(u16, u16)>,
    target: (u16, u16),
    protocol: String,
}

/// The long forms of one item: one for each port.
pub(super) fn ports(at: &At<'_>, cx: &mut Cx<'_>, out: &mut Vec<Node>) {
    let before = out.len();
    match &at.node.kind {
        Kind::Map(_) => out.extend(long(at, cx)),
        Kind::Scalar(_) => {
            let Some(found) = at.closed(cx.problems).then(|| at.scalar_text(cx.problems)).flatten() else { return };
            match read_short(found) {
                Ok(short) => expand(&short, at, cx, out),
                Err(message) => at.hinted(cx.problems, message, HINT),
            }
        }
        Kind::List(_) => {
            at.expected::<()>(cx.problems, "a port such as \"8080:80\"");
        }
    }
    // A list of many ports is not compared with itself item by item.
    if out.len() - before == 1 && before < 1_000 {
        let new = name(&out[before]);
        if out[..before].iter().any(|port| name(port) == new) {
            out.pop();
            at.error(cx.problems, "is there twice");
        }
    }
}

fn expand(short: &Short<'_>, at: &At<'_>, cx: &mut Cx<'_>, out: &mut Vec<Node>) {
    let span = at.node.span;
    let count = short.target.1 - short.target.0;
    let Some(left) = cx.pieces.checked_sub(usize::from(count) * 8) else {
        at.error(cx.problems, "makes the stack too large: there are too many ports in all");
        return;
    };
    *cx.pieces = left;
    for step in 0..=count {
        let published = short.published.map(|(from, to)| {
            // Many ports for one: any of them will do.
            if count == 0 && to > from { format!("{from}-{to}") } else { (from + step).to_string() }
        });
        out.push(map(
            span,
            [
                ("mode", Some(text(span, "ingress"))),
                ("host_ip", short.host_ip.map(|address| text(span, address))),
                ("target", Some(plain(span, short.target.0 + step))),
                ("published", published.map(|port| text(span, port))),
                ("protocol", Some(text(span, short.protocol.as_str()))),
            ],
        ));
    }
}

fn read_short(text: &str) -> Result<Short<'_>, String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(&*protocol, "tcp" | "udp" | "sctp") {
        return Err(format!("the protocol must be tcp, udp or sctp, not '{protocol}'"));
    }
    // An IPv6 address stands in brackets, or before the last two colons: `[::1]:8080:80`, `::1:8080:80`.
    let (host_ip, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((address, rest)) => (Some(address), rest),
        None => match rest.rmatch_indices(':').nth(1) {
            Some((colon, _)) => (Some(&rest[..colon]), &rest[colon + 1..]),
            None => (None, rest),
        },
    };
    if let Some(address) = host_ip
        && address.parse::<IpAddr>().is_err()
    {
        return Err(format!("'{address}' is not an IP address"));
    }
    let (published, target) = match rest.split_once(':') {
        Some((published, target)) => (Some(published).filter(|text| !text.is_empty()), target),
        None => (None, rest),
    };
    let (published, target) = (published.map(range).transpose()?, range(target)?);
    if let Some((from, to)) = published
        && target.1 > target.0
        && to - from != target.1 - target.0
    {
        return Err("the two ranges of ports are not equally long".to_owned());
    }
    Ok(Short { host_ip, published, target, protocol })
}

/// A port, or from one to another.
fn range(text: &str) -> Result<(u16, u16), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (port(from)?, port(to)?);
    if from > to { Err(format!("the range '{text}' runs backwards")) } else { Ok((from, to)) }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("'{text}' is not a port: a number from 1 to 65535")),
    }
}

fn long(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut node = fields(at, &PORT, cx)?;
    let Kind::Map(entries) = &mut node.kind else { return None };
    let mut good = true;
    entries.retain_mut(|entry| {
        let Kind::Scalar(scalar) = &entry.value.kind else { return true };
        let inner = At { node: &entry.value, path: format!("{}.{}", at.path, entry.key) };
        let told = match &*entry.key {
            "target" => port(scalar.text()).map(|port| plain(entry.value.span, port)),
            "published" if scalar.text().is_empty() => return false,
            "published" => range(scalar.text()).map(|_| entry.value.clone()),
            "host_ip" if scalar.text().parse::<IpAddr>().is_err() => {
                Err(format!("'{}' is not an IP address", scalar.text()))
            }
            _ => return true,
        };
        match told {
            Ok(value) => entry.value = value,
            Err(message) => {
                inner.error(cx.problems, message);
                good = false;
            }
        }
        true
    });
    good.then_some(node)
}

/// What two ports may not have in common.
pub(super) fn name(port: &Node) -> String {
    let get = |key: &str, or: &str| port.text_of(key).unwrap_or(or).to_owned();
    format!("{}:{}:{}/{}", get("host_ip", ""), get("published", ""), get("target", ""), get("protocol", "tcp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ports_read_as_compose_reads_them() {
        let read = |text| {
            let port = read_short(text)?;
            Ok((port.host_ip.unwrap_or_default().to_owned(), port.published, port.target, port.protocol))
        };
        let right = |ip: &str, published: Option<(u16, u16)>, target, protocol: &str| -> Result<_, String> {
            Ok((ip.to_owned(), published, target, protocol.to_owned()))
        };
        assert_eq!(read("8080"), right("", None, (8080, 8080), "tcp"));
        assert_eq!(read("8080:80"), right("", Some((8080, 8080)), (80, 80), "tcp"));
        assert_eq!(read("53:53/UDP"), right("", Some((53, 53)), (53, 53), "udp"));
        assert_eq!(read("127.0.0.1:8080:80/tcp"), right("127.0.0.1", Some((8080, 8080)), (80, 80), "tcp"));
        assert_eq!(read("127.0.0.1::80"), right("127.0.0.1", None, (80, 80), "tcp"));
        assert_eq!(read("[::1]:8080:80"), right("::1", Some((8080, 8080)), (80, 80), "tcp"));
        assert_eq!(read("::1:8080:80"), right("::1", Some((8080, 8080)), (80, 80), "tcp"));
        assert_eq!(read("3000-3005"), right("", None, (3000, 3005), "tcp"));
        assert_eq!(read("9000-9010:80/sctp"), right("", Some((9000, 9010)), (80, 80), "sctp"));
        assert_eq!(read("9000-9001:80-81"), right("", Some((9000, 9001)), (80, 81), "tcp"));
        for bad in
            ["", "0", "70000", "a", "80:", "1:2:3", "80/x", "3005-3000", "1-2:1-3", "1.2.3:80:80", ":", "[::1]", "-1"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
