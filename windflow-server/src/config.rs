//! `windflow.yaml`: whose stacks these are, and the targets they go to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windflow_core::workflow::did_you_mean;
use windflow_core::{InvalidName, OwnerId, SecretRef, TargetName};
use windflow_targets::docker::{Endpoint, RegistryLogin, RegistryLogins};
use windflow_workflow::Environment;
use windflow_workflow::document::{
    Diagnostic, Diagnostics, Entry, Kind, Limits, Node, Position, Source, parse_duration, read,
};

use crate::engines::EngineConfig;
use crate::layers::{LAYER_KEYS, LayerConfig};

/// What the file is called.
pub const FILE: &str = "windflow.yaml";

/// What `windflow.yaml` says, or what holds without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose stacks these are.
    pub owner: OwnerId,
    /// Whether workflows may run any command on this machine.
    pub allow_shell: bool,
    /// The targets by name; there is always a `local` one.
    pub targets: BTreeMap<TargetName, TargetConfig>,
    /// What stands over them, as each of them says.
    pub layers: BTreeMap<TargetName, LayerConfig>,
    /// What stands over all, also over those that need not be written, unless one says otherwise.
    pub common: LayerConfig,
}

/// The kinds of targets there are.
const KINDS: [&str; 3] = ["host", "docker", "swarm"];

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetConfig {
    /// Processes on this machine.
    Host {
        /// The folder that holds everything; `.windflow/NAME` beside the state when absent.
        root: Option<PathBuf>,
        /// How long an apply waits for health.
        health_timeout: Option<Duration>,
    },
    /// Containers of a Docker Engine.
    Docker(EngineTarget),
    /// Services of a Docker Swarm.
    Swarm(EngineTarget),
}

/// A target that stands on a Docker Engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineTarget {
    /// Where the engine is.
    pub engine: EngineConfig,
    /// How long an apply waits for health.
    pub health_timeout: Option<Duration>,
    /// Whether stacks may ask for what makes a container root of the machine.
    pub allow_privileged: bool,
    /// Whether ports that a Swarm publishes must answer from here before a service counts as healthy; as the kind has it
    /// unless written.
    pub probe_ports: Option<bool>,
    /// Who we are to registries.
    pub logins: RegistryLogins,
}

impl TargetConfig {
    /// Targets that are there without being written, for whoever names them.
    #[must_use]
    pub fn implied() -> [(&'static str, Self); 2] {
        [("docker", Self::Docker(EngineTarget::default())), ("swarm", Self::Swarm(EngineTarget::default()))]
    }

    /// What it says about its engine, if it stands on one.
    #[must_use]
    pub fn engine(&self) -> Option<&EngineTarget> {
        match self {
            Self::Host { .. } => None,
            Self::Docker(target) | Self::Swarm(target) => Some(target),
        }
    }

    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host { .. } => "host",
            Self::Docker(_) => "docker",
            Self::Swarm(_) => "swarm",
        }
    }
}

impl Config {
    /// What holds without a file: an owner called `default`, and the target `local`.
    ///
    /// # Errors
    /// Never: both names follow their rule.
    pub fn unwritten() -> Result<Self, InvalidName> {
        let local = TargetConfig::Host { root: None, health_timeout: None };
        let targets = BTreeMap::from([(TargetName::new("local")?, local)]);
        let (owner, layers, common) = (OwnerId::new("default")?, BTreeMap::new(), LayerConfig::default());
        Ok(Self { owner, allow_shell: false, targets, layers, common })
    }

    /// What stands over a target, written or not.
    #[must_use]
    pub fn layers_of(&self, target: &TargetName) -> LayerConfig {
        self.layers.get(target).unwrap_or(&LayerConfig::default()).or(&self.common)
    }

