//! Reads the files of a stack: each by itself, from text to long form, then one onto the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::dotenv;
use super::extends::Extends;
use super::fill::{Fill, NAMED};
use super::interpolate::OPENS;
use super::keys::STACK;
use super::merge;
use super::shape::{Cx, clean, fields};
use crate::document::decode::At;
use crate::document::diagnostic::{Diagnostic, Problems};
use crate::document::expressions::{GIVEN, check_template};
use crate::document::limits::Limits;
use crate::document::reader::{Tags, check_text, read_source};
use crate::document::source::{Position, Source, Span};
use crate::document::tree::{Kind, Node};
use crate::environment::Environment;
use crate::expression::Sandbox;

/// The variables of a group of files.
pub(super) type Variables = BTreeMap<String, String>;

/// A file, and what messages call it.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) shown: String,
    /// Its text, when it is there already.
    pub(super) text: Option<String>,
    /// Where it is named, when another file does: the place, and its path.
    pub(super) named_at: Option<(Span, String)>,
}

/// What files that are merged have in common.
#[derive(Debug)]
pub(super) struct Group {
    /// The folder their paths start from, absolute.
    pub(super) folder: PathBuf,
    pub(super) variables: Variables,
}

/// Reads files, and keeps count of what that costs.
#[derive(Debug)]
pub(super) struct Loader<'e> {
    pub(super) environment: &'e Environment,
    pub(super) limits: &'e Limits,
    pub(super) problems: Problems,
    /// How many more files may be read.
    files: usize,
    /// How many more pieces may be copied, or come out of short forms.
    pub(super) pieces: usize,
    /// How many more bytes variables may bring in.
    bytes: usize,
    /// The services that some file names, whether they could be read or not.
    pub(super) seen: BTreeSet<String>,
}

impl<'e> Loader<'e> {
    pub(super) fn new(environment: &'e Environment, limits: &'e Limits) -> Self {
        Self {
            environment,
            limits,
            problems: Problems::of(Vec::new(), limits.max_problems),
            files: limits.max_files,
            pieces: limits.max_copied_nodes,
            bytes: limits.max_bytes.saturating_mul(4),
            seen: BTreeSet::new(),
        }
    }

    /// A file that another names, from a folder.
    pub(super) fn named(&self, name: &str, folder: &Path, at: (Span, String)) -> File {
        let path: PathBuf = clean(&folder.join(name)).into();
        let working_dir = self.environment.working_dir();
        let shown = path.strip_prefix(working_dir).unwrap_or(&path).to_string_lossy().into_owned();
        File { path, shown, text: None, named_at: Some(at) }
    }

    /// The name that the last of some files gives the stack, before they are read as a whole: what else they say may use it.
    /// Their texts are kept: what comes through a pipe comes once.
    pub(super) fn name_of(&self, files: &mut [File], variables: &Variables) -> Option<String> {
        for file in files.iter_mut().filter(|file| file.text.is_none()) {
            let read = crate::document::load::read_text(&file.path, &file.shown, self.environment, self.limits);
            file.text = read.ok();
        }
        let texts: Vec<&String> = files.iter().filter_map(|file| file.text.as_ref()).collect();
        if !texts.iter().any(|text| text.contains("COMPOSE_PROJECT_NAME")) {
            return None;
        }
        let lookup = |name: &str| variables.get(name).cloned();
        texts.iter().rev().find_map(|text| {
            let mut problems = Problems::new(Source::new("", text.as_str()), 1);
            let tree = read_source(&mut problems, 0, Tags::Compose, self.limits).0?;
            super::interpolate::interpolate(tree.text_of("name")?, &lookup, self.limits.max_bytes).ok()
        })
    }

    /// Files, one onto the other.
    pub(super) fn group(&mut self, files: &[File], group: &Group, trail: &[PathBuf]) -> Option<Node> {
        let mut all: Option<Node> = None;
        let mut good = true;
        for (index, file) in files.iter().enumerate() {
            let mut trail = trail.to_vec();
            trail.extend((index == 0).then(|| file.path.clone()));
            let Some(tree) = self.file(file, group, &trail) else {
                good = false;
                continue;
            };
            all = Some(match all {
                Some(base) => merge::files(base, tree, &STACK),
                None => merge::untagged(tree),
            });
        }
        let mut all = all.filter(|_| good)?;
        resolve_variables(&mut all, &group.variables, &mut self.problems);
        give_paths(&mut all, &group.folder);
        Some(all)
    }

