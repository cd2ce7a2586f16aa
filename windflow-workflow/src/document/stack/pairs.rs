//! Pairs: `environment`, `labels` and their like, as maps or as lists of `KEY=VALUE`; hosts and their addresses.

use std::collections::{BTreeMap, BTreeSet};

use super::shape::{Cx, Names, plain, text};
use super::units;
use crate::document::decode::At;
use crate::document::source::Span;
use crate::document::tree::{Entry, Kind, Node};

fn is_label(key: &str) -> bool {
    // Where ours begin, a stack that is printed could not be read again.
    !key.is_empty() && !key.contains("${{")
}

/// Whether a variable may be called so.
pub(super) fn is_variable(key: &str) -> bool {
    is_label(key) && !key.contains(['=', '\0'])
}

/// A map of texts. A variable without a value stays without one; a label gets an empty text.
pub(super) fn pairs(at: &At<'_>, names: Names, cx: &mut Cx<'_>) -> Option<Node> {
    let mut out: Vec<Entry> = Vec::new();
    match &at.node.kind {
        Kind::List(_) if names == Names::Options => return at.expected(cx.problems, "a map"),
        Kind::List(_) => {
            let mut seen = BTreeSet::new();
            for at in at.items(cx.problems)? {
                let Some(found) = at.scalar_text(cx.problems) else { continue };
                let (key, value) = match found.split_once('=') {
                    Some((key, value)) => (key, Some(value)),
                    None => (found, None),
                };
                if !seen.insert(key) {
                    at.error(cx.problems, format_args!("'{key}' is there twice"));
                    continue;
                }
                let span = at.node.span;
                push(&mut out, (key, span), value.map(|value| (value, span)), &at, names, cx);
            }
        }
        Kind::Map(_) => {
            for (entry, at) in at.entries(cx.problems)? {
                let value = if at.is_null() {
                    None
                } else {
                    match at.scalar_text(cx.problems) {
                        Some(found) => Some((found, at.node.span)),
                        None => continue,
                    }
                };
                push(&mut out, (&entry.key, entry.key_span), value, &at, names, cx);
            }
        }
        Kind::Scalar(_) => return at.expected(cx.problems, "a map or a list of KEY=VALUE"),
    }
    Some(Node::new(at.node.span, Kind::Map(out)))
}

fn push(
    out: &mut Vec<Entry>,
    (key, key_span): (&str, Span),
    value: Option<(&str, Span)>,
    at: &At<'_>,
    names: Names,
    cx: &mut Cx<'_>,
) {
    let variables = names == Names::Variables;
    if !is_label(key) || variables && !is_variable(key) {
        let what = if variables { "is not a variable's name" } else { "is not a label's name" };
        cx.problems.error(key_span, &at.path, what);
        return;
    }
    let value = match value {
        Some((value, span)) if names == Names::Contexts => {
            let elsewhere = value.contains("://") || value.starts_with("service:") || value.starts_with("git@");
            text(span, if elsewhere { value.to_owned() } else { cx.absolute(value) })
        }
        Some((value, span)) => text(span, value),
        None if matches!(names, Names::Labels | Names::Options) => text(key_span, ""),
        None => plain(key_span, "null"),
    };
    let value = Node { tag: at.node.tag, ..value };
    out.push(Entry { key: key.into(), key_span, value });
}

/// `extra_hosts`: a list of `NAME=ADDRESS`, in order.
pub(super) fn hosts(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut found: BTreeMap<String, Span> = BTreeMap::new();
    let mut note = |name: &str, address: &str, at: &At<'_>, cx: &mut Cx<'_>| {
        let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if name.is_empty() || name.contains([':', '=']) || address.is_empty() || address.contains([',', ' ']) {
            at.hinted(cx.problems, "does not name a host and its address", "write \"name=1.2.3.4\"");
            return;
        }
        // The engine knows that one by itself.
        if address != "host-gateway"
            && let Err(wrong) = units::address(address)
        {
            let (message, hint) = wrong.split_once("; ").unwrap_or((&wrong, ""));
            at.hinted(cx.problems, message, hint);
            return;
        }
        found.entry(format!("{name}={address}")).or_insert(at.node.span);
    };
    match &at.node.kind {
        Kind::List(_) => {
            for at in at.items(cx.problems)? {
                let Some(line) = at.closed(cx.problems).then(|| at.scalar_text(cx.problems)).flatten() else {
                    continue;
                };
                let (name, addresses) = line.split_once('=').or_else(|| line.split_once(':')).unwrap_or((line, ""));
                for address in addresses.split(',') {
                    note(name, address, &at, cx);
                }
            }
        }
        Kind::Map(_) => {
            for (entry, at) in at.entries(cx.problems)? {
                for at in at.one_or_many() {
                    if let Some(address) = at.closed(cx.problems).then(|| at.scalar_text(cx.problems)).flatten() {
                        note(&entry.key, address, &at, cx);
                    }
                }
            }
        }
        Kind::Scalar(_) => return at.expected(cx.problems, "a map or a list of NAME=ADDRESS"),
    }
    let items = found.into_iter().map(|(line, span)| text(span, line)).collect();
    Some(Node::new(at.node.span, Kind::List(items)))
}
