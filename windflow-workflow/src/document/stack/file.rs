//! A stack, read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use windflow_core::target::{EnvValue, FileSource, Stack};
use windflow_core::{SecretSources, StackName};

use super::files::StackFiles;
use super::fill::NAMED;
use super::load::{File, Group, Loader, Variables};
use super::print;
use crate::document::decode::At;
use crate::document::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::document::expressions::{Inputs, check_inputs, in_template};
use crate::document::limits::Limits;
use crate::document::secrets;
use crate::document::source::{Position, Source, Span};
use crate::document::tree::{Kind, Node};
use crate::environment::Environment;

/// A stack that has been read from its files, interpolated, merged and resolved.
///
/// ```
/// use std::path::Path;
/// use windflow_workflow::Environment;
/// use windflow_workflow::document::{Limits, StackDocument};
/// let text = "services: { web: { image: 'nginx:${TAG:-1.27}', ports: ['8080:80'] } }";
/// let here = Environment::new("/srv/Shop").with_variable("TAG", "1.28");
/// let document = StackDocument::parse("compose.yaml", text, Path::new("/srv/Shop"), &here, &Limits::operator())?;
/// assert_eq!(document.stack().name.as_str(), "shop");
/// assert_eq!(document.stack().services["web"].image.as_deref(), Some("nginx:1.28"));
/// # Ok::<(), windflow_workflow::document::Diagnostics>(())
/// ```
#[derive(Clone, Debug)]
pub struct StackDocument {
    sources: Vec<Source>,
    root: Node,
    stack: Stack,
    profiles: BTreeSet<String>,
}

