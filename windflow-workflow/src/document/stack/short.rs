//! Short forms of volumes, devices, files, builds and their like, as maps of the long form.

use super::shape::{Cx, Shape, entry, long, map, plain, text};
use crate::document::decode::At;
use crate::document::source::Span;
use crate::document::tree::{Entry, Kind, Node};

/// A text that is no expression.
pub(super) fn word<'n>(at: &At<'n>, cx: &mut Cx<'_>) -> Option<&'n str> {
    if !at.closed(cx.problems) {
        return None;
    }
    at.scalar_text(cx.problems)
}

/// `/dev/a`, `/dev/a:/dev/b`, `/dev/a:/dev/b:rw`.
pub(super) fn device(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    let found = word(at, cx)?;
    let parts: Vec<&str> = found.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => {
            at.hinted(cx.problems, "has too many colons", "write \"/dev/here:/dev/there:rwm\", or the long form");
            return None;
        }
    };
    if source.is_empty() {
        at.hinted(cx.problems, "names no device", "write \"/dev/here:/dev/there:rwm\", or the long form");
        return None;
    }
    let texts = [("source", source), ("target", if target.is_empty() { source } else { target })];
    let texts = texts.map(|(key, value)| (key, Some(text(span, value))));
    let [source, target] = texts;
    Some(map(span, [source, target, ("permissions", Some(text(span, permissions)))]))
}

/// A secret or config by its name.
pub(super) fn file_mount(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let found = word(at, cx)?;
    if found.is_empty() {
        at.error(cx.problems, "must name a secret or config of the stack");
        return None;
    }
    Some(map(at.node.span, [("source", Some(text(at.node.span, found)))]))
}

/// The folder something is built from.
pub(super) fn build(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let context = long(at, &Shape::Context, cx)?;
    Some(map(at.node.span, [("context", Some(context))]))
}

/// The service that is extended.
pub(super) fn extends(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let found = word(at, cx)?;
    Some(map(at.node.span, [("service", Some(text(at.node.span, found)))]))
}

/// One bound for both.
pub(super) fn ulimit(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    long(at, &Shape::Whole(-1, i64::MAX), cx)
}

/// The files with variables: a name, or a list of names and maps.
pub(super) fn env_file(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut out = Vec::new();
    for at in at.one_or_many() {
        let span = at.node.span;
        out.extend(match &at.node.kind {
            Kind::Map(_) => super::shape::fields(&at, &super::keys::ENV_FILE, cx),
            _ => long(&at, &Shape::Path, cx).map(|path| map(span, [("path", Some(path))])),
        });
    }
    Some(Node::new(at.node.span, Kind::List(out)))
}

/// The files with labels: a name, or a list of names.
pub(super) fn label_file(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let files = at.one_or_many().iter().filter_map(|at| long(at, &Shape::Path, cx)).collect();
    Some(Node::new(at.node.span, Kind::List(files)))
}

/// `all`, or a list of what is asked for.
pub(super) fn gpus(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    let list = |items: Vec<Node>| Some(Node::new(span, Kind::List(items)));
    match &at.node.kind {
        Kind::List(_) => {
            let items = at.items(cx.problems)?;
            list(items.iter().filter_map(|at| super::shape::fields(at, &super::keys::GPU, cx)).collect())
        }
        _ if at.raw() == Some("all") => list(vec![map(span, [("count", Some(plain(span, -1)))])]),
        _ => at.expected(cx.problems, "all, or a list of devices"),
    }
}

/// How many devices: a number, or `all`.
pub(super) fn count(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    match at.raw() {
        Some("all") => Some(plain(at.node.span, -1)),
        _ => long(at, &Shape::Whole(-1, i64::MAX), cx),
    }
}

/// `external: true`, and the old form with a name in it.
pub(super) fn external(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    match &at.node.kind {
        Kind::Map(_) => super::shape::fields(at, &super::keys::EXTERNAL, cx),
        _ => long(at, &Shape::Flag, cx),
    }
}

/// A network, volume, secret or config: the name that stands in `external` stands beside it.
pub(super) fn shared(mut node: Node) -> Node {
    let Kind::Map(entries) = &mut node.kind else { return node };
    let named = entries.iter().any(|entry| &*entry.key == "name");
    let Some(external) = entries.iter_mut().find(|entry| &*entry.key == "external") else { return node };
    let Kind::Map(inside) = &mut external.value.kind else { return node };
    let inside = std::mem::take(inside);
    external.value = plain(external.value.span, "true");
    let name = inside.into_iter().find(|entry| &*entry.key == "name" && !named);
    entries.extend(name);
    node
}

