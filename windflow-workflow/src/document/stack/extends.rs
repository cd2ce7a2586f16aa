//! `extends`: a service that begins as a copy of another, of the same file or of one more.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windflow_core::workflow::did_you_mean;

use super::keys::SERVICE;
use super::load::{File, Group, Loader};
use super::merge;
use crate::document::decode::At;
use crate::document::source::Span;
use crate::document::tree::{Kind, Node};

/// How many services may stand behind one another.
const MOST: usize = 64;

/// The files whose services are extended.
pub(super) struct Extends<'x, 'e> {
    loader: &'x mut Loader<'e>,
    variables: BTreeMap<String, String>,
    files: Vec<Known>,
}

struct Known {
    path: PathBuf,
    shown: String,
    folder: PathBuf,
    services: BTreeMap<Box<str>, Node>,
    done: BTreeMap<Box<str>, Node>,
}

impl<'x, 'e> Extends<'x, 'e> {
    pub(super) fn new(loader: &'x mut Loader<'e>, file: &File, group: &Group) -> Self {
        let own = Known {
            path: file.path.clone(),
            shown: file.shown.clone(),
            folder: group.folder.clone(),
            services: BTreeMap::new(),
            done: BTreeMap::new(),
        };
        Self { loader, variables: group.variables.clone(), files: vec![own] }
    }

    /// The tree in which no service extends another any more.
    pub(super) fn all(mut self, mut tree: Node) -> Option<Node> {
        let Kind::Map(top) = &mut tree.kind else { return Some(tree) };
        let Some(entry) = top.iter_mut().find(|entry| &*entry.key == "services") else { return Some(tree) };
        let Kind::Map(services) = &mut entry.value.kind else { return Some(tree) };
        if !services.iter().any(|service| service.value.get("extends").is_some()) {
            return Some(tree);
        }
        self.files[0].services = services.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        for service in services {
            if service.value.get("extends").is_none() {
                continue;
            }
            let tag = service.value.tag;
            if let Some(whole) = self.resolve(0, &service.key, &mut Vec::new()) {
                service.value = Node { tag, ..whole };
            } else if let Kind::Map(keys) = &mut service.value.kind {
                keys.retain(|entry| &*entry.key != "extends");
            }
        }
        Some(tree)
    }

    /// A service with all that it takes over.
    fn resolve(&mut self, file: usize, name: &str, trail: &mut Vec<(usize, Box<str>)>) -> Option<Node> {
        if let Some(done) = self.files[file].done.get(name) {
            return Some(done.clone());
        }
        let service = self.files[file].services.get(name)?.clone();
        let Some(extends) = service.get("extends").map(|entry| entry.value.clone()) else { return Some(service) };
        let at = At { node: &extends, path: format!("services.{name}.extends") };
        let here = (file, Box::from(name));
        if let Some(start) = trail.iter().position(|step| *step == here) {
            let way: Vec<&str> = trail[start..].iter().map(|(_, name)| &**name).chain([name]).collect();
            at.error(&mut self.loader.problems, format_args!("extends itself: {}", way.join(" extends ")));
            return None;
        }
        if trail.len() >= MOST {
            at.error(&mut self.loader.problems, format_args!("more than {MOST} services extend one another in a row"));
            return None;
        }
        let base_name = extends.text_of("service")?.to_owned();
        let base_file = match extends.text_of("file").filter(|file| !file.is_empty()) {
            Some(path) => {
                self.open(file, path, extends.get("file").map_or(extends.span, |entry| entry.value.span), &at)?
            }
            None => file,
        };
        if !self.files[base_file].services.contains_key(&*base_name) {
            let known: Vec<&str> = self.files[base_file].services.keys().map(|name| &**name).collect();
            let hint = did_you_mean(&base_name, known.iter().copied());
            let place =
                if base_file == file { String::new() } else { format!(" in '{}'", self.files[base_file].shown) };
            let span = extends.get("service").map_or(extends.span, |entry| entry.value.span);
            let message = format!("there is no service '{base_name}'{place}");
            self.loader.problems.hinted(span, &at.path, message, hint);
            return None;
        }
        trail.push(here);
        let base = self.resolve(base_file, &base_name, trail);
        trail.pop();
        let base = base?;
        if !self.loader.charge(&base, &at) {
            return None;
        }
        let mut own = service;
        if let Kind::Map(keys) = &mut own.kind {
            keys.retain(|entry| &*entry.key != "extends");
        }
        let whole = merge::services(base, own, &SERVICE);
        self.files[file].done.insert(name.into(), whole.clone());
        Some(whole)
    }

    /// The number of a file; it is read when it was not yet.
    fn open(&mut self, from: usize, name: &str, span: Span, at: &At<'_>) -> Option<usize> {
        if name.contains("://") || name.starts_with("git@") {
            let message = format!("'{name}' is not on this machine, and only files that are can be extended");
            self.loader.problems.error(span, &at.path, message);
            return None;
        }
        let file = self.loader.named(name, &self.files[from].folder, (span, at.path.clone()));
        if let Some(known) = self.files.iter().skip(1).position(|known| known.path == file.path) {
            return Some(known + 1);
        }
        let folder = file.path.parent().unwrap_or(std::path::Path::new("/")).to_path_buf();
        let group = Group { folder: folder.clone(), variables: self.variables.clone() };
        let tree = self.loader.long(&file, &group)?;
        let services = match tree.get("services").map(|entry| &entry.value.kind) {
            Some(Kind::Map(entries)) => entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
            _ => BTreeMap::new(),
        };
        self.files.push(Known { path: file.path, shown: file.shown, folder, services, done: BTreeMap::new() });
        Some(self.files.len() - 1)
    }
}
