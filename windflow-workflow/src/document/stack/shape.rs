//! What a piece of a Compose file looks like, and its long form: the one place that knows of short syntaxes.

use std::path::{Component, Path, PathBuf};

use windflow_core::workflow::did_you_mean;

use super::units;
use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::reader::join;
use crate::document::scalar::Scalar;
use crate::document::source::Span;
use crate::document::tree::{Entry, Kind, MergeTag, Node};

/// What a piece may be.
#[derive(Debug)]
pub(super) enum Shape {
    /// Text, which may hold expressions.
    Text,
    /// Text that is known when the file is read.
    Word,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number from one to another.
    Whole(i64, i64),
    /// Any number.
    Number,
    /// A number of bytes, `512m`; -1 where it may be without bound.
    Bytes,
    /// A time, `1m30s`.
    Duration,
    /// Permissions, `0440`.
    Mode,
    /// Where something is in a network, `10.0.0.5`.
    Address,
    /// One of these or a list of them.
    Addresses,
    /// Which addresses a network has, `10.0.0.0/24`.
    Subnet,
    /// The path of a file or folder of this machine.
    Path,
    /// Where something is built from: a path, or an address.
    Context,
    /// Whatever it is, it stays.
    Any,
    /// Text that is split into words, or a list of them.
    Command,
    /// What a health check tries.
    Test,
    /// A list of texts.
    Texts,
    /// A text or a list of them.
    TextOrTexts,
    /// A map of texts, or a list of `KEY=VALUE`.
    Pairs(Names),
    /// Names and their addresses.
    Hosts,
    /// A map whose keys the author chooses.
    Map(&'static Shape),
    /// A list.
    List(&'static Shape),
    /// A map whose keys the author chooses, or a list of these keys.
    Named(&'static Shape),
    /// A map of known keys.
    Fields(&'static Table),
    /// A map of known keys, or what a function makes one of.
    Short(ShortForm, &'static Table),
    /// A list of which each item may become several.
    Several(fn(&At<'_>, &mut Cx<'_>, &mut Vec<Node>), &'static Table),
    /// What only a function can read; it looks like a table once it was read.
    Own(fn(&At<'_>, &mut Cx<'_>) -> Option<Node>, &'static Table),
}

/// Makes a map of a short form; `None` when it was refused.
pub(super) type ShortForm = fn(&At<'_>, &mut Cx<'_>) -> Option<Node>;

/// What the keys of pairs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Variables: one without a value takes it from elsewhere.
    Variables,
    /// Labels: one without a value is empty.
    Labels,
    /// Options: only a map, and one without a value is empty.
    Options,
    /// Addresses of further build contexts.
    Contexts,
}

/// The keys of a map.
#[derive(Debug)]
pub(super) struct Table {
    /// Completes "is not a key of …".
    pub(super) what: &'static str,
    pub(super) keys: &'static [Key],
    /// Keys that are understood and refused, with what to tell.
    pub(super) later: &'static [(&'static str, &'static str)],
    /// Keys without which it says nothing, with a hint.
    pub(super) needs: &'static [(&'static str, &'static str)],
}

/// One of them.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) merge: Merge,
    /// Whether a value that is empty says something.
    pub(super) keep: bool,
}

/// How what a later file says is put together with what an earlier one did.
#[derive(Clone, Copy, Debug)]
pub(super) enum Merge {
    /// Maps key by key, lists one after the other, anything else anew.
    Deep,
    /// Anew.
    Replace,
    /// Lists one after the other; an item takes the place of another that has the same name.
    Unique(fn(&Node) -> String),
    /// By a rule of its own.
    By(fn(Node, Node, &Shape) -> Node),
}

impl Table {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// What a file is read with.
pub(super) struct Cx<'e> {
    pub(super) variables: &'e std::collections::BTreeMap<String, String>,
    /// The folder its paths start from, absolute.
    pub(super) folder: &'e Path,
    pub(super) problems: &'e mut Problems,
    /// How many more pieces may come out of short forms.
    pub(super) pieces: &'e mut usize,
}

impl Cx<'_> {
    /// A path as seen from the folder, without `.` and `..` in it.
    pub(super) fn absolute(&self, path: &str) -> String {
        let home = || self.variables.get("HOME").filter(|home| !home.is_empty());
        let path = match (path.strip_prefix('~'), home()) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => path.to_owned(),
        };
        clean(&self.folder.join(path))
    }
}

/// A path without `.`, `..` and double slashes.
pub(super) fn clean(path: &Path) -> String {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if out.components().next_back().is_some_and(|last| matches!(last, Component::Normal(_))) =>
            {
                out.pop();
            }
            Component::ParentDir if out.has_root() => {}
            part => out.push(part),
        }
    }
    if out.as_os_str().is_empty() { ".".to_owned() } else { out.to_string_lossy().into_owned() }
}

/// A text of the long form.
pub(super) fn text(span: Span, text: impl Into<Box<str>>) -> Node {
    Node::new(span, Kind::Scalar(Scalar::new(text, false)))
}

/// A number, a boolean or nothing of the long form.
pub(super) fn plain(span: Span, text: impl ToString) -> Node {
    Node::new(span, Kind::Scalar(Scalar::new(text.to_string(), true)))
}

/// A map of the long form.
pub(super) fn map<const N: usize>(span: Span, entries: [(&str, Option<Node>); N]) -> Node {
    let entries = entries.into_iter().filter_map(|(key, value)| Some(entry(key, value?)));
    Node::new(span, Kind::Map(entries.collect()))
}

/// An entry whose key stands where its value does.
pub(super) fn entry(key: &str, value: Node) -> Entry {
    Entry { key: key.into(), key_span: value.span, value }
}

/// The long form of a piece. `None` when it was refused; that was told.
pub(super) fn long(at: &At<'_>, shape: &Shape, cx: &mut Cx<'_>) -> Option<Node> {
    let node = at.node;
    if node.tag == Some(MergeTag::Reset) {
        return Some(Node { tag: node.tag, ..plain(node.span, "null") });
    }
    let mut out =
        if at.is_null() && !matches!(shape, Shape::Any) { plain(node.span, "null") } else { written(at, shape, cx)? };
    out.tag = node.tag;
    Some(out)
}

fn written(at: &At<'_>, shape: &Shape, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    match shape {
        Shape::Any => Some(at.node.clone()),
        Shape::Text => at.scalar_text(cx.problems).map(|found| text(span, found)),
        Shape::Word
        | Shape::Path
        | Shape::Context
        | Shape::Mode
        | Shape::Address
        | Shape::Subnet
        | Shape::Bytes
        | Shape::Duration => {
            let found = closed_text(at, cx)?;
            word(at, found, shape, cx)
        }
        Shape::Choice(words) => {
            let pairs: Vec<(&str, &str)> = words.iter().map(|word| (*word, *word)).collect();
            at.closed(cx.problems).then(|| at.choice(cx.problems, &pairs)).flatten().map(|found| text(span, found))
        }
        Shape::Flag => at.closed(cx.problems).then(|| at.boolean(cx.problems)).flatten().map(|yes| plain(span, yes)),
        Shape::Whole(least, most) => {
            at.closed(cx.problems).then(|| at.integer(cx.problems, *least, *most)).flatten().map(|n| plain(span, n))
        }
        Shape::Number => {
            let number = at.closed(cx.problems).then(|| at.number(cx.problems)).flatten()?;
            Some(plain(span, units::number(number)))
        }
        Shape::Command => command(at, cx),
        Shape::Test => test(at, cx),
        Shape::Texts => texts(at, cx),
        Shape::TextOrTexts => match &at.node.kind {
            Kind::Scalar(_) => {
                let found = at.scalar_text(cx.problems)?;
                Some(Node::new(span, Kind::List(vec![text(span, found)])))
            }
            Kind::Map(_) => at.expected(cx.problems, "text or a list"),
            Kind::List(_) => texts(at, cx),
        },
        Shape::Addresses => {
            let each: Vec<Node> = at.one_or_many().iter().filter_map(|at| long(at, &Shape::Address, cx)).collect();
            Some(Node::new(span, Kind::List(each)))
        }
        Shape::Pairs(names) => super::pairs::pairs(at, *names, cx),
        Shape::Hosts => super::pairs::hosts(at, cx),
        Shape::Map(shape) => {
            let entries = at.entries(cx.problems)?;
            let entries = entries.iter().filter_map(|(entry, at)| {
                let value = long(at, shape, cx)?;
                Some(Entry { key: entry.key.clone(), key_span: entry.key_span, value })
            });
            Some(Node::new(span, Kind::Map(entries.collect())))
        }
        Shape::List(shape) => {
            let items = at.items(cx.problems)?;
            let items = items.iter().filter_map(|at| long(at, shape, cx)).collect();
            Some(Node::new(span, Kind::List(items)))
        }
        Shape::Named(shape) => match &at.node.kind {
            Kind::List(_) => named(at, cx),
            _ => written(at, &Shape::Map(shape), cx),
        },
        Shape::Fields(table) => fields(at, table, cx),
        Shape::Short(short, table) => match &at.node.kind {
            Kind::Map(_) => fields(at, table, cx),
            _ => short(at, cx),
        },
        Shape::Several(each, _) => {
            let mut out = Vec::new();
            for at in at.items(cx.problems)? {
                each(&at, cx, &mut out);
            }
            Some(Node::new(span, Kind::List(out)))
        }
        Shape::Own(read, _) => read(at, cx),
    }
}

