//! Puts together what several files, or a service and the one it extends, say: by the rules of the Compose Specification.

use std::collections::BTreeMap;

use super::shape::{Key, Merge, Names, Shape, Table};
use crate::document::tree::{Entry, Kind, MergeTag, Node};

/// A stack file's tree onto that of an earlier one. Tags have done their work afterwards.
pub(super) fn files(base: Node, over: Node, table: &'static Table) -> Node {
    untagged(fields(base, over, table))
}

/// What a file says onto what it includes. Its tags stay: they speak to earlier files, too.
pub(super) fn above(base: Node, over: Node, table: &'static Table) -> Node {
    fields(untagged(base), over, table)
}

/// A service's own keys onto those of the service it extends. Its tags stay: they speak to earlier files, too.
pub(super) fn services(base: Node, over: Node, table: &'static Table) -> Node {
    fields(untagged(base), over, table)
}

/// The same without tags, and without what was reset.
pub(super) fn untagged(mut node: Node) -> Node {
    node.tag = None;
    let reset = |node: &Node| node.tag == Some(MergeTag::Reset);
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::List(items) => {
            items.retain(|item| !reset(item));
            items.iter_mut().for_each(|item| *item = untagged(std::mem::replace(item, nothing(item))));
        }
        Kind::Map(entries) => {
            entries.retain(|entry| !reset(&entry.value));
            for entry in entries {
                entry.value = untagged(std::mem::replace(&mut entry.value, nothing(&node_at(entry.key_span))));
            }
        }
    }
    node
}

fn nothing(like: &Node) -> Node {
    Node::new(like.span, Kind::List(Vec::new()))
}

fn node_at(span: crate::document::source::Span) -> Node {
    Node::new(span, Kind::List(Vec::new()))
}

fn fields(base: Node, over: Node, table: &'static Table) -> Node {
    by_entry(base, over, |name, base, over| match table.key(name) {
        Some(key) => keyed(base, over, key),
        None => value(base, over, &Shape::Any),
    })
}

fn keyed(base: Node, over: Node, key: &'static Key) -> Node {
    match (over.tag, key.merge) {
        (Some(_), _) => over,
        (None, Merge::Replace) if over.is_nothing() => base,
        (None, Merge::Replace) => over,
        (None, Merge::By(_)) if over.is_nothing() => base,
        (None, Merge::By(rule)) => rule(base, over, &key.shape),
        (None, Merge::Unique(name)) => unique(value(base, over, &key.shape), name),
        (None, Merge::Deep) => value(base, over, &key.shape),
    }
}

/// Any value onto another.
fn value(base: Node, over: Node, shape: &Shape) -> Node {
    if over.tag.is_some() {
        return over;
    }
    if over.is_nothing() {
        return base;
    }
    match (&base.kind, &over.kind) {
        (Kind::Map(_), Kind::Map(_)) => match shape {
            Shape::Fields(table) | Shape::Short(_, table) | Shape::Own(_, table) => fields(base, over, table),
            Shape::Map(inner) | Shape::Named(inner) => by_entry(base, over, |_, base, over| value(base, over, inner)),
            // A variable without a value takes the place of one with a value, too.
            Shape::Pairs(Names::Variables) => by_entry(base, over, |_, _, over| over),
            _ => by_entry(base, over, |_, base, over| value(base, over, &Shape::Any)),
        },
        (Kind::List(_), Kind::List(_)) => {
            let Node { kind: Kind::List(mut items), span, tag } = base else { return over };
            if let Kind::List(more) = over.kind {
                items.extend(more);
            }
            Node { kind: Kind::List(items), span, tag }
        }
        _ => over,
    }
}

/// Maps entry by entry: what is in both is put together, the rest stays.
fn by_entry(base: Node, over: Node, mut both: impl FnMut(&str, Node, Node) -> Node) -> Node {
    if over.tag.is_some() {
        return over;
    }
    let Node { kind: Kind::Map(mut entries), .. } = base else { return over };
    let Node { kind: Kind::Map(more), span, tag } = over else { return Node { kind: Kind::Map(entries), ..over } };
    let places: BTreeMap<Box<str>, usize> =
        entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
    for entry in more {
        match places.get(&entry.key) {
            Some(place) => {
                let there = &mut entries[*place];
                let base = std::mem::replace(&mut there.value, node_at(there.key_span));
                let value = both(&entry.key, base, entry.value);
                *there = Entry { key: entry.key, key_span: entry.key_span, value };
            }
            None => entries.push(entry),
        }
    }
    Node { kind: Kind::Map(entries), span, tag }
}

/// A list in which a later item stands in the place of an earlier one of the same name.
pub(super) fn unique(mut node: Node, name: fn(&Node) -> String) -> Node {
    let Kind::List(items) = &mut node.kind else { return node };
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        match places.get(&name(&item)) {
            Some(place) => kept[*place] = item,
            None => {
                places.insert(name(&item), kept.len());
                kept.push(item);
            }
        }
    }
    *items = kept;
    node
}

/// A text as a whole.
pub(super) fn whole(node: &Node) -> String {
    node.as_text().unwrap_or_default().to_owned()
}

/// A text up to `=`.
pub(super) fn by_key(node: &Node) -> String {
    let text = node.as_text().unwrap_or_default();
    text.split_once('=').map_or(text, |(key, _)| key).to_owned()
}

/// A path: of an `env_file`, or of a text up to `:`.
pub(super) fn by_path(node: &Node) -> String {
    let text = node.text_of("path").or(node.as_text()).unwrap_or_default();
    match &node.kind {
        Kind::Scalar(_) => text.split_once(':').map_or(text, |(path, _)| path).to_owned(),
        _ => text.to_owned(),
    }
}

