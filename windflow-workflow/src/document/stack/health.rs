//! What a health check of ours tries: `x-windflow: { http: … }` or `{ tcp: … }`.

use super::keys::{HEALTH_OURS, HTTP};
use super::shape::{Cx, entry, fields, text};
use crate::document::decode::At;
use crate::document::tree::{Kind, Node};

/// Either of the two.
pub(super) fn ours(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let written = |key: &str| at.node.get(key).is_some();
    let node = if written("http") && written("tcp") { None } else { fields(at, &HEALTH_OURS, cx) };
    if written("http") == written("tcp") {
        at.error(cx.problems, "must hold either 'http' or 'tcp'");
        return None;
    }
    node
}

/// An HTTP check; its path is `/` when it has none.
pub(super) fn http(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut node = fields(at, &HTTP, cx)?;
    if let Some(found) = node.get("path") {
        if !found.value.as_text().unwrap_or_default().starts_with('/') {
            At { node: &found.value, path: format!("{}.path", at.path) }.error(cx.problems, "must start with '/'");
            return None;
        }
    } else if let Kind::Map(entries) = &mut node.kind {
        let span = node.span;
        entries.push(entry("path", text(span, "/")));
    }
    Some(node)
}