/// A text that is no expression.
fn closed_text<'n>(at: &At<'n>, cx: &mut Cx<'_>) -> Option<&'n str> {
    if !at.closed(cx.problems) {
        return None;
    }
    at.scalar_text(cx.problems)
}

fn word(at: &At<'_>, found: &str, shape: &Shape, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    let read = match shape {
        Shape::Path if found.is_empty() => Ok(String::new()),
        Shape::Path => Ok(cx.absolute(found)),
        Shape::Context if found.contains("://") || found.starts_with("git@") || found.starts_with("github.com/") => {
            Ok(found.to_owned())
        }
        Shape::Context => Ok(cx.absolute(found)),
        Shape::Bytes => units::bytes(found).map(|bytes| bytes.to_string()),
        Shape::Duration => {
            let read = at.duration(cx.problems)?;
            Ok(units::go_duration(read))
        }
        Shape::Mode => match &at.node.kind {
            Kind::Scalar(scalar) => units::mode(found, scalar.is_plain()).map(|mode| format!("0{mode:o}")),
            _ => return None,
        },
        Shape::Address => units::address(found).map(|()| found.to_owned()),
        Shape::Subnet => units::subnet(found).map(|()| found.to_owned()),
        _ => Ok(found.to_owned()),
    };
    match read {
        Ok(read) => Some(text(span, read)),
        Err(wrong) => {
            let (message, hint) =
                wrong.split_once("; ").map_or((wrong.as_str(), None), |(m, h)| (m, Some(h.to_owned())));
            cx.problems.hinted(span, &at.path, message, hint);
            None
        }
    }
}

