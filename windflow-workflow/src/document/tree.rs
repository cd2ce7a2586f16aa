//! What a YAML file holds, each piece with its place.

use serde_json::Value;

use super::scalar::Scalar;
use super::source::Span;

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it stands. What an alias brought in stands where it was written.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// What a piece of a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, a number, true, false or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order it was written; keys are unique.
    Map(Vec<Entry>),
}

/// A key and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Box<str>,
    /// Where the key stands.
    pub key_span: Span,
    /// What it holds.
    pub value: Node,
}

impl Node {
    /// The value of a key, when this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| &*entry.key == key),
            _ => None,
        }
    }

    /// What it is, for a message.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.describe(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        }
    }

    /// As JSON, by the core schema of YAML 1.2.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.to_value(),
            Kind::List(items) => items.iter().map(Self::to_value).collect(),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_value())).collect())
            }
        }
    }

    /// How many pieces it is made of, and of how many bytes of text.
    pub(crate) fn weight(&self) -> (usize, usize) {
        let mut total = (0, 0);
        let mut open = vec![self];
        while let Some(node) = open.pop() {
            total.0 += 1;
            match &node.kind {
                Kind::Scalar(scalar) => total.1 += scalar.text().len(),
                Kind::List(items) => open.extend(items),
                Kind::Map(entries) => {
                    total.0 += entries.len();
                    total.1 += entries.iter().map(|entry| entry.key.len()).sum::<usize>();
                    open.extend(entries.iter().map(|entry| &entry.value));
                }
            }
        }
        total
    }

    /// The most precise place a path like `nodes.build.needs[1]` leads to: that of the deepest part that exists. Of a
    /// map's member it is the key, of a list's the item.
    #[must_use]
    pub fn locate(&self, path: &str) -> Span {
        let (mut at, mut span, mut rest) = (self, self.span, path);
        while !rest.is_empty() {
            let found = match &at.kind {
                Kind::Map(entries) => entries
                    .iter()
                    .filter_map(|entry| Some((entry, rest.strip_prefix(&*entry.key)?)))
                    .filter(|(_, after)| after.is_empty() || after.starts_with(['.', '[']))
                    .max_by_key(|(entry, _)| entry.key.len())
                    .map(|(entry, after)| (&entry.value, entry.key_span, after)),
                Kind::List(items) => {
                    rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(index, after)| {
                        let item = items.get(index.parse::<usize>().ok()?)?;
                        Some((item, item.span, after))
                    })
                }
                Kind::Scalar(_) => None,
            };
            let Some((next, place, after)) = found else { break };
            (at, span, rest) = (next, place, after.strip_prefix('.').unwrap_or(after));
        }
        span
    }

    /// The piece a path leads to, if there is one.
    #[must_use]
    pub fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |at, key| Some(&at.get(key)?.value))
    }
}