    /// One file with what it includes and extends.
    fn file(&mut self, file: &File, group: &Group, trail: &[PathBuf]) -> Option<Node> {
        let tree = self.long(file, group)?;
        let tree = self.included(tree, group, trail)?;
        Extends::new(self, file, group).all(tree)
    }

    /// One file in long form, with its variables replaced.
    pub(super) fn long(&mut self, file: &File, group: &Group) -> Option<Node> {
        let number = self.open(file)?;
        let tree = read_source(&mut self.problems, number, Tags::Compose, self.limits).0?;
        let lookup = |name: &str| group.variables.get(name).cloned();
        let tree = Fill { lookup: &lookup, problems: &mut self.problems, bytes: &mut self.bytes }.tree(&tree, "", true);
        for key in NAMED {
            let Some(entry) = tree.get(key) else { continue };
            let at = At { node: &entry.value, path: key.to_owned() };
            if key == "services" {
                self.seen.extend(at.node.entries().iter().map(|entry| entry.key.to_string()));
            }
            check_template(&at, None, GIVEN, &Sandbox::operator(), &mut self.problems);
        }
        let mut cx = Cx {
            variables: &group.variables,
            folder: &group.folder,
            problems: &mut self.problems,
            pieces: &mut self.pieces,
        };
        // Whatever could be read is looked at further, so that all that is wrong is told at once.
        fields(&At::root(&tree), &STACK, &mut cx)
    }

    /// Takes a file's text in and answers its number.
    fn open(&mut self, file: &File) -> Option<u32> {
        let Some(left) = self.files.checked_sub(1) else {
            let message = format!("the stack is made of more than {} files", self.limits.max_files);
            let (at, path) = file.named_at.clone().unwrap_or((Span::START, String::new()));
            self.problems.hinted(at, &path, message, Some("put some of them together".to_owned()));
            return None;
        };
        self.files = left;
        let text = match &file.text {
            Some(text) => check_text(&file.shown, text.as_bytes(), self.limits).map(str::to_owned),
            None => crate::document::load::read_text(&file.path, &file.shown, self.environment, self.limits),
        };
        match text {
            Ok(text) => Some(self.problems.add(Source::new(file.shown.as_str(), text))),
            Err(wrong) => {
                // It is told where the file is named, and in the file itself as far as there is one.
                let told = wrong.as_slice().first().map(ToString::to_string).unwrap_or_default();
                match &file.named_at {
                    Some((at, path)) => self.problems.error(*at, path, format_args!("the file cannot be used: {told}")),
                    None => {
                        self.problems.add(Source::new(file.shown.as_str(), ""));
                        wrong.into_vec().into_iter().for_each(|problem| self.problems.push(problem));
                    }
                }
                None
            }
        }
    }

    /// Adds the variables of an env file that are not set yet. One that nobody has named may be missing.
    pub(super) fn take_env_file(&mut self, path: &Path, asked: bool, at: Span, place: &str, into: &mut Variables) {
        let shown = path.strip_prefix(self.environment.working_dir()).unwrap_or(path).to_string_lossy().into_owned();
        let Some(text) = self.env_text(path, &shown, asked, at, place) else { return };
        let lookup = |name: &str| into.get(name).cloned();
        match dotenv::parse(&text, &lookup, self.bytes) {
            Ok(found) => {
                self.bytes = self.bytes.saturating_sub(found.iter().map(|(_, value)| value.len()).sum());
                for (key, value) in fold(found) {
                    into.entry(key).or_insert(value);
                }
            }
            Err(wrong) => self.wrong_line(&shown, &text, wrong),
        }
    }

    /// The pairs of an `env_file` or `label_file` of a service.
    pub(super) fn pairs_of(
        &mut self,
        path: &str,
        raw: bool,
        at: &At<'_>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Option<BTreeMap<String, String>> {
        let path = Path::new(path);
        let shown = path.strip_prefix(self.environment.working_dir()).unwrap_or(path).to_string_lossy().into_owned();
        let text = self.env_text(path, &shown, true, at.node.span, &at.path)?;
        let read = if raw { dotenv::parse_raw(&text) } else { dotenv::parse(&text, lookup, self.bytes) };
        match read {
            Ok(found) if found.iter().any(|(_, value)| value.contains("${{")) => {
                self.problems.error(at.node.span, &at.path, format_args!("'{shown}': {OPENS}"));
                None
            }
            Ok(found) => {
                self.bytes = self.bytes.saturating_sub(found.iter().map(|(_, value)| value.len()).sum());
                Some(fold(found))
            }
            Err(wrong) => {
                self.wrong_line(&shown, &text, wrong);
                None
            }
        }
    }