fn texts(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let items = at.items(cx.problems)?;
    let items = items.iter().filter_map(|at| long(at, &Shape::Text, cx)).collect();
    Some(Node::new(at.node.span, Kind::List(items)))
}

/// A list of names as a map of nothing, which is written in full later.
fn named(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let mut out: Vec<Entry> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for at in at.items(cx.problems)? {
        let Some(name) = closed_text(&at, cx) else { continue };
        if seen.insert(name) {
            let span = at.node.span;
            out.push(Entry { key: name.into(), key_span: span, value: plain(span, "null") });
        } else {
            at.error(cx.problems, "is there twice");
        }
    }
    Some(Node::new(at.node.span, Kind::Map(out)))
}

fn command(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    match &at.node.kind {
        Kind::List(_) => texts(at, cx),
        Kind::Map(_) => at.expected(cx.problems, "text or a list"),
        Kind::Scalar(_) => {
            let found = at.scalar_text(cx.problems)?;
            // Where an expression ends up, and whether it holds spaces, is not known yet.
            if found.contains("${{") {
                return Some(text(span, found));
            }
            match units::words(found) {
                Ok(words) => {
                    Some(Node::new(span, Kind::List(words.into_iter().map(|word| text(span, word)).collect())))
                }
                Err(message) => {
                    at.hinted(cx.problems, message, "write a list, such as [sh, -c, \"…\"]");
                    None
                }
            }
        }
    }
}