impl StackDocument {
    /// Reads a stack. `file` is what messages call it; `folder` is where it lies, from which its paths start and after
    /// which a stack without a name is called.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn parse(
        file: &str,
        text: &str,
        folder: &Path,
        environment: &Environment,
        limits: &Limits,
    ) -> Result<Self, Diagnostics> {
        let name = Path::new(file).file_name().map(PathBuf::from).unwrap_or_else(|| "compose.yaml".into());
        let path = environment.resolve(folder).join(name);
        let file = File { path, shown: file.to_owned(), text: Some(text.to_owned()), named_at: None };
        Self::read(vec![file], &StackFiles::default(), environment, limits)
    }

    /// Reads a stack from its files. `shown` is what messages call the folder that the paths start from.
    pub(in crate::document) fn load(
        asked: &StackFiles,
        shown: &Path,
        folder: &Path,
        environment: &Environment,
        limits: &Limits,
    ) -> Result<Self, Diagnostics> {
        let files = asked.files.iter().map(|name| File {
            path: super::shape::clean(&folder.join(name)).into(),
            shown: shown.join(name).to_string_lossy().into_owned(),
            text: None,
            named_at: None,
        });
        Self::read(files.collect(), asked, environment, limits)
    }

    fn read(
        mut files: Vec<File>,
        asked: &StackFiles,
        environment: &Environment,
        limits: &Limits,
    ) -> Result<Self, Diagnostics> {
        let mut loader = Loader::new(environment, limits);
        let Some(first) = files.first() else {
            let none = Diagnostic::of_file("", "no stack file is named").with_hint("name one, such as compose.yaml");
            return Err(Diagnostics::new(vec![none], Vec::new()));
        };
        let folder = first.path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut variables: Variables =
            environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if asked.env_files.is_empty() {
            loader.take_env_file(&folder.join(".env"), false, Span::START, "", &mut variables);
        } else {
            let mut more = Variables::new();
            // Of several files a later one counts more; what the caller hands in counts most.
            for file in asked.env_files.iter().rev() {
                loader.take_env_file(&environment.resolve(file), true, Span::START, "", &mut more);
            }
            more.extend(std::mem::take(&mut variables));
            variables = more;
        }
        let said = |key: &str| variables.get(key).filter(|value| !asked.alone && !value.is_empty()).cloned();
        let given = asked.project_name.clone().or_else(|| said("COMPOSE_PROJECT_NAME"));
        let mut active = asked.profiles.clone();
        if let (true, Some(named)) = (active.is_empty(), said("COMPOSE_PROFILES")) {
            active.extend(named.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
        }
        let known = given
            .clone()
            .unwrap_or_else(|| loader.name_of(&mut files, &variables).unwrap_or_else(|| normalised(&folder)));
        variables.entry("COMPOSE_PROJECT_NAME".to_owned()).or_insert(known);
        let group = Group { folder: folder.clone(), variables };
        let read = loader.group(&files, &group, &[]).and_then(|tree| {
            let name = name(&tree, given.as_deref(), &folder, &mut loader.problems);
            // Without a name, too, everything else is looked at; that it has none was told.
            let name = name.or_else(|| StackName::new("unnamed").ok())?;
            look(&tree, &mut loader.problems);
            let span = tree.get("services").map_or(tree.span, |entry| entry.value.span);
            let profiles = profiles(&tree);
            let root = loader.normal(tree, name.as_str(), &active, &group.variables);
            if root.get("services").is_none() && loader.problems.is_empty() {
                let hint = "name a profile: --profile, or COMPOSE_PROFILES".to_owned();
                let message = "every service has profiles, and none of them is active";
                loader.problems.hinted(span, "services", message, Some(hint));
            }
            let seen: BTreeSet<String> = loader.seen.clone();
            let stack = loader.lower(&root, name, &seen)?;
            Some((root, stack, profiles))
        });
        match read {
            Some((root, stack, profiles)) if loader.problems.is_empty() => {
                Ok(Self { sources: loader.problems.sources, root, stack, profiles })
            }
            _ => Err(loader.problems.into_diagnostics()),
        }
    }

    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Every profile that a service has, active or not.
    #[must_use]
    pub fn profiles(&self) -> &BTreeSet<String> {
        &self.profiles
    }

    /// The file; of several the first.
    #[must_use]
    pub fn source(&self) -> Source {
        self.sources.first().cloned().unwrap_or_else(|| Source::new("", ""))
    }

    /// All files it was read from: those that were named, included and extended.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The normal form: everything in long form, files merged, defaults filled in. What `config` of the reference
    /// implementation prints; each `$` is written `$$`, so that it reads as the same stack again.
    ///
    /// ```
    /// use std::path::Path;
    /// use windflow_workflow::Environment;
    /// use windflow_workflow::document::{Limits, StackDocument};
    /// let here = Environment::new("/srv/shop");
    /// let text = "services: { web: { image: nginx, command: serve --all, networks: [] } }";
    /// let document = StackDocument::parse("compose.yaml", text, Path::new("/srv/shop"), &here, &Limits::operator())?;
    /// assert_eq!(document.config()["services"]["web"]["command"], serde_json::json!(["serve", "--all"]));
    /// assert_eq!(document.config()["networks"]["default"]["name"], "shop_default");
    /// # Ok::<(), windflow_workflow::document::Diagnostics>(())
    /// ```
    #[must_use]
    pub fn config(&self) -> Value {
        print::value(&self.root)
    }

    /// The same as YAML.
    #[must_use]
    pub fn config_yaml(&self) -> String {
        print::yaml(&self.config())
    }

    /// What is wrong with it as a part of a workflow that has these inputs.
    pub(in crate::document) fn check_inputs(&self, inputs: &Inputs, limits: &Limits) -> Diagnostics {
        let mut problems = Problems::of(self.sources.clone(), limits.max_problems);
        for key in NAMED {
            let Some(entry) = self.root.get(key) else { continue };
            let at = At { node: &entry.value, path: key.to_owned() };
            for found in in_template(&at, &self.sources).0 {
                check_inputs(&found, inputs, &mut problems);
            }
        }
        problems.into_diagnostics()
    }

    /// The secret references in it that none of these sources can answer.
    #[must_use]
    pub fn check_secrets(&self, sources: &SecretSources) -> Diagnostics {
        let mut problems = Problems::of(self.sources.clone(), usize::MAX);
        for (service, about) in &self.stack.services {
            for (name, value) in &about.environment {
                let EnvValue::Secret(reference) = value else { continue };
                if let Some((message, hint)) = secrets::unknown(reference, sources) {
                    let (span, path) = secrets::variable(&self.root, service.as_str(), name);
                    problems.hinted(span, &path, message, hint);
                }
            }
        }
        for (kind, objects) in [("secrets", &self.stack.secrets), ("configs", &self.stack.configs)] {
            for (name, object) in objects {
                let Some(FileSource::Secret(reference)) = &object.source else { continue };
                if let Some((message, hint)) = secrets::unknown(reference, sources) {
                    let path = format!("{kind}.{name}");
                    problems.hinted(self.root.locate(&path), &path, message, hint);
                }
            }
        }
        problems.into_diagnostics()
    }

    /// Where a path such as `services.web.ports[0]` stands, or the deepest part of it that is written. Of a stack made of
    /// several files see [`StackDocument::place`].
    #[must_use]
    pub fn locate(&self, path: &str) -> Position {
        self.root.locate(path).start
    }

    /// In which of its files a path stands, and where.
    #[must_use]
    pub fn place(&self, path: &str) -> (&str, Position) {
        let span = self.root.locate(path);
        let source = crate::document::source::source_of(&self.sources, span);
        (source.map_or("", Source::name), span.start)
    }
}

