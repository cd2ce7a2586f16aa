//! Small pieces for turning a tree into data, each of which tells what is wrong and goes on.

use std::fmt::Display;
use std::time::Duration;

use serde_json::Value;
use windflow_core::InvalidName;
use windflow_core::workflow::did_you_mean;

use super::diagnostic::Problems;
use super::duration::parse_duration;
use super::reader::join;
use super::source::Span;
use super::tree::{Entry, Kind, Node};

/// A piece of the tree and its path.
#[derive(Clone, Debug)]
pub(crate) struct At<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl<'n> At<'n> {
    pub(crate) fn root(node: &'n Node) -> Self {
        Self { node, path: String::new() }
    }

    pub(crate) fn error(&self, problems: &mut Problems, message: impl Display) {
        problems.error(self.node.span, &self.path, message);
    }

    pub(crate) fn hinted(&self, problems: &mut Problems, message: impl Display, hint: impl Into<String>) {
        problems.hinted(self.node.span, &self.path, message, Some(hint.into()));
    }

    /// Notes that it should have been something else.
    pub(crate) fn expected<T>(&self, problems: &mut Problems, what: &str) -> Option<T> {
        let hint = match &self.node.kind {
            Kind::Scalar(scalar) => scalar.surprise().filter(|_| what.contains("true")).map(str::to_owned),
            _ => None,
        };
        problems.hinted(self.node.span, &self.path, format_args!("must be {what}, not {}", self.node.describe()), hint);
        None
    }

