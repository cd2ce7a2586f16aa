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
    /// What it does to what it is merged onto, in a stack file.
    pub tag: Option<MergeTag>,
}

/// How a piece of a stack file takes the place of what an earlier file says there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeTag {
    /// `!reset`: what was there is gone, and nothing stands instead.
    Reset,
    /// `!override`: it stands instead of all that was there.
    Override,
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
    /// A piece without a tag.
    #[must_use]
    pub const fn new(span: Span, kind: Kind) -> Self {
        Self { span, kind, tag: None }
    }

    /// The text of a scalar that is a key's value.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.value.as_text()
    }

    /// The text of a scalar, quoted or not, when anything is written there.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) if !self.is_nothing() => Some(scalar.text()),
            _ => None,
        }
    }

    /// Whether nothing is written here.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.to_value().is_null())
    }

    /// The value of a key, to change it.
    pub(crate) fn value_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.kind {
            Kind::Map(entries) => entries.iter_mut().find(|entry| &*entry.key == key).map(|entry| &mut entry.value),
            _ => None,
        }
    }

    /// Gives a key a value, when this is a map.
    pub(crate) fn set(&mut self, key: &str, value: Self) {
        if let Some(there) = self.value_mut(key) {
            *there = value;
        } else if let Kind::Map(entries) = &mut self.kind {
            entries.push(Entry { key: key.into(), key_span: value.span, value });
        }
    }

    /// Takes a key out of a map.
    pub(crate) fn take(&mut self, key: &str) -> Option<Self> {
        let Kind::Map(entries) = &mut self.kind else { return None };
        let place = entries.iter().position(|entry| &*entry.key == key)?;
        Some(entries.remove(place).value)
    }

    /// The entries of a map; nothing of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entries of a map, to change their values.
    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.kind {
            Kind::Map(entries) => entries,
            _ => &mut [],
        }
    }

    /// The items of a list; nothing of anything else.
    pub(crate) fn list(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The items of a list, to change them.
    pub(crate) fn list_mut(&mut self) -> &mut [Self] {
        match &mut self.kind {
            Kind::List(items) => items,
            _ => &mut [],
        }
    }

    /// The text of the first item of a list.
    pub(crate) fn first_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::List(items) => items.first()?.as_text(),
            _ => None,
        }
    }

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
