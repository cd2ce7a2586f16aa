//! `windflow.yaml`: whose stacks these are, and the targets they go to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windflow_core::workflow::did_you_mean;
use windflow_core::{InvalidName, OwnerId, TargetName};
use windflow_workflow::Environment;
use windflow_workflow::document::{
    Diagnostic, Diagnostics, Entry, Kind, Limits, Node, Position, Source, parse_duration, read,
};

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
}

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
}

impl TargetConfig {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host { .. } => "host",
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
        Ok(Self { owner: OwnerId::new("default")?, allow_shell: false, targets })
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
struct Reader<'f> {
    file: &'f str,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn problem(&mut self, at: Position, path: &str, message: impl std::fmt::Display, hint: Option<String>) {
        let problem = Diagnostic::new(self.file, at, path, message);
        self.problems.push(match hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        });
    }

    /// The entries of a map whose keys are known.
    fn fields<'n>(&mut self, node: &'n Node, path: &str, what: &str, known: &[&str]) -> &'n [Entry] {
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

    fn text<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n str> {
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
        for entry in self.fields(root, "", "windflow.yaml", &["owner", "allow_shell", "targets"]) {
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
                "allow_shell" => match entry.value.to_value().as_bool() {
                    Some(allowed) => config.allow_shell = allowed,
                    None => {
                        let message = format!("must be true or false, not {}", entry.value.describe());
                        self.problem(entry.value.span.start, "allow_shell", message, None);
                    }
                },
                "targets" => self.targets(&entry.value, &mut config),
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
            let target = self.target(&entry.value, &path);
            match (TargetName::new(&*entry.key), target) {
                (Ok(name), Some(target)) => drop(config.targets.insert(name, target)),
                (Err(error), _) => self.problem(entry.key_span.start, &path, error, None),
                (Ok(_), None) => {}
            }
        }
    }

    fn target(&mut self, node: &Node, path: &str) -> Option<TargetConfig> {
        let kind = node.get("kind");
        let (mut root, mut health_timeout) = (None, None);
        for entry in self.fields(node, path, "a target of kind host", &["kind", "root", "health_timeout"]) {
            let at = join(path, &entry.key);
            match &*entry.key {
                "root" => root = self.text(&entry.value, &at).map(PathBuf::from),
                "health_timeout" => match self.text(&entry.value, &at).map(parse_duration) {
                    Some(Ok(duration)) => health_timeout = Some(duration),
                    Some(Err(message)) => self.problem(entry.value.span.start, &at, message, None),
                    None => {}
                },
                _ => {}
            }
        }
        let Some(kind) = kind else {
            self.problem(node.span.start, path, "'kind' is missing", Some("known kinds: host".to_owned()));
            return None;
        };
        let at = join(path, "kind");
        match self.text(&kind.value, &at)? {
            "host" => Some(TargetConfig::Host { root, health_timeout }),
            other => {
                let hint = Some("known kinds: host".to_owned());
                self.problem(kind.value.span.start, &at, format_args!("there is no kind '{other}'"), hint);
                None
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
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
    fn every_problem_is_told_at_its_place() {
        let text =
            "ownr: acme\nallow_shell: maybe\ntargets:\n  a b: { kind: host }\n  c: { kind: dokcer, rot: 1 }\n  d: 5\n";
        let problems = Config::parse("windflow.yaml", text).unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 8, "{lines:#?}");
        assert!(
            lines.iter().any(|line| line.contains(":1:1: ownr: is not a key of windflow.yaml (did you mean 'owner'?)"))
        );
        assert!(lines.iter().any(|line| line.contains("targets.c.kind: there is no kind 'dokcer'")));
    }
}