    fn env_text(&mut self, path: &Path, shown: &str, asked: bool, at: Span, place: &str) -> Option<String> {
        use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        let read = self.environment.read(path, self.limits.max_bytes);
        let told = match read {
            Err(error) if !asked && matches!(error.kind(), NotFound | IsADirectory | NotADirectory) => return None,
            Err(error) if error.kind() == NotFound => "there is no such file".to_owned(),
            Err(error) => format!("it cannot be read: {error}"),
            Ok(bytes) if bytes.len() > self.limits.max_bytes => {
                format!("it is longer than {} bytes", self.limits.max_bytes)
            }
            Ok(bytes) if bytes.contains(&0) => "it holds a NUL character".to_owned(),
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Some(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned)),
                Err(_) => "it is not UTF-8 text".to_owned(),
            },
        };
        if place.is_empty() {
            self.problems.push(Diagnostic::of_file(shown, told));
        } else {
            self.problems.error(at, place, format_args!("the file '{shown}' cannot be used: {told}"));
        }
        None
    }

    fn wrong_line(&mut self, shown: &str, text: &str, wrong: dotenv::Wrong) {
        self.problems.add(Source::new(shown, text));
        let at = Position { line: wrong.line, column: 1 };
        self.problems.push(Diagnostic::new(shown, at, "", wrong.message));
    }

    /// Takes pieces from what may be copied. Whether that many are left.
    pub(super) fn charge(&mut self, node: &Node, at: &At<'_>) -> bool {
        let (pieces, _) = node.weight();
        match self.pieces.checked_sub(pieces) {
            Some(left) => {
                self.pieces = left;
                true
            }
            None => {
                self.pieces = 0;
                let message =
                    format!("services copy more than {} pieces from one another", self.limits.max_copied_nodes);
                at.hinted(&mut self.problems, message, "extend less, or smaller services");
                false
            }
        }
    }
}

/// Later lines count.
fn fold(found: Vec<(String, String)>) -> BTreeMap<String, String> {
    found.into_iter().collect()
}

/// What is built without saying from where is built from the folder; a local volume that is a folder is seen from there.
fn give_paths(tree: &mut Node, folder: &Path) {
    for volume in tree.value_mut("volumes").map(Node::entries_mut).unwrap_or_default() {
        if volume.value.text_of("driver") != Some("local") {
            continue;
        }
        let Some(options) = volume.value.value_mut("driver_opts") else { continue };
        let device = options.text_of("device").filter(|_| options.text_of("o") == Some("bind")).map(str::to_owned);
        if let Some(device) = device {
            let span = options.span;
            options.set("device", super::shape::text(span, clean(&folder.join(device))));
        }
    }
    let Some(services) = tree.value_mut("services") else { return };
    for service in services.entries_mut() {
        let Some(build) = service.value.value_mut("build") else { continue };
        if matches!(build.kind, Kind::Map(_)) && build.get("context").is_none_or(|entry| entry.value.is_nothing()) {
            let span = build.span;
            build.set("context", super::shape::text(span, folder.to_string_lossy()));
        }
    }
}

/// Gives the variables of services that have no value the one they have here.
fn resolve_variables(tree: &mut Node, variables: &Variables, problems: &mut Problems) {
    let Some(services) = tree.value_mut("services") else { return };
    for service in services.entries_mut() {
        let Some(pairs) = service.value.value_mut("environment") else { continue };
        for pair in pairs.entries_mut() {
            if let (true, Some(value)) = (pair.value.is_nothing(), variables.get(&*pair.key)) {
                if value.contains("${{") {
                    let path = format!("services.{}.environment.{}", service.key, pair.key);
                    problems.error(pair.key_span, &path, OPENS);
                }
                pair.value = super::shape::text(pair.value.span, value.as_str());
            }
        }
    }
}
