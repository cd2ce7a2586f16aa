//! `volumes` of a service: `data:/data:ro`, `./here:/there`, `/there`, or the long form.

use super::keys::MOUNT;
use super::shape::{Cx, clean, fields, map, plain, text};
use super::short::word;
use crate::document::decode::At;
use crate::document::tree::{Kind, Node};

/// The long form of one item.
pub(super) fn volumes(at: &At<'_>, cx: &mut Cx<'_>, out: &mut Vec<Node>) {
    let read = match &at.node.kind {
        Kind::Map(_) => long(at, cx),
        _ => short(at, cx),
    };
    out.extend(read);
}

fn long(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut node = fields(at, &MOUNT, cx)?;
    let kind = node.text_of("type").unwrap_or_default().to_owned();
    if kind == "bind" && node.text_of("source").is_none_or(str::is_empty) {
        at.hinted(cx.problems, "'source' is missing", "the path on the machine");
        return None;
    }
    let Kind::Map(entries) = &mut node.kind else { return None };
    for entry in entries {
        let Kind::Scalar(scalar) = &entry.value.kind else { continue };
        let changed = match &*entry.key {
            "source" if kind == "bind" => cx.absolute(scalar.text()),
            "target" if !scalar.text().is_empty() => clean(scalar.text().as_ref()),
            _ => continue,
        };
        entry.value = text(entry.value.span, changed);
    }
    Some(node)
}

/// `data:/data:ro`, `./here:/there`, `/there`.
fn short(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    let found = word(at, cx)?;
    let parts: Vec<&str> = found.split(':').collect();
    let hint = "write \"data:/data\", \"./here:/there:ro\", or the long form";
    let (source, target, options) = match parts.as_slice() {
        _ if parts.iter().any(|part| part.is_empty()) => {
            at.hinted(cx.problems, "has an empty part between its colons", hint);
            return None;
        }
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => {
            at.hinted(cx.problems, "has too many colons", hint);
            return None;
        }
    };
    let mut read_only = false;
    let (mut nocopy, mut propagation, mut selinux) = (false, None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => nocopy = true,
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => propagation = Some(option),
            "z" | "Z" => selinux = Some(option),
            // The engine takes them in, and they change nothing on Linux.
            "cached" | "delegated" | "consistent" => {}
            _ => {
                let known = "known: ro, rw, nocopy, z, Z, private, rprivate, shared, rshared, slave, rslave";
                at.hinted(cx.problems, format_args!("'{option}' is no option of a volume"), known);
                return None;
            }
        }
    }
    let folder = source.is_some_and(|source| source.starts_with(['.', '/', '~']));
    let yes = |yes: bool| yes.then(|| plain(span, "true"));
    let of_volume = map(span, [("nocopy", yes(nocopy))]);
    let of_bind = map(
        span,
        [
            ("propagation", propagation.map(|word| text(span, word))),
            ("create_host_path", Some(plain(span, "true"))),
            ("selinux", selinux.map(|word| text(span, word))),
        ],
    );
    Some(map(
        span,
        [
            ("type", Some(text(span, if folder { "bind" } else { "volume" }))),
            ("source", source.map(|source| text(span, if folder { cx.absolute(source) } else { source.to_owned() }))),
            ("target", Some(text(span, clean(target.as_ref())))),
            ("read_only", yes(read_only)),
            ("bind", folder.then_some(of_bind)),
            ("volume", (!folder || nocopy).then_some(of_volume)),
        ],
    ))
}