    /// Whether nothing is written there.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.node.kind, Kind::Scalar(scalar) if scalar.to_value().is_null())
    }

    /// What is written there as text, quoted or not, when it is a scalar at all.
    pub(crate) fn raw(&self) -> Option<&'n str> {
        match &self.node.kind {
            Kind::Scalar(scalar) if !self.is_null() => Some(scalar.text()),
            _ => None,
        }
    }

    /// A text; a number or a boolean without quotes is refused.
    pub(crate) fn text(&self, problems: &mut Problems) -> Option<&'n str> {
        match &self.node.kind {
            Kind::Scalar(scalar) if scalar.to_value().is_string() => Some(scalar.text()),
            Kind::Scalar(scalar) if !scalar.to_value().is_null() => {
                let hint = format!("put it in quotes: \"{}\"", scalar.text());
                self.hinted(problems, format_args!("must be text, not {}", self.node.describe()), hint);
                None
            }
            _ => self.expected(problems, "text"),
        }
    }

    /// A name with a rule of its own.
    pub(crate) fn name<T>(
        &self,
        problems: &mut Problems,
        make: impl FnOnce(&'n str) -> Result<T, InvalidName>,
    ) -> Option<T> {
        match make(self.text(problems)?) {
            Ok(name) => Some(name),
            Err(error) => {
                self.error(problems, error);
                None
            }
        }
    }

    pub(crate) fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match self.node.cast() {
            Some(Value::Bool(value)) => Some(value),
            _ => self.expected(problems, "true or false"),
        }
    }

    /// A whole number within a range.
    pub(crate) fn whole(&self, problems: &mut Problems, least: u64, most: u64) -> Option<u64> {
        let number = self.node.cast().and_then(|value| value.as_u64());
        number
            .filter(|number| (least..=most).contains(number))
            .or_else(|| self.expected(problems, &format!("a whole number from {least} to {most}")))
    }

    /// A whole number within a range, which may be below zero.
    pub(crate) fn integer(&self, problems: &mut Problems, least: i64, most: i64) -> Option<i64> {
        let number = self.node.cast().and_then(|value| value.as_i64());
        number.filter(|number| (least..=most).contains(number)).or_else(|| {
            let most = if most == i64::MAX { "on".to_owned() } else { format!("to {most}") };
            self.expected(problems, &format!("a whole number from {least} {most}"))
        })
    }

    pub(crate) fn number(&self, problems: &mut Problems) -> Option<f64> {
        self.node.cast().and_then(|value| value.as_f64()).or_else(|| self.expected(problems, "a number"))
    }

    pub(crate) fn duration(&self, problems: &mut Problems) -> Option<Duration> {
        let Some(text) = self.raw() else { return self.expected(problems, "a duration such as 30s or 1h30m") };
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(message) => {
                let hint = (!message.contains("write")).then(|| "write it like 500ms, 30s, 5m or 1h30m".to_owned());
                problems.hinted(self.node.span, &self.path, message, hint);
                None
            }
        }
    }

    /// One of several words.
    pub(crate) fn choice<T: Clone>(&self, problems: &mut Problems, words: &[(&str, T)]) -> Option<T> {
        let text = self.raw();
        if let Some((_, value)) = text.and_then(|text| words.iter().find(|(word, _)| *word == text)) {
            return Some(value.clone());
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = text.and_then(|text| did_you_mean(text, all.iter().copied()));
        let message = format!("must be one of {}, not {}", all.join(", "), self.node.describe());
        problems.hinted(self.node.span, &self.path, message, hint);
        None
    }

    /// The members of a list.
    pub(crate) fn items(&self, problems: &mut Problems) -> Option<Vec<At<'n>>> {
        match &self.node.kind {
            Kind::List(items) => Some(self.enumerate(items)),
            _ => self.expected(problems, "a list"),
        }
    }

    /// The members of a list, or the one thing written instead of it.
    pub(crate) fn one_or_many(&self) -> Vec<At<'n>> {
        match &self.node.kind {
            Kind::List(items) => self.enumerate(items),
            _ => vec![self.clone()],
        }
    }

    fn enumerate(&self, items: &'n [Node]) -> Vec<At<'n>> {
        items.iter().enumerate().map(|(index, node)| At { node, path: format!("{}[{index}]", self.path) }).collect()
    }

    /// The entries of a map whose keys the author chooses.
    pub(crate) fn entries(&self, problems: &mut Problems) -> Option<Vec<(&'n Entry, At<'n>)>> {
        match &self.node.kind {
            Kind::Map(entries) => Some(
                entries
                    .iter()
                    .map(|entry| (entry, At { node: &entry.value, path: join(&self.path, &entry.key) }))
                    .collect(),
            ),
            _ => self.expected(problems, "a map"),
        }
    }

    /// A map whose keys are known: what is not among them is refused. `what` completes "is not a key of …"; `later`
    /// are keys that are understood and not offered, with what to tell.
    pub(crate) fn fields(
        &self,
        problems: &mut Problems,
        what: &str,
        known: &[&str],
        later: &[(&str, &str)],
    ) -> Option<Fields<'n>> {
        let entries = self.entries(problems)?;
        let mut meant = Vec::new();
        for (entry, at) in &entries {
            if known.contains(&&*entry.key) {
                continue;
            }
            if problems.is_full() {
                break;
            }
            if let Some((_, told)) = later.iter().find(|(key, _)| *key == &*entry.key) {
                let (message, hint) = told.split_once("; ").map_or((*told, None), |(m, h)| (m, Some(h.to_owned())));
                meant.extend(hint.clone());
                problems.hinted(entry.key_span, &at.path, message, hint);
                continue;
            }
            let key: String = entry.key.chars().take(80).collect();
            let near = did_you_mean(&key, known.iter().copied());
            meant.extend(near.clone());
            let hint = near.unwrap_or_else(|| format!("known: {}", known.join(", ")));
            problems.hinted(entry.key_span, &at.path, format_args!("is not a key of {what}"), Some(hint));
        }
        Some(Fields { span: self.node.span, path: self.path.clone(), entries, meant })
    }
}

/// A map with known keys.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    pub(crate) span: Span,
    pub(crate) path: String,
    entries: Vec<(&'n Entry, At<'n>)>,
    /// The hints given for keys that are not known here.
    meant: Vec<String>,
}

impl<'n> Fields<'n> {
    /// What a key holds, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<&At<'n>> {
        self.entries.iter().find(|(entry, _)| &*entry.key == key).map(|(_, at)| at)
    }

    /// Where a key stands.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.iter().find(|(entry, _)| &*entry.key == key).map(|(entry, _)| entry.key_span)
    }

    /// Whether a key that is not known here was told to mean this one: that it is missing needs no second word.
    pub(crate) fn is_meant(&self, key: &str) -> bool {
        self.meant.iter().any(|hint| hint.contains(&format!("'{key}'")) || hint.contains(&format!("'{key}:")))
    }

    /// What a key holds; that it is missing is a problem.
    pub(crate) fn need(&self, problems: &mut Problems, key: &str, hint: &str) -> Option<&At<'n>> {
        let found = self.get(key);
        if found.is_none() && !self.is_meant(key) {
            problems.hinted(self.span, &self.path, format_args!("'{key}' is missing"), Some(hint.to_owned()));
        }
        found
    }
}

impl Node {
    /// A scalar's value where a number or a boolean is wanted.
    fn cast(&self) -> Option<Value> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar.cast()),
            _ => None,
        }
    }
}