/// The place in the container.
pub(super) fn by_target(node: &Node) -> String {
    node.text_of("target").or(node.text_of("source")).unwrap_or_default().to_owned()
}

/// The place of a secret in the container.
pub(super) fn by_secret(node: &Node) -> String {
    mounted(node, "/run/secrets/")
}

/// The place of a config in the container.
pub(super) fn by_config(node: &Node) -> String {
    mounted(node, "/")
}

fn mounted(node: &Node, folder: &str) -> String {
    match (node.text_of("target"), node.text_of("source")) {
        (Some(target), _) => target.to_owned(),
        (None, source) => format!("{folder}{}", source.unwrap_or_default()),
    }
}

/// Entry by entry, each anew.
pub(super) fn entries(base: Node, over: Node, _: &Shape) -> Node {
    by_entry(base, over, |_, base, over| if over.is_nothing() { base } else { over })
}

/// Options of one driver mean nothing to another.
pub(super) fn logging(base: Node, over: Node, shape: &Shape) -> Node {
    match (base.text_of("driver"), over.text_of("driver")) {
        (Some(before), Some(now)) if before != now => over,
        _ => value(base, over, shape),
    }
}

/// Address pools are the same when their subnets are.
pub(super) fn pools(base: Node, over: Node, _: &Shape) -> Node {
    let (Node { kind: Kind::List(mut pools), span, tag }, Node { kind: Kind::List(more), .. }) = (base, over) else {
        return node_at(crate::document::source::Span::START);
    };
    for pool in more {
        let subnet = pool.text_of("subnet");
        match pools.iter_mut().find(|there| there.text_of("subnet") == subnet) {
            Some(there) => {
                let base = std::mem::replace(there, node_at(pool.span));
                *there = value(base, pool, &Shape::Any);
            }
            None => pools.push(pool),
        }
    }
    Node { kind: Kind::List(pools), span, tag }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::source::Span;
    use crate::document::stack::keys::SERVICE;
    use crate::document::stack::shape::{map, plain, text};

    fn list(items: Vec<Node>) -> Node {
        Node::new(Span::START, Kind::List(items))
    }

    fn pairs(pairs: BTreeMap<String, Option<String>>) -> Node {
        let value = |value: Option<String>| match value {
            Some(value) => text(Span::START, value),
            None => plain(Span::START, "null"),
        };
        let entry = |(key, found): (String, Option<String>)| Entry {
            key: key.into(),
            key_span: Span::START,
            value: value(found),
        };
        Node::new(Span::START, Kind::Map(pairs.into_iter().map(entry).collect()))
    }

    /// A service in long form: scalars, pairs, lists, lists with names.
    fn service() -> impl Strategy<Value = Node> {
        let words = || prop::collection::vec("[a-c]", 0..3);
        let some = |strategy| prop::option::of(strategy);
        let texts = |words: Vec<String>| list(words.into_iter().map(|word| text(Span::START, word)).collect());
        let port = |(published, target): (u16, u16)| {
            map(
                Span::START,
                [
                    ("published", Some(text(Span::START, published.to_string()))),
                    ("target", Some(plain(Span::START, target))),
                ],
            )
        };
        let ports = prop::collection::vec((1..3_u16, 1..3_u16), 0..3)
            .prop_map(move |ports| list(ports.into_iter().map(port).collect()));
        let environment = prop::collection::btree_map("[A-C]", prop::option::of("[a-z]"), 0..3);
        let fields = (
            some("[a-z]".boxed()),
            some("[a-z]".boxed()),
            prop::option::of(environment),
            prop::option::of(words()),
            prop::option::of(words()),
            prop::option::of(words()),
            prop::option::of(ports),
        );
        fields.prop_map(move |(image, hostname, environment, command, caps, groups, ports)| {
            map(
                Span::START,
                [
                    ("image", image.map(|word| text(Span::START, word))),
                    ("hostname", hostname.map(|word| text(Span::START, word))),
                    ("environment", environment.map(pairs)),
                    ("command", command.map(texts)),
                    ("cap_add", caps.map(texts)),
                    ("group_add", groups.map(texts)),
                    ("ports", ports),
                ],
            )
        })
    }

    proptest! {
        /// Files may be put together two by two from either end.
        #[test]
        fn merging_is_associative(a in service(), b in service(), c in service()) {
            let merge = |base: &Node, over: &Node| fields(base.clone(), over.clone(), &SERVICE);
            prop_assert_eq!(merge(&merge(&a, &b), &c).to_value(), merge(&a, &merge(&b, &c)).to_value());
        }

        /// What says nothing changes nothing.
        #[test]
        fn nothing_changes_nothing(a in service()) {
            let nothing = Node::new(Span::START, Kind::Map(Vec::new()));
            // A list may name one thing twice before anything is merged onto it.
            let once = fields(a.clone(), a.clone(), &SERVICE);
            prop_assert_eq!(fields(once.clone(), nothing.clone(), &SERVICE).to_value(), once.to_value());
            prop_assert_eq!(fields(nothing, a.clone(), &SERVICE).to_value(), a.to_value());
        }
    }

    #[test]
    fn a_reset_takes_away_and_an_override_stands_alone() {
        let tagged = |tag: MergeTag, node: Node| Node { tag: Some(tag), ..node };
        let base = map(
            Span::START,
            [("image", Some(text(Span::START, "a"))), ("cap_add", Some(list(vec![text(Span::START, "X")])))],
        );
        let over = map(
            Span::START,
            [
                ("image", Some(tagged(MergeTag::Reset, plain(Span::START, "null")))),
                ("cap_add", Some(tagged(MergeTag::Override, list(vec![text(Span::START, "Y")])))),
            ],
        );
        assert_eq!(files(base, over, &SERVICE).to_value(), serde_json::json!({ "cap_add": ["Y"] }));
    }
}
