//! The normal form turned into the model: the stack, and what its services share.

use std::collections::{BTreeMap, BTreeSet};

use windflow_core::target::{FileObject, FileSource, Ipam, IpamPool, Network, Service, Stack, Volume};
use windflow_core::workflow::did_you_mean;
use windflow_core::{SecretRef, ServiceName, StackName};

use super::fields::Normal;
use super::keys::NOT_YET;
use super::load::Loader;
use super::lower_service::service;
use super::normal::{SHARED, references};
use crate::document::decode::At;
use crate::document::source::Span;
use crate::document::tree::{Entry, Node};

/// The longest file of a config that is read: what Swarm takes.
const MOST: usize = 500 * 1024;

impl Loader<'_> {
    /// The model of a normal form. `seen` are the services that some file names.
    pub(super) fn lower(&mut self, root: &Node, name: StackName, seen: &BTreeSet<String>) -> Option<Stack> {
        let at = At { node: &root.get("services")?.value, path: "services".to_owned() };
        let mut services: BTreeMap<ServiceName, Service> = BTreeMap::new();
        for entry in at.node.entries() {
            let at = at.member(entry);
            match ServiceName::new(&entry.key) {
                Ok(name) => {
                    if let Some(service) = service(&at, root, &mut self.problems) {
                        services.insert(name, service);
                    }
                }
                Err(error) => self.problems.error(entry.key_span, &at.path, error),
            }
        }
        self.check_references(root);
        let mut stack = Stack::new(name, services);
        for at in self.shared(root, "models").iter().filter(|at| !at.has("model")) {
            if !self.problems.touches(&at.path) {
                let hint = Some("the name of the model's image".to_owned());
                self.problems.hinted(at.node.span, &at.path, "'model' is missing", hint);
            }
        }
        let (networks, volumes) = (self.shared(root, "networks"), self.shared(root, "volumes"));
        stack.networks = networks.iter().map(|at| (at.key(), self.network(at, &stack.name))).collect();
        stack.volumes = volumes.iter().map(|at| (at.key(), self.volume(at, &stack.name))).collect();
        for kind in ["secrets", "configs"] {
            let entries = self.shared(root, kind);
            let objects: BTreeMap<String, FileObject> =
                entries.iter().filter_map(|at| Some((at.key(), self.file_object(at, kind, &stack.name)?))).collect();
            match kind {
                "secrets" => stack.secrets = objects,
                _ => stack.configs = objects,
            }
        }
        // The network that is there without being written is not written.
        if stack.networks.get("default").is_some_and(|network| *network == Network::default()) {
            stack.networks.remove("default");
        }
        let known: BTreeSet<&str> = at.node.entries().iter().map(|entry| &*entry.key).collect();
        super::dependencies::check(&stack, &known, seen, root, &mut self.problems);
        Some(stack)
    }

    fn shared<'n>(&self, root: &'n Node, kind: &str) -> Vec<Normal<'n>> {
        let entries: &[Entry] = root.get(kind).map(|entry| entry.value.entries()).unwrap_or_default();
        entries.iter().map(|entry| Normal { node: &entry.value, path: format!("{kind}.{}", entry.key) }).collect()
    }

    /// Everything that services share is there.
    fn check_references(&mut self, root: &Node) {
        for service in root.get("services").map(|entry| entry.value.entries()).unwrap_or_default() {
            for (kind, named) in references(&service.value) {
                if root.get(kind).is_some_and(|entry| entry.value.get(named.text).is_some()) {
                    continue;
                }
                let path = format!("services.{}.{}", service.key, named.path);
                // What could not be read is still there by its name.
                if self.problems.touches(&format!("{kind}.{}", named.text)) || self.problems.is_about(&path) {
                    continue;
                }
                let known = root.get(kind).map(|entry| entry.value.entries()).unwrap_or_default();
                let what = SHARED.iter().find(|word| **word == kind).map_or(kind, |word| word.trim_end_matches('s'));
                let hint = did_you_mean(named.text, known.iter().map(|entry| &*entry.key));
                let hint = hint.unwrap_or_else(|| format!("name it under '{kind}' at the top of the file"));
                let message = format!("there is no {what} '{}'", named.text);
                self.problems.hinted(named.span, &path, message, Some(hint));
            }
        }
    }

    fn network(&mut self, at: &Normal<'_>, stack: &StackName) -> Network {
        let external = self.external(at);
        let ipam = at.inside("ipam").map(|ipam| Ipam {
            driver: ipam.text("driver"),
            options: ipam.pairs("options"),
            config: ipam
                .items("config")
                .iter()
                .map(|pool| IpamPool {
                    subnet: pool.text("subnet"),
                    ip_range: pool.text("ip_range"),
                    gateway: pool.text("gateway"),
                    aux_addresses: pool.pairs("aux_addresses"),
                })
                .collect(),
        });
        Network {
            name: real_name(at, external, stack),
            external,
            driver: at.text("driver"),
            driver_opts: at.pairs("driver_opts"),
            attachable: at.flag("attachable"),
            internal: at.flag("internal"),
            enable_ipv4: at.switch("enable_ipv4"),
            enable_ipv6: at.switch("enable_ipv6"),
            ipam,
            labels: at.pairs("labels"),
        }
    }

    fn volume(&mut self, at: &Normal<'_>, stack: &StackName) -> Volume {
        let external = self.external(at);
        Volume {
            name: real_name(at, external, stack),
            external,
            driver: at.text("driver"),
            driver_opts: at.pairs("driver_opts"),
            labels: at.pairs("labels"),
        }
    }

    /// Whether something is somebody else's; then nothing else can be said of it than its name.
    fn external(&mut self, at: &Normal<'_>) -> bool {
        let external = at.flag("external");
        for entry in at.node.entries().iter().filter(|_| external) {
            if !matches!(&*entry.key, "name" | "external") && !entry.key.starts_with("x-") {
                let path = format!("{}.{}", at.path, entry.key);
                let message = "says something of what is external, and that is as it is";
                self.problems.hinted(entry.key_span, &path, message, Some("remove one of the two".to_owned()));
            }
        }
        external
    }

    fn file_object(&mut self, at: &Normal<'_>, kind: &str, stack: &StackName) -> Option<FileObject> {
        let external = self.external(at);
        for key in ["driver", "driver_opts"] {
            if let Some(entry) = at.node.get(key) {
                let (message, hint) = NOT_YET.split_once("; ").unwrap_or((NOT_YET, ""));
                self.problems.hinted(entry.key_span, &format!("{}.{key}", at.path), message, Some(hint.to_owned()));
            }
        }
        let secret = kind == "secrets";
        let ways: Vec<(&str, &Node)> = ["file", "environment", "content"]
            .into_iter()
            .filter_map(|key| Some((key, &at.node.get(key)?.value)))
            .collect();
        let source = match ways.as_slice() {
            _ if external => None,
            [(way, node)] => {
                let text = node.as_text().unwrap_or_default();
                let inner = format!("{}.{way}", at.path);
                Some(match (*way, secret) {
                    ("content", _) => FileSource::Content(text.to_owned()),
                    ("environment", _) => FileSource::Secret(self.reference("env", text, node.span, &inner)?),
                    (_, true) => FileSource::Secret(self.reference("file", text, node.span, &inner)?),
                    (_, false) => self.content(text, node.span, &inner)?,
                })
            }
            found => {
                let can = if secret { "'file' or 'environment'" } else { "'file', 'environment' or 'content'" };
                let message = match found {
                    [] => format!("does not say where its content comes from: {can}"),
                    _ => format!("says more than once where its content comes from: keep one of {can}"),
                };
                if !self.problems.touches(&at.path) {
                    self.problems.hinted(at.node.span, &at.path, message, Some("or write 'external: true'".to_owned()));
                }
                return None;
            }
        };
        Some(FileObject {
            name: real_name(at, external, stack),
            source,
            template_driver: at.text("template_driver"),
            labels: at.pairs("labels"),
        })
    }

    fn reference(&mut self, source: &str, path: &str, at: Span, place: &str) -> Option<SecretRef> {
        match format!("{}{source}/{path}", SecretRef::SCHEME).parse() {
            Ok(reference) => Some(reference),
            Err(error) => {
                self.problems.error(at, place, error);
                None
            }
        }
    }

    /// The content of a config's file, as it is now.
    fn content(&mut self, path: &str, at: Span, place: &str) -> Option<FileSource> {
        let told = match self.environment.read(path.as_ref(), MOST) {
            Ok(bytes) if bytes.len() > MOST => format!("is longer than {} KiB", MOST / 1024),
            Ok(bytes) => {
                return Some(match String::from_utf8(bytes) {
                    Ok(text) if !text.contains("${{") => FileSource::Content(text),
                    // What looks like an expression is none here.
                    Ok(text) => FileSource::Base64(super::base64::encode(text.as_bytes())),
                    Err(error) => FileSource::Base64(super::base64::encode(error.as_bytes())),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is not there".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        self.problems.error(at, place, format_args!("the file '{path}' {told}"));
        None
    }
}

/// The name that something has, unless it follows from the stack's.
fn real_name(at: &Normal<'_>, external: bool, stack: &StackName) -> Option<String> {
    at.text("name").filter(|name| external || *name != format!("{stack}_{}", at.key()))
}