    /// Reads the file if it is there. One that was asked for by name must be there.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn load(asked: Option<&Path>, environment: &Environment) -> Result<Self, Diagnostics> {
        let path = asked.unwrap_or(Path::new(FILE));
        let file = path.to_string_lossy();
        let limits = Limits::operator();
        let refuse = |message: String| Diagnostics::new(vec![Diagnostic::of_file(&*file, message)], Vec::new());
        let bytes = match environment.read(path, limits.max_bytes) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && asked.is_none() => {
                return Self::unwritten().map_err(|error| refuse(error.to_string()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(refuse("there is no such file".to_owned()));
            }
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
        Self::parse(&file, &text)
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let root = read(file, text, &Limits::operator()).0?;
        let mut reader = Reader { file, problems: Vec::new() };
        match reader.config(&root) {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(Diagnostics::new(reader.problems, vec![Source::new(file, text)])),
        }
    }
}

/// Turns the tree into a configuration, and notes every problem on its way.
pub(crate) struct Reader<'f> {
    file: &'f str,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    pub(crate) fn problem(&mut self, at: Position, path: &str, message: impl std::fmt::Display, hint: Option<String>) {
        let problem = Diagnostic::new(self.file, at, path, message);
        self.problems.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }

    /// The entries of a map whose keys are known.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, path: &str, what: &str, known: &[&str]) -> &'n [Entry] {
        let Kind::Map(entries) = &node.kind else {
            self.problem(node.span.start, path, format_args!("must be a map, not {}", node.describe()), None);
            return &[];
        };
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let hint = did_you_mean(&entry.key, known.iter().copied());
            let hint = hint.unwrap_or_else(|| format!("known: {}", known.join(", ")));
            let message = format!("is not a key of {what}");
            self.problem(entry.key_span.start, &join(path, &entry.key), message, Some(hint));
        }
        entries
    }

    pub(crate) fn text<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.to_value().is_string() => Some(scalar.text()),
            _ => {
                self.problem(node.span.start, path, format_args!("must be text, not {}", node.describe()), None);
                None
            }
        }
    }

    fn config(&mut self, root: &Node) -> Option<Config> {
        let mut config = Config::unwritten().ok()?;
        let mut owned = false;
        for entry in self.fields(root, "", "windflow.yaml", &["owner", "allow_shell", "targets", "layers"]) {
            match &*entry.key {
                "owner" => {
                    owned = true;
                    if let Some(text) = self.text(&entry.value, "owner") {
                        match OwnerId::new(text) {
                            Ok(owner) => config.owner = owner,
                            Err(error) => self.problem(entry.value.span.start, "owner", error, None),
                        }
                    }
                }
                "allow_shell" => config.allow_shell = self.flag(&entry.value, "allow_shell").unwrap_or_default(),
                "targets" => self.targets(&entry.value, &mut config),
                "layers" => {
                    for entry in self.fields(&entry.value, "layers", "the layers of all targets", &LAYER_KEYS) {
                        self.layer(entry, &join("layers", &entry.key), &mut config.common);
                    }
                }
                _ => {}
            }
        }
        if !owned {
            let hint = "write 'owner: my-team' at the top; it says whose stacks these are".to_owned();
            self.problem(root.span.start, "", "the owner is missing", Some(hint));
        }
        Some(config)
    }

    fn targets(&mut self, node: &Node, config: &mut Config) {
        let Kind::Map(entries) = &node.kind else {
            self.problem(node.span.start, "targets", format_args!("must be a map, not {}", node.describe()), None);
            return;
        };
        for entry in entries {
            let path = join("targets", &entry.key);
            let mut layers = LayerConfig::default();
            let target = self.target(&entry.value, &path, &mut layers);
            match (TargetName::new(&*entry.key), target) {
                (Ok(name), Some(target)) => {
                    config.layers.insert(name.clone(), layers);
                    config.targets.insert(name, target);
                }
                (Err(error), _) => self.problem(entry.key_span.start, &path, error, None),
                (Ok(_), None) => {}
            }
        }
    }

    fn target(&mut self, node: &Node, path: &str, layers: &mut LayerConfig) -> Option<TargetConfig> {
        if !matches!(node.kind, Kind::Map(_)) {
            self.problem(node.span.start, path, format_args!("must be a map, not {}", node.describe()), None);
            return None;
        }
        let Some(kind) = node.get("kind") else {
            self.problem(
                node.span.start,
                path,
                "'kind' is missing",
                Some(format!("known kinds: {}", KINDS.join(", "))),
            );
            return None;
        };
        let at = join(path, "kind");
        match self.text(&kind.value, &at)? {
            "host" => Some(self.host(node, path, layers)),
            "docker" => Some(TargetConfig::Docker(self.engine(node, path, "docker", layers))),
            "swarm" => Some(TargetConfig::Swarm(self.engine(node, path, "swarm", layers))),
            other => {
                let hint = did_you_mean(other, KINDS.into_iter());
                let hint = hint.or_else(|| Some(format!("known kinds: {}", KINDS.join(", "))));
                self.problem(kind.value.span.start, &at, format_args!("there is no kind '{other}'"), hint);
                None
            }
        }
    }

    fn host(&mut self, node: &Node, path: &str, layers: &mut LayerConfig) -> TargetConfig {
        let known = [&["kind", "root", "health_timeout"], &LAYER_KEYS[..]].concat();
        let (mut root, mut health_timeout) = (None, None);
        for entry in self.fields(node, path, "a target of kind host", &known) {
            let at = join(path, &entry.key);
            match &*entry.key {
                "kind" => {}
                "root" => root = self.text(&entry.value, &at).map(PathBuf::from),
                "health_timeout" => health_timeout = self.duration(&entry.value, &at),
                _ => self.layer(entry, &at, layers),
            }
        }
        TargetConfig::Host { root, health_timeout }
    }

    fn engine(&mut self, node: &Node, path: &str, kind: &str, layers: &mut LayerConfig) -> EngineTarget {
        let own = ["kind", "endpoint", "context", "tls", "ssh_key", "health_timeout", "allow_privileged", "registries"];
        let more: &[&str] = if kind == "swarm" { &["probe_ports"] } else { &[] };
        let known = [&own[..], more, &LAYER_KEYS[..]].concat();
        let mut target = EngineTarget::default();
        for entry in self.fields(node, path, &format!("a target of kind {kind}"), &known) {
            let (at, value) = (join(path, &entry.key), &entry.value);
            match &*entry.key {
                "kind" => {}
                "endpoint" => target.engine.endpoint = self.endpoint(value, &at),
                "context" => target.engine.context = self.text(value, &at).map(str::to_owned),
                "tls" => target.engine.tls = self.text(value, &at).map(PathBuf::from),
                "ssh_key" => target.engine.ssh_key = self.text(value, &at).map(PathBuf::from),
                "health_timeout" => target.health_timeout = self.duration(value, &at),
                "allow_privileged" => target.allow_privileged = self.flag(value, &at).unwrap_or_default(),
                "probe_ports" => target.probe_ports = self.flag(value, &at),
                "registries" => self.registries(value, &at, &mut target.logins),
                _ => self.layer(entry, &at, layers),
            }
        }
        if let (Some(_), Some(_), Some(context)) =
            (&target.engine.endpoint, &target.engine.context, node.get("context"))
        {
            self.problem(
                context.value.span.start,
                &join(path, "context"),
                "goes against 'endpoint': keep one of the two",
                None,
            );
        }
        let endpoint = target.engine.endpoint.as_deref().and_then(|text| text.parse().ok());
        let is_for = |key: &str| match endpoint {
            Some(Endpoint::Unix(_)) => false,
            Some(Endpoint::Ssh { .. }) => key == "ssh_key",
            Some(_) => key == "tls",
            // A context or the environment may say anything.
            None => true,
        };
        for (key, scheme) in [("tls", "tcp://"), ("ssh_key", "ssh://")] {
            if let Some(entry) = node.get(key).filter(|_| !is_for(key)) {
                let message = format!("is for an endpoint of {scheme}: leave it out");
                self.problem(entry.value.span.start, &join(path, key), message, None);
            }
        }
        target
    }

    /// Where an engine is, as it is written.
    fn endpoint(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = self.text(node, path)?;
        if let Err(why) = text.parse::<Endpoint>() {
            self.problem(node.span.start, path, why, None);
            return None;
        }
        Some(text.to_owned())
    }

    fn flag(&mut self, node: &Node, path: &str) -> Option<bool> {
        let flag = node.to_value().as_bool();
        if flag.is_none() {
            let message = format!("must be true or false, not {}", node.describe());
            self.problem(node.span.start, path, message, None);
        }
        flag
    }

    /// Logins by registry; passwords are references.
    fn registries(&mut self, node: &Node, path: &str, logins: &mut RegistryLogins) {
        let Kind::Map(entries) = &node.kind else {
            self.problem(node.span.start, path, format_args!("must be a map, not {}", node.describe()), None);
            return;
        };
        for entry in entries {
            let at = join(path, &entry.key);
            let (mut username, mut password) = (None, None);
            for entry in self.fields(&entry.value, &at, "a registry", &["username", "password"]) {
                let at = join(&at, &entry.key);
                let Some(text) = self.text(&entry.value, &at) else { continue };
                if &*entry.key == "username" {
                    username = Some(text.to_owned());
                } else {
                    match text.parse::<SecretRef>() {
                        Ok(reference) => password = Some(reference),
                        Err(_) => {
                            let hint = Some("write secret://env/NAME or secret://file/PATH".to_owned());
                            self.problem(entry.value.span.start, &at, "must be a reference to a secret", hint);
                        }
                    }
                }
            }
            match (username, password) {
                (Some(username), Some(password)) => {
                    logins.insert(entry.key.to_string(), RegistryLogin { username, password });
                }
                _ => self.problem(entry.key_span.start, &at, "needs 'username' and 'password'", None),
            }
        }
    }

    fn duration(&mut self, node: &Node, path: &str) -> Option<Duration> {
        match parse_duration(self.text(node, path)?) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.problem(node.span.start, path, message, None);
                None
            }
        }
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_read() {
        let text =
            "owner: acme\nallow_shell: true\ntargets:\n  edge: { kind: host, root: /srv/edge, health_timeout: 2m }\n";
        let config = Config::parse("windflow.yaml", text).unwrap();
        assert_eq!((config.owner.as_str(), config.allow_shell), ("acme", true));
        let names: Vec<&str> = config.targets.keys().map(TargetName::as_str).collect();
        assert_eq!(names, ["edge", "local"]);
    }

    #[test]
    fn a_target_on_an_engine_is_read() {
        let text = "owner: acme\ntargets:\n  far: { kind: docker, endpoint: 'ssh://me@far', registries: { r.example: { username: u, password: secret://env/P } } }\n";
        let config = Config::parse("windflow.yaml", text).unwrap();
        let far = match &config.targets["far"] {
            TargetConfig::Docker(far) => far.clone(),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(far.engine.endpoint.as_deref(), Some("ssh://me@far"));
        assert_eq!(far.logins["r.example"].username, "u");
        let text = "owner: acme\ntargets:\n  far: { kind: swarm, probe_ports: false }\n";
        let config = Config::parse("windflow.yaml", text).unwrap();
        assert!(matches!(&config.targets["far"], TargetConfig::Swarm(far) if far.probe_ports == Some(false)));
        assert_eq!(Config::parse("windflow.yaml", &text.replace("swarm", "docker")).unwrap_err().len(), 1);
        let wrong = "owner: acme\ntargets:\n  a: { kind: docker, endpoint: 'unix:///s', context: c, root: x, registries: { r: { username: u, password: open } } }\n";
        let problems = Config::parse("windflow.yaml", wrong).unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        let wrong = "owner: acme\ntargets:\n  a: { kind: docker, endpoint: 'tcp://' }\n  b: { kind: swarm, endpoint: 'unix:///s', tls: certs }\n  c: { kind: docker, endpoint: 'tcp://h:99999', ssh_key: k }\n";
        let problems = Config::parse("windflow.yaml", wrong).unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let told = [
            "windflow.yaml:3:32: targets.a.endpoint: 'tcp://' names no",
            "targets.b.tls: is for an endpoint of tcp://",
            "targets.c.endpoint: '99999'",
        ];
        assert_eq!(lines.len(), told.len(), "{lines:#?}");
        assert!(told.iter().zip(&lines).all(|(told, line)| line.contains(told)), "{lines:#?}");
    }

    #[test]
    fn every_problem_is_told_at_its_place() {
        let text =
            "ownr: acme\nallow_shell: maybe\ntargets:\n  a b: { kind: host }\n  c: { kind: dokcer, rot: 1 }\n  d: 5\n";
        let problems = Config::parse("windflow.yaml", text).unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(
            lines.iter().any(|line| line.contains(":1:1: ownr: is not a key of windflow.yaml (did you mean 'owner'?)"))
        );
        assert!(lines.iter().any(|line| line.contains("targets.c.kind: there is no kind 'dokcer'")));
    }
}
