//! The normal form: everything in long form, defaults filled in, what is implied written out, what says nothing left out.
//! It is what `config` of the reference implementation prints, and all that the model is made from.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::STACK;
use super::load::{Loader, Variables};
use super::shape::{Shape, Table, map, plain, text};
use crate::document::decode::At;
use crate::document::source::Span;
use crate::document::tree::{Entry, Kind, Node};

/// What services share, by their keys at the top of a file.
pub(super) const SHARED: [&str; 5] = ["networks", "volumes", "secrets", "configs", "models"];

impl Loader<'_> {
    /// The normal form of what was loaded. `active` are the profiles.
    pub(super) fn normal(&mut self, mut tree: Node, name: &str, active: &[String], variables: &Variables) -> Node {
        let span = Span { end: tree.span.start, ..tree.span };
        let name_span = tree.get("name").map_or(span, |entry| entry.value.span);
        tree.take("version");
        tree.take("include");
        tree.set("name", text(name_span, name));
        if let Some(services) = tree.value_mut("services") {
            if let Kind::Map(entries) = &mut services.kind {
                entries.retain(|entry| is_active(&entry.value, active));
            }
            for entry in services.entries_mut() {
                let path = format!("services.{}", entry.key);
                self.service(&mut entry.value, &path, variables);
            }
        }
        share(&mut tree, name);
        settle(&mut tree, &STACK);
        tree
    }

    fn service(&mut self, service: &mut Node, path: &str, variables: &Variables) {
        self.fold_files(service, path, variables);
        if service.text_of("pull_policy") == Some("if_not_present") {
            let span = service.span;
            service.set("pull_policy", text(span, "missing"));
        }
        build(service, variables);
        defaults(service);
        imply(service);
        let own_network = service.get("provider").is_some() || service.get("network_mode").is_some();
        let on_some = service.get("networks").is_some_and(|entry| !entry.value.entries().is_empty());
        if !own_network && !on_some {
            let span = Span { end: service.span.start, ..service.span };
            service.set("networks", map(span, [("default", Some(plain(span, "null")))]));
        }
    }

    /// `env_file` goes into `environment`, `label_file` into `labels`; what stands there counts more.
    fn fold_files(&mut self, service: &mut Node, path: &str, variables: &Variables) {
        if let Some(files) = service.take("env_file") {
            let own = texts(service, "environment");
            let mut found: BTreeMap<String, (String, Span)> = BTreeMap::new();
            for (index, file) in files.list().iter().enumerate() {
                let at = At { node: file, path: format!("{path}.env_file[{index}]") };
                let Some(name) = file.text_of("path").map(str::to_owned) else { continue };
                let optional = file.text_of("required") == Some("false");
                if optional && !self.exists(&name) {
                    continue;
                }
                let lookup = |name: &str| {
                    let own = || own.get(name).cloned();
                    variables
                        .get(name)
                        .cloned()
                        .or_else(own)
                        .or_else(|| found.get(name).map(|(value, _)| value.clone()))
                };
                let raw = file.text_of("format") == Some("raw");
                let pairs = self.pairs_of(&name, raw, &at, &lookup).unwrap_or_default();
                found.extend(pairs.into_iter().map(|(key, value)| (key, (value, file.span))));
            }
            below(service, "environment", found);
        }
        if let Some(files) = service.take("label_file") {
            let mut found: BTreeMap<String, (String, Span)> = BTreeMap::new();
            for (index, file) in files.list().iter().enumerate() {
                let at = At { node: file, path: format!("{path}.label_file[{index}]") };
                let Some(name) = file.as_text().map(str::to_owned) else { continue };
                let lookup = |name: &str| found.get(name).map(|(value, _)| value.clone());
                let pairs = self.pairs_of(&name, false, &at, &lookup).unwrap_or_default();
                found.extend(pairs.into_iter().map(|(key, value)| (key, (value, file.span))));
            }
            below(service, "labels", found);
        }
    }

    fn exists(&self, path: &str) -> bool {
        let read = self.environment.read(path.as_ref(), 0);
        !read.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Whether a service is asked for: it has no profiles, or one that is active.
fn is_active(service: &Node, active: &[String]) -> bool {
    let profiles = service.get("profiles").map(|entry| entry.value.list()).unwrap_or_default();
    let wanted = |profile: &Node| {
        profile.as_text().is_some_and(|name| active.iter().any(|active| active == name || active == "*"))
    };
    profiles.is_empty() || profiles.iter().any(wanted)
}

/// The pairs of a key that have a value.
fn texts(service: &Node, key: &str) -> BTreeMap<String, String> {
    let pairs = service.get(key).map(|entry| entry.value.entries()).unwrap_or_default();
    let pairs = pairs.iter().filter(|pair| !pair.value.is_nothing());
    pairs.filter_map(|pair| Some((pair.key.to_string(), pair.value.as_text()?.to_owned()))).collect()
}

/// Adds pairs that are not there yet.
fn below(service: &mut Node, key: &str, found: BTreeMap<String, (String, Span)>) {
    if found.is_empty() {
        return;
    }
    if service.get(key).is_none_or(|entry| entry.value.is_nothing()) {
        let span = service.span;
        service.set(key, Node::new(span, Kind::Map(Vec::new())));
    }
    let Some(Node { kind: Kind::Map(pairs), .. }) = service.value_mut(key) else { return };
    let known: BTreeSet<Box<str>> = pairs.iter().map(|pair| pair.key.clone()).collect();
    for (name, (value, span)) in found {
        if !known.contains(&*name) {
            pairs.push(Entry { key: name.into(), key_span: span, value: text(span, value) });
        }
    }
}

fn build(service: &mut Node, variables: &Variables) {
    let Some(build) = service.value_mut("build").filter(|build| !build.is_nothing()) else { return };
    let span = build.span;
    let written = |build: &Node, key: &str| build.get(key).is_some_and(|entry| !entry.value.is_nothing());
    if !written(build, "dockerfile") && !written(build, "dockerfile_inline") {
        build.set("dockerfile", text(span, "Dockerfile"));
    }
    if let Some(Node { kind: Kind::Map(args), .. }) = build.value_mut("args") {
        args.retain_mut(|arg| {
            if arg.value.is_nothing()
                && let Some(value) = variables.get(&*arg.key)
            {
                arg.value = text(arg.value.span, value.as_str());
            }
            !arg.value.is_nothing()
        });
    }
}

/// Hosts stand in order, whichever file has named them.
fn sort_hosts(node: &mut Node) {
    if let Some(Node { kind: Kind::List(hosts), .. }) = node.value_mut("extra_hosts") {
        hosts.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
    }
}

/// What long forms mean where they say nothing.
fn defaults(service: &mut Node) {
    sort_hosts(service);
    service.value_mut("build").into_iter().for_each(sort_hosts);
    let or = |node: &mut Node, key: &str, value: &dyn Fn(Span) -> Node| {
        if node.get(key).is_none_or(|entry| entry.value.is_nothing()) {
            let span = node.span;
            node.set(key, value(span));
        }
    };
    for port in service.value_mut("ports").map(Node::list_mut).unwrap_or_default() {
        or(port, "protocol", &|span| text(span, "tcp"));
        or(port, "mode", &|span| text(span, "ingress"));
    }
    for volume in service.value_mut("volumes").map(Node::list_mut).unwrap_or_default() {
        // What is so anyway is not written.
        if let Some(bind) = volume.value_mut("bind").filter(|bind| bind.text_of("create_host_path") == Some("true")) {
            bind.take("create_host_path");
        }
    }
    for secret in service.value_mut("secrets").map(Node::list_mut).unwrap_or_default() {
        let target = format!("/run/secrets/{}", secret.text_of("source").unwrap_or_default());
        or(secret, "target", &|span| text(span, target.as_str()));
    }
    for dependency in service.value_mut("depends_on").map(Node::entries_mut).unwrap_or_default() {
        if dependency.value.is_nothing() {
            dependency.value = Node::new(dependency.value.span, Kind::Map(Vec::new()));
        }
        or(&mut dependency.value, "condition", &|span| text(span, "service_started"));
        or(&mut dependency.value, "required", &|span| plain(span, true));
    }
    for gpu in service.value_mut("gpus").map(Node::list_mut).unwrap_or_default() {
        count(gpu);
    }
    let reserved = service
        .value_mut("deploy")
        .and_then(|node| node.value_mut("resources"))
        .and_then(|node| node.value_mut("reservations"))
        .and_then(|node| node.value_mut("devices"));
    for device in reserved.map(Node::list_mut).unwrap_or_default() {
        count(device);
    }
    let image = service.get("image").map(|entry| entry.value.clone());
    for hook in service.value_mut("pre_start").map(Node::list_mut).unwrap_or_default() {
        if let Some(image) = &image {
            or(hook, "image", &|_| image.clone());
        }
    }
}

fn count(device: &mut Node) {
    if device.get("count").is_none() && device.get("device_ids").is_none() {
        let span = device.span;
        device.set("count", plain(span, -1));
    }
}

/// Dependencies that follow from other keys.
fn imply(service: &mut Node) {
    let mut implied: Vec<(String, Span, bool)> = Vec::new();
    let of = |key: &str| service.get(key).map(|entry| entry.value.list()).unwrap_or_default();
    for link in of("links") {
        let name = link.as_text().unwrap_or_default();
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        implied.push((name.to_owned(), link.span, true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let Some(entry) = service.get(key) else { continue };
        if let Some(name) = entry.value.as_text().and_then(|text| text.strip_prefix("service:")) {
            implied.push((name.to_owned(), entry.value.span, true));
        }
    }
    for from in of("volumes_from") {
        let name = from.as_text().unwrap_or_default();
        if !name.starts_with("container:") {
            let name = name.split_once(':').map_or(name, |(name, _)| name);
            implied.push((name.to_owned(), from.span, false));
        }
    }
    if implied.is_empty() {
        return;
    }
    if service.get("depends_on").is_none_or(|entry| entry.value.is_nothing()) {
        let span = service.span;
        service.set("depends_on", Node::new(span, Kind::Map(Vec::new())));
    }
    let Some(needs) = service.value_mut("depends_on") else { return };
    for (name, span, restart) in implied {
        if needs.get(&name).is_none() {
            let condition = ("condition", Some(text(span, "service_started")));
            let restart = ("restart", restart.then(|| plain(span, true)));
            needs.set(&name, map(span, [condition, restart, ("required", Some(plain(span, true)))]));
        }
    }
}

/// Which networks, volumes, secrets, configs and models the services use: their names filled in, the others left out.
fn share(tree: &mut Node, name: &str) {
    let used = used(tree);
    let span = Span { end: tree.span.start, ..tree.span };
    if used["networks"].contains("default") {
        if tree.get("networks").is_none_or(|entry| entry.value.is_nothing()) {
            tree.set("networks", Node::new(span, Kind::Map(Vec::new())));
        }
        if let Some(networks) = tree.value_mut("networks")
            && networks.get("default").is_none()
        {
            networks.set("default", plain(span, "null"));
        }
    }
    for kind in SHARED {
        let Some(Node { kind: Kind::Map(entries), .. }) = tree.value_mut(kind) else { continue };
        entries.retain(|entry| used[kind].contains(&*entry.key));
        for entry in entries.iter_mut() {
            if entry.value.is_nothing() {
                entry.value = Node::new(entry.value.span, Kind::Map(Vec::new()));
            }
            let node =
                super::short::shared(std::mem::replace(&mut entry.value, Node::new(span, Kind::List(Vec::new()))));
            entry.value = node;
            if kind == "models" || entry.value.text_of("name").is_some_and(|name| !name.is_empty()) {
                continue;
            }
            let external = entry.value.text_of("external") == Some("true");
            let real = if external { entry.key.to_string() } else { format!("{name}_{}", entry.key) };
            let span = entry.key_span;
            entry.value.set("name", text(span, real));
        }
    }
}

/// What services name of each.
fn used(tree: &Node) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut used: BTreeMap<&'static str, BTreeSet<String>> =
        SHARED.iter().map(|kind| (*kind, BTreeSet::new())).collect();
    let services = tree.get("services").map(|entry| entry.value.entries()).unwrap_or_default();
    for service in services {
        for (kind, name) in references(&service.value) {
            if let Some(names) = used.get_mut(kind) {
                names.insert(name.text.to_owned());
            }
        }
    }
    used
}

/// A name that a service uses.
#[derive(Debug)]
pub(super) struct Named<'n> {
    pub(super) text: &'n str,
    pub(super) span: Span,
    /// Where, below the service.
    pub(super) path: String,
}

/// Everything shared that a service names.
pub(super) fn references(service: &Node) -> Vec<(&'static str, Named<'_>)> {
    let mut out = Vec::new();
    for kind in ["networks", "models"] {
        for entry in service.get(kind).map(|entry| entry.value.entries()).unwrap_or_default() {
            let path = format!("{kind}.{}", entry.key);
            out.push((kind, Named { text: &entry.key, span: entry.key_span, path }));
        }
    }
    for kind in ["volumes", "secrets", "configs"] {
        push_files(service, kind, "", &mut out);
    }
    if let Some(build) = service.get("build") {
        push_files(&build.value, "secrets", "build.", &mut out);
    }
    out
}

fn push_files<'n>(node: &'n Node, kind: &'static str, before: &str, out: &mut Vec<(&'static str, Named<'n>)>) {
    for (index, item) in node.get(kind).map(|entry| entry.value.list()).unwrap_or_default().iter().enumerate() {
        let Some(entry) = item.get("source") else { continue };
        if kind == "volumes" && item.text_of("type") != Some("volume") {
            continue;
        }
        if let Some(text) = entry.value.as_text().filter(|text| !text.is_empty()) {
            out.push((kind, Named { text, span: entry.value.span, path: format!("{before}{kind}[{index}]") }));
        }
    }
}

