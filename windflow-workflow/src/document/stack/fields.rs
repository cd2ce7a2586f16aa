//! How the normal form is read: every value has its type already.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::document::duration::parse_duration;
use crate::document::reader::join;
use crate::document::tree::{Entry, Node};

/// A map of the normal form, and where it stands.
#[derive(Debug)]
pub(super) struct Normal<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
}

impl<'n> Normal<'n> {
    /// The last key of its path: no key of what it is used for holds a `.`.
    pub(super) fn key(&self) -> String {
        self.path.split_once('.').map_or(&*self.path, |(_, key)| key).to_owned()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.node.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.node.text_of(key).map(str::to_owned)
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.node.text_of(key) == Some("true")
    }

    pub(super) fn switch(&self, key: &str) -> Option<bool> {
        self.node.text_of(key).map(|text| text == "true")
    }

    pub(super) fn number<N: std::str::FromStr>(&self, key: &str) -> Option<N> {
        self.node.text_of(key)?.parse().ok()
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        parse_duration(self.node.text_of(key)?).ok()
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let items = self.get(key).map(|entry| entry.value.list()).unwrap_or_default();
        items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect()
    }

    pub(super) fn pairs(&self, key: &str) -> BTreeMap<String, String> {
        let pairs = self.get(key).map(|entry| entry.value.entries()).unwrap_or_default();
        let text = |pair: &Entry| Some((pair.key.to_string(), pair.value.as_text()?.to_owned()));
        pairs.iter().filter(|pair| !pair.value.is_nothing()).filter_map(text).collect()
    }

    /// A map in it.
    pub(super) fn inside(&self, key: &str) -> Option<Normal<'n>> {
        let node = &self.get(key)?.value;
        (!node.is_nothing()).then(|| Normal { node, path: join(&self.path, key) })
    }

    /// The maps of a list in it.
    pub(super) fn items(&self, key: &str) -> Vec<Normal<'n>> {
        let items = self.get(key).map(|entry| entry.value.list()).unwrap_or_default();
        let at = |(index, node)| Normal { node, path: format!("{}.{key}[{index}]", self.path) };
        items.iter().enumerate().map(at).collect()
    }

    /// The entries of a map in it.
    pub(super) fn entries(&self, key: &str) -> &'n [Entry] {
        self.get(key).map(|entry| entry.value.entries()).unwrap_or_default()
    }
}