fn test(at: &At<'_>, cx: &mut Cx<'_>) -> Option<Node> {
    let span = at.node.span;
    let Kind::Scalar(_) = &at.node.kind else { return texts(at, cx) };
    let found = at.scalar_text(cx.problems)?;
    let words: &[&str] = if found == "NONE" { &["NONE"] } else { &["CMD-SHELL", found] };
    Some(Node::new(span, Kind::List(words.iter().map(|word| text(span, *word)).collect())))
}

/// A map of known keys: what is not among them is refused, extensions stay.
pub(super) fn fields(at: &At<'_>, table: &'static Table, cx: &mut Cx<'_>) -> Option<Node> {
    let entries = at.entries(cx.problems)?;
    let mut out = Vec::with_capacity(entries.len());
    let mut meant = String::new();
    for (entry, at) in &entries {
        let found = table.key(&entry.key);
        if found.is_none() && !entry.key.starts_with("x-") {
            if !cx.problems.is_full() {
                meant.push_str(&unknown(entry, at, table, cx.problems));
            }
            continue;
        }
        let value = match found {
            Some(key) => long(at, &key.shape, cx),
            None => Some(at.node.clone()),
        };
        out.extend(value.map(|value| Entry { key: entry.key.clone(), key_span: entry.key_span, value }));
    }
    for (key, hint) in table.needs {
        let is_reset = |at: &At<'_>| at.node.tag == Some(MergeTag::Reset);
        let says = |at: &At<'_>| !at.is_null() && !is_reset(at) && at.node.as_text() != Some("");
        let there = entries.iter().any(|(entry, at)| *entry.key == **key && says(at));
        if !there && !meant.contains(&format!("'{key}'")) {
            cx.problems.hinted(at.node.span, &at.path, format_args!("'{key}' is missing"), Some((*hint).to_owned()));
        }
    }
    Some(Node::new(at.node.span, Kind::Map(out)))
}

/// Refuses a key, and answers what it may have been meant for.
fn unknown(entry: &Entry, at: &At<'_>, table: &Table, problems: &mut Problems) -> String {
    if let Some((_, told)) = table.later.iter().find(|(key, _)| *key == &*entry.key) {
        let (message, hint) = told.split_once("; ").map_or((*told, None), |(m, h)| (m, Some(h.to_owned())));
        problems.hinted(entry.key_span, &at.path, message, hint);
        return String::new();
    }
    let key: String = entry.key.chars().take(80).collect();
    let known: Vec<&str> = table.keys.iter().map(|key| key.name).filter(|name| *name != "version").collect();
    let near = did_you_mean(&key, known.iter().copied());
    let hint = near.clone().unwrap_or_else(|| {
        let shown: Vec<&str> = known.iter().copied().take(12).collect();
        let more = if known.len() > shown.len() { ", …" } else { "" };
        format!("known: {}{more}", shown.join(", "))
    });
    problems.hinted(entry.key_span, &at.path, format_args!("is not a key of {}", table.what), Some(hint));
    near.unwrap_or_default()
}

impl<'n> At<'n> {
    /// A scalar as text, whatever its type: Compose takes `8080` where a text is meant.
    pub(super) fn scalar_text(&self, problems: &mut Problems) -> Option<&'n str> {
        match &self.node.kind {
            Kind::Scalar(scalar) if !self.is_null() => Some(scalar.text()),
            _ => self.expected(problems, "text"),
        }
    }

    /// Refuses an expression where the type cannot carry one. Whether it may go on.
    pub(super) fn closed(&self, problems: &mut Problems) -> bool {
        let open = self.raw().is_some_and(|text| text.contains("${{"));
        if open {
            let hint = "an expression may stand in image, command, environment values and labels; use ${VAR} here";
            self.hinted(problems, "cannot hold an expression", hint);
        }
        !open
    }

    /// A member of the map it stands in.
    pub(super) fn member(&self, entry: &'n Entry) -> Self {
        At { node: &entry.value, path: join(&self.path, &entry.key) }
    }
}