/// Leaves out what says nothing.
fn settle(node: &mut Node, table: &'static Table) {
    let Kind::Map(entries) = &mut node.kind else { return };
    entries.retain_mut(|entry| {
        let Some(key) = table.key(&entry.key) else { return true };
        inside(&mut entry.value, &key.shape);
        let nothing = entry.value.is_nothing();
        !nothing && (key.keep || !says_nothing(&entry.value, &key.shape))
    });
}

fn inside(node: &mut Node, shape: &Shape) {
    match shape {
        Shape::Fields(table) | Shape::Short(_, table) => settle(node, table),
        Shape::Own(_, table) if !table.keys.is_empty() => match &mut node.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| settle(item, table)),
            _ => settle(node, table),
        },
        Shape::Several(_, table) => node.list_mut().iter_mut().for_each(|item| settle(item, table)),
        Shape::Map(inner) | Shape::Named(inner) => {
            node.entries_mut().iter_mut().for_each(|entry| inside(&mut entry.value, inner));
        }
        Shape::List(inner) => node.list_mut().iter_mut().for_each(|item| inside(item, inner)),
        _ => {}
    }
}

fn says_nothing(node: &Node, shape: &Shape) -> bool {
    match (&node.kind, shape) {
        (Kind::Scalar(scalar), Shape::Duration) => scalar.text() == "0s",
        (Kind::Scalar(scalar), Shape::Bytes | Shape::Number | Shape::Whole(..)) => {
            scalar.text().parse::<f64>().is_ok_and(|number| number == 0.0)
        }
        (Kind::Scalar(scalar), Shape::Flag | Shape::Own(..)) => matches!(scalar.text(), "false" | ""),
        (Kind::Scalar(scalar), _) => scalar.text().is_empty(),
        (Kind::List(items), _) => items.is_empty(),
        // An empty map of options is still asked for.
        (Kind::Map(_), Shape::Fields(_) | Shape::Short(..)) => false,
        (Kind::Map(entries), _) => entries.is_empty(),
    }
}