/// Keys for a build's SSH: `default`, `id=path`.
pub(super) fn ssh(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut out: Vec<Node> = Vec::new();
    let key = |id: &str, path: Option<&str>, span: Span, cx: &Cx<'_>| {
        text(span, path.map_or_else(|| id.to_owned(), |path| format!("{id}={}", cx.absolute(path))))
    };
    match &at.node.kind {
        Kind::Map(_) => {
            for (found, at) in at.entries(cx.problems)? {
                let path = if at.is_null() { None } else { word(&at, cx) };
                out.push(key(&found.key, path, at.node.span, cx));
            }
        }
        _ => {
            for at in at.one_or_many() {
                let Some(found) = word(&at, cx) else { continue };
                let (id, path) = found.split_once('=').map_or((found, None), |(id, path)| (id, Some(path)));
                out.push(key(id, path, at.node.span, cx));
            }
        }
    }
    Some(Node::new(at.node.span, Kind::List(out)))
}

/// `provenance` and `sbom`: a switch, or text; always text in the end.
pub(super) fn switch(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    word(at, cx).map(|found| text(at.node.span, found))
}

/// The options of a provider: texts, or lists of them; always lists in the end.
pub(super) fn options(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut out = Vec::new();
    for (found, at) in at.entries(cx.problems)? {
        let items =
            at.one_or_many().iter().filter_map(|at| Some(text(at.node.span, at.scalar_text(cx.problems)?))).collect();
        out.push(Entry { value: Node::new(at.node.span, Kind::List(items)), ..found.clone() });
    }
    Some(Node::new(at.node.span, Kind::Map(out)))
}

/// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
pub(super) fn restart(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    if !at.closed(cx.problems) {
        return None;
    }
    let words = ["no", "always", "on-failure", "unless-stopped"];
    match at.raw() {
        Some("false") => Some(text(at.node.span, "no")),
        Some(found) if words.contains(&found) => Some(text(at.node.span, found)),
        Some(found) if found.starts_with("on-failure:") => match found["on-failure:".len()..].parse::<u32>() {
            Ok(_) => Some(text(at.node.span, found)),
            Err(_) => {
                at.hinted(cx.problems, "does not say how often", "write on-failure:3");
                None
            }
        },
        _ => at.choice::<()>(cx.problems, &words.map(|word| (word, ()))).and(None),
    }
}

/// A list of services, or a map of how each is waited for.
pub(super) fn depends_on(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    match &at.node.kind {
        Kind::List(_) => {
            let mut out: Vec<Entry> = Vec::new();
            let mut seen = std::collections::BTreeSet::new();
            for at in at.items(cx.problems)? {
                let Some(name) = at.name(cx.problems, windflow_core::ServiceName::new) else { continue };
                if !seen.insert(name.clone()) {
                    at.error(cx.problems, "is there twice");
                    continue;
                }
                let span = at.node.span;
                let started = ("condition", Some(text(span, "service_started")));
                out.push(entry(name.as_str(), map(span, [started, ("required", Some(plain(span, true)))])));
            }
            Some(Node::new(span, Kind::Map(out)))
        }
        Kind::Map(_) => {
            let mut out = Vec::new();
            for (found, at) in at.entries(cx.problems)? {
                if let Err(error) = windflow_core::ServiceName::new(&found.key) {
                    cx.problems.error(found.key_span, &at.path, error);
                    continue;
                }
                if let Some(value) = super::shape::fields(&at, &super::keys::DEPENDENCY, cx) {
                    out.push(Entry { value: Node { tag: at.node.tag, ..value }, ..found.clone() });
                }
            }
            Some(Node::new(span, Kind::Map(out)))
        }
        Kind::Scalar(_) => at.expected(cx.problems, "a list of services or a map"),
    }
}

/// Permissions as a number.
pub(super) fn mode(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let found = word(at, cx)?;
    let Kind::Scalar(scalar) = &at.node.kind else { return None };
    match super::units::mode(found, scalar.is_plain()) {
        Ok(mode) => Some(plain(at.node.span, mode)),
        Err(message) => {
            at.error(cx.problems, message);
            None
        }
    }
}
