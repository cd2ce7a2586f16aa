//! A stack file, read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use windflow_core::target::{EnvValue, Stack};
use windflow_core::workflow::did_you_mean;
use windflow_core::{SecretSources, ServiceName, StackName};

use super::build::{Around, interpolated};
use super::service::service;
use crate::document::decode::At;
use crate::document::diagnostic::{Diagnostics, Problems};
use crate::document::expressions::{Inputs, check_inputs, check_template, in_template};
use crate::document::keys;
use crate::document::limits::Limits;
use crate::document::reader::{check_text, read_source};
use crate::document::secrets;
use crate::document::source::{Position, Source};
use crate::document::tree::{Kind, Node};
use crate::environment::Environment;
use crate::expression::Sandbox;

/// A stack file that has been read, interpolated and resolved.
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
    source: Source,
    root: Node,
    stack: Stack,
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
        check_text(file, text.as_bytes(), limits)?;
        let mut problems = Problems::new(Source::new(file, text), limits.max_problems);
        let folder = environment.resolve(folder);
        let around = Around { environment, folder: &folder };
        let read = read_source(&mut problems, limits).0.and_then(|root| {
            let root = interpolated(&root, "", 0, &around, &mut problems);
            if let Some(at) = services(&root) {
                check_template(&at, None, &Sandbox::operator(), &mut problems);
            }
            stack(&root, &around, &mut problems).map(|stack| (root, stack))
        });
        match read {
            Some((root, stack)) if problems.is_empty() => Ok(Self { source: problems.source, root, stack }),
            _ => Err(problems.into_diagnostics()),
        }
    }

    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The file.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What is wrong with it as a part of a workflow that has these inputs.
    pub(in crate::document) fn check_inputs(&self, inputs: &Inputs, limits: &Limits) -> Diagnostics {
        let mut problems = Problems::new(self.source.clone(), limits.max_problems);
        for found in services(&self.root).map(|at| in_template(&at, &self.source).0).unwrap_or_default() {
            check_inputs(&found, inputs, &mut problems);
        }
        problems.into_diagnostics()
    }

    /// The secret references in it that none of these sources can answer.
    #[must_use]
    pub fn check_secrets(&self, sources: &SecretSources) -> Diagnostics {
        let mut problems = Problems::new(self.source.clone(), usize::MAX);
        for (service, about) in &self.stack.services {
            for (name, value) in &about.environment {
                let EnvValue::Secret(reference) = value else { continue };
                if let Some((message, hint)) = secrets::unknown(reference, sources) {
                    let (span, path) = secrets::variable(&self.root, service.as_str(), name);
                    problems.hinted(span, &path, message, hint);
                }
            }
        }
        problems.into_diagnostics()
    }

    /// Where a path such as `services.web.ports[0]` stands, or the deepest part of it that is written.
    #[must_use]
    pub fn locate(&self, path: &str) -> Position {
        self.root.locate(path).start
    }
}

/// The part of a stack that may hold expressions.
fn services(root: &Node) -> Option<At<'_>> {
    root.get("services").map(|entry| At { node: &entry.value, path: "services".to_owned() })
}

fn stack(root: &Node, around: &Around<'_>, problems: &mut Problems) -> Option<Stack> {
    let at = At::root(root);
    let fields = at.fields(problems, "a stack", keys::STACK, keys::STACK_LATER)?;
    let name = match fields.get("name") {
        Some(at) if at.closed(problems) => at.name(problems, StackName::new),
        Some(_) => None,
        None => {
            let named = StackName::new(normalised(around.folder));
            if named.is_err() {
                let hint = "write 'name: shop' at the top".to_owned();
                problems.hinted(fields.span, "", "the stack has no name, and its folder gives none", Some(hint));
            }
            named.ok()
        }
    };
    if let Some(at) = fields.get("x-windflow").filter(|at| !at.is_null()) {
        at.error(problems, "says nothing that a stack knows yet; services have their own 'x-windflow'");
    }
    let at = fields.need(problems, "services", "a map of named services, each with 'image' or a process")?;
    let entries = at.entries(problems)?;
    if entries.is_empty() {
        at.error(problems, "must hold at least one service");
    }
    let mut services = BTreeMap::new();
    for (entry, at) in &entries {
        match ServiceName::new(&entry.key) {
            Ok(name) => {
                if let Some(service) = service(at, around, problems) {
                    services.insert(name, service);
                }
            }
            Err(error) => problems.error(entry.key_span, &at.path, error),
        }
    }
    // What could not be read is still there by its name.
    let known: BTreeSet<&str> = entries.iter().map(|(entry, _)| &*entry.key).collect();
    let stack = Stack { name: name?, services };
    check_dependencies(&stack, &known, root, problems);
    Some(stack)
}

/// Every dependency exists, and none leads back to where it came from.
fn check_dependencies(stack: &Stack, known: &BTreeSet<&str>, root: &Node, problems: &mut Problems) {
    for (name, service) in &stack.services {
        for (need, dependency) in &service.depends_on {
            let (span, path) = dependency_place(root, name, need);
            if need == name {
                problems.error(span, &path, "a service cannot depend on itself");
            } else if !known.contains(need.as_str()) && dependency.required {
                let hint = did_you_mean(need.as_str(), known.iter().copied());
                problems.hinted(span, &path, format_args!("there is no service '{need}'"), hint);
            }
        }
    }
    // Services that wait for nobody are taken away until only circles and what hangs on them are left.
    let mut left: BTreeSet<&ServiceName> = stack.services.keys().collect();
    loop {
        let free: Vec<&ServiceName> = left
            .iter()
            .copied()
            .filter(|name| !stack.services[*name].depends_on.keys().any(|need| need != *name && left.contains(need)))
            .collect();
        if free.is_empty() {
            break;
        }
        for name in free {
            left.remove(name);
        }
    }
    let Some(mut at) = left.first().copied() else { return };
    let mut way = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        match stack.services[at].depends_on.keys().find(|need| *need != at && left.contains(need)) {
            Some(next) => at = next,
            None => return,
        }
    }
    let start = way.iter().position(|name| *name == at).unwrap_or(0);
    let circle: Vec<&str> = way[start..].iter().map(|name| name.as_str()).chain([at.as_str()]).collect();
    let second = circle.get(1).and_then(|name| ServiceName::new(name).ok());
    let (span, path) = dependency_place(root, at, second.as_ref().unwrap_or(at));
    problems.error(span, &path, format_args!("waits for itself: {}", circle.join(" needs ")));
}

fn dependency_place(root: &Node, service: &ServiceName, need: &ServiceName) -> (crate::document::Span, String) {
    let path = format!("services.{service}.depends_on");
    let Some(node) = root.find(&["services", service.as_str(), "depends_on"]) else { return (root.span, path) };
    match &node.kind {
        Kind::List(_) => {
            let at = At { node, path: path.clone() };
            let found = at.one_or_many().into_iter().find(|item| item.raw() == Some(need.as_str()));
            found.map_or((node.span, path), |item| (item.node.span, item.path))
        }
        _ => match node.get(need.as_str()) {
            Some(entry) => (entry.key_span, format!("{path}.{need}")),
            None => (node.span, path),
        },
    }
}

/// A folder's name as Compose makes a project name of it: small letters, digits, `-` and `_`.
fn normalised(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let kept: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
    kept.trim_start_matches(['_', '-']).chars().take(63).collect()
}