/// The stack's name: what the caller says, else the files, else their folder.
fn name(tree: &Node, given: Option<&str>, folder: &Path, problems: &mut Problems) -> Option<StackName> {
    if let Some(given) = given {
        return StackName::new(given).map_err(|error| problems.error(Span::START, "name", error)).ok();
    }
    if let Some(entry) = tree.get("name").filter(|entry| !entry.value.is_nothing()) {
        let at = At { node: &entry.value, path: "name".to_owned() };
        return at.name(problems, StackName::new);
    }
    if problems.touches("name") {
        return None;
    }
    let named = StackName::new(normalised(folder));
    if named.is_err() {
        let hint = "write 'name: shop' at the top".to_owned();
        problems.hinted(tree.span, "", "the stack has no name, and its folder gives none", Some(hint));
    }
    named.ok()
}

/// What the whole must have, whichever file says it.
fn look(tree: &Node, problems: &mut Problems) {
    if let Some(entry) = tree.get("x-windflow").filter(|entry| !entry.value.is_nothing()) {
        let message = "says nothing that a stack knows yet; services have their own 'x-windflow'";
        problems.error(entry.value.span, "x-windflow", message);
    }
    match tree.get("services") {
        None if !problems.touches("services") => {
            let hint = "a map of named services, each with 'image' or a process".to_owned();
            problems.hinted(tree.span, "", "'services' is missing", Some(hint));
        }
        Some(entry) if !matches!(entry.value.kind, Kind::Map(_)) => {
            At { node: &entry.value, path: "services".to_owned() }.expected::<()>(problems, "a map");
        }
        Some(entry) if entry.value.entries().is_empty() && !problems.touches("services") => {
            problems.error(entry.value.span, "services", "must hold at least one service");
        }
        _ => {}
    }
}

/// A folder's name as Compose makes a project name of it: small letters, digits, `-` and `_`.
fn normalised(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let kept: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
    kept.trim_start_matches(['_', '-']).chars().take(63).collect()
}

/// The profiles of all services of a tree.
fn profiles(tree: &Node) -> BTreeSet<String> {
    let services = tree.get("services").map(|entry| entry.value.entries()).unwrap_or_default();
    let lists = services.iter().filter_map(|service| service.value.get("profiles"));
    lists.flat_map(|entry| entry.value.list()).filter_map(|name| name.as_text().map(str::to_owned)).collect()
}
