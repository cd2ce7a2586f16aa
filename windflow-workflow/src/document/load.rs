//! Documents from files, with the files they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use windflow_core::workflow::{Body, Compensate, MAX_DEPTH, NodeSpec, Piece, WorkflowSpec, did_you_mean, pieces};
use windflow_core::{ActionName, SecretSources};

use super::decode::At;
use super::diagnostic::{Diagnostic, Diagnostics, Problems};
use super::expressions::Inputs;
use super::limits::Limits;
use super::reader::check_text;
use super::source::Source;
use super::stack::{StackDocument, StackFiles};
use super::tree::{Kind, Node};
use super::workflow::{Opened, WorkflowDocument, blocks};
use crate::environment::Environment;

/// Reads a workflow from a file and pins what it names: where a node that deploys says `with: { stack: FILE }`, or a list of
/// files that are merged, with `profiles` beside it, the stack, seen from the workflow's own folder, is read and its resolved form stands in the workflow instead.
/// From then on the files may change without changing the workflow; only `${{ }}` in them stays open. Where a node
/// destroys, the stack's name stands instead of a file; a text that is no path and does not end in `.yaml` or `.yml` is
/// the name already.
///
/// A file's name may lead anywhere: whoever loads what others have sent hands in an [`Environment`] whose files are
/// only those that may be read.
///
/// # Errors
/// Everything that is wrong with the file and the files it names, located.
pub fn load_workflow(path: &Path, environment: &Environment, limits: &Limits) -> Result<WorkflowDocument, Diagnostics> {
    let Loaded { mut problems, opened, others } = open_workflow(path, environment, limits, None)?;
    match opened.finish(&mut problems) {
        Some(document) => Ok(document),
        None => Err(problems.into_diagnostics().merge(others)),
    }
}

/// A workflow with what it names, not yet validated.
pub(super) struct Loaded {
    pub(super) problems: Problems,
    pub(super) opened: Opened,
    /// What is wrong with the files it names.
    pub(super) others: Diagnostics,
}

/// Reads a workflow and pins what it names. With `secrets`, references in the files it names are checked as well.
pub(super) fn open_workflow(
    path: &Path,
    environment: &Environment,
    limits: &Limits,
    secrets: Option<&SecretSources>,
) -> Result<Loaded, Diagnostics> {
    open_called(path, environment, limits, secrets, &mut Calls { chain: Vec::new(), left: limits.max_files })
}

/// The workflows that are being read, each called by the one before, and how many more may be.
struct Calls {
    chain: Vec<PathBuf>,
    left: usize,
}

fn open_called(
    path: &Path,
    environment: &Environment,
    limits: &Limits,
    secrets: Option<&SecretSources>,
    calls: &mut Calls,
) -> Result<Loaded, Diagnostics> {
    let file = path.to_string_lossy();
    let text = read_text(path, &file, environment, limits)?;
    let (mut problems, mut opened) = WorkflowDocument::open(&file, &text, limits)?;
    let folder = environment.resolve(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let inputs = opened.spec.inputs.clone().unwrap_or_default();
    let shown = path.parent().unwrap_or(Path::new(""));
    let mut pins = Pins { environment, limits, inputs: &inputs, secrets, shown, folder: &folder };
    let mut others = Diagnostics::default();
    let Opened { root, spec, .. } = &mut opened;
    // Nodes, and where the map of their names stands; those within others as they come up.
    let mut open: Vec<(&mut [NodeSpec], At<'_>)> = vec![(&mut spec.nodes, At::root(root))];
    while let Some((nodes, of)) = open.pop() {
        for node in nodes {
            let Some(tree) = within(&of, node.name.as_str()) else { continue };
            let mut pin = |uses: &ActionName, written: Option<&Node>, at: &str, with: &mut Value| {
                let Some(whole) = written else { return };
                let Some(written) = whole.get("stack").map(|entry| &entry.value) else { return };
                let path = format!("{}.{at}with.stack", tree.path);
                let profiles = At { node: whole, path: format!("{}.{at}with", tree.path) };
                let wrong = match uses.as_str() {
                    "adopt" | "deploy" => pins.pin(written, &profiles, &path, with, &mut problems),
                    "abort" | "destroy" | "exec" | "promote" | "rollback" | "scale" | "wait_healthy" => {
                        pins.pin_name(written, &path, with, &mut problems)
                    }
                    _ => None,
                };
                if let Some(wrong) = wrong {
                    others = std::mem::take(&mut others).merge(wrong);
                }
            };
            if node.body.is_none() {
                pin(&node.uses, tree.node.find(&["with"]), "", &mut node.with);
            }
            if let Some(Compensate::Action { uses, with, .. }) = node.compensate.as_deref_mut() {
                pin(uses, tree.node.find(&["compensate", "with"]), "compensate.", with);
            }
            if let Some(body) = node.body.as_deref_mut() {
                if let (Body::Call { workflow }, Some(named)) = (&mut *body, tree.node.get("call")) {
                    let at = At { node: &named.value, path: format!("{}.call", tree.path) };
                    match called(path, &at, environment, limits, secrets, calls) {
                        Ok(Some(spec)) => **workflow = spec,
                        Ok(None) => {}
                        Err((message, wrong)) => {
                            at.error(&mut problems, message);
                            others = std::mem::take(&mut others).merge(wrong);
                        }
                    }
                    continue;
                }
                let places = blocks(&tree, &of).into_iter();
                open.extend(body.workflows_mut().into_iter().map(|block| block.nodes.as_mut_slice()).zip(places));
            }
        }
    }
    Ok(Loaded { problems, opened, others })
}

/// The workflow of a file that another calls: what stands in the node, or what to say there, and of the file.
fn called(
    caller: &Path,
    at: &At<'_>,
    environment: &Environment,
    limits: &Limits,
    secrets: Option<&SecretSources>,
    calls: &mut Calls,
) -> Result<Option<WorkflowSpec>, (String, Diagnostics)> {
    let said = |message: &str| (message.to_owned(), Diagnostics::default());
    let Some(name) = at.raw() else { return Ok(None) };
    if name.contains("${{") {
        return Err(said("cannot be an expression: what is called is pinned to the run before it starts"));
    }
    let path = caller.parent().unwrap_or(Path::new("")).join(name);
    let whole = environment.resolve(&path);
    if calls.chain.contains(&whole) || environment.resolve(caller) == whole {
        return Err(said("calls a workflow that calls this one"));
    }
    if calls.chain.len() + 2 > MAX_DEPTH {
        return Err((
            format!("is called too deep: workflows call one another at most {MAX_DEPTH} deep"),
            Diagnostics::default(),
        ));
    }
    let Some(left) = calls.left.checked_sub(1) else {
        let most = limits.max_files;
        return Err((format!("is one file too many: a workflow calls at most {most} in all"), Diagnostics::default()));
    };
    calls.left = left;
    calls.chain.push(environment.resolve(caller));
    let read = open_called(&path, environment, limits, secrets, calls).and_then(|loaded| {
        let Loaded { mut problems, opened, others } = loaded;
        if let Some(secrets) = secrets {
            opened.check_secrets(secrets, &mut problems);
        }
        match opened.finish(&mut problems) {
            Some(document) if others.is_empty() => Ok(document.spec().clone()),
            _ => Err(problems.into_diagnostics().merge(others)),
        }
    });
    calls.chain.pop();
    read.map(Some).map_err(|wrong| {
        let first = wrong.as_slice().first().map(ToString::to_string).unwrap_or_default();
        (format!("the workflow file '{name}' cannot be used: {first}"), wrong)
    })
}

/// A node of a map of them, by its name.
fn within<'n>(of: &At<'n>, name: &str) -> Option<At<'n>> {
    let prefix = if of.path.is_empty() { String::new() } else { format!("{}.", of.path) };
    of.node.find(&["nodes", name]).map(|node| At { node, path: format!("{prefix}nodes.{name}") })
}

/// Where the files that a workflow names are, and how they are read.
struct Pins<'a> {
    environment: &'a Environment,
    limits: &'a Limits,
    /// What the files may read.
    inputs: &'a Inputs,
    secrets: Option<&'a SecretSources>,
    /// The workflow's folder as messages name it.
    shown: &'a Path,
    /// The workflow's folder.
    folder: &'a Path,
}

impl Pins<'_> {
    /// Puts the stack into `with` that the files `written` names. What is wrong with those files themselves is answered.
    fn pin(
        &mut self,
        written: &Node,
        whole: &At<'_>,
        path: &str,
        with: &mut Value,
        problems: &mut Problems,
    ) -> Option<Diagnostics> {
        let names = match stack_files(written) {
            Ok(names) => names?,
            Err((message, hint)) => {
                problems.hinted(written.span, path, message, hint.map(str::to_owned));
                return None;
            }
        };
        let mut files = StackFiles { alone: true, ..StackFiles::new(&names) };
        files.profiles = profiles(whole, problems)?;
        if let Value::Object(map) = with {
            map.remove("profiles");
        }
        let name = names.join("', '");
        let read = self.read(&files).and_then(|document| {
            let secrets = self.secrets.map(|sources| document.check_secrets(sources)).unwrap_or_default();
            let wrong = document.check_inputs(self.inputs, self.limits).merge(secrets);
            if wrong.is_empty() { Ok(document) } else { Err(wrong) }
        });
        match read {
            Ok(document) => {
                check_profiles(whole, document.profiles(), problems);
                match serde_json::to_value(document.stack()) {
                    Ok(mut stack) => {
                        keep_text(&mut stack);
                        put(with, stack);
                    }
                    Err(error) => problems.error(written.span, path, error),
                }
                None
            }
            Err(wrong) => Some(cannot_be_used(wrong, &name, written, path, problems)),
        }
    }

    /// Puts the name of the stack into `with` whose file `written` names. What is wrong with that file itself is answered.
    fn pin_name(
        &mut self,
        written: &Node,
        path: &str,
        with: &mut Value,
        problems: &mut Problems,
    ) -> Option<Diagnostics> {
        let Kind::Scalar(scalar) = &written.kind else { return None };
        let name = scalar.text();
        let end = Path::new(name).extension();
        let is_file = name.contains(['/', '\\']) || end.is_some_and(|end| end == "yaml" || end == "yml");
        if !is_file || name.contains("${{") {
            return None;
        }
        match self.read(&StackFiles { alone: true, ..StackFiles::from(name) }) {
            Ok(document) => {
                put(with, document.stack().name.as_str().into());
                None
            }
            Err(wrong) => Some(cannot_be_used(wrong, name, written, path, problems)),
        }
    }

    fn read(&self, files: &StackFiles) -> Result<StackDocument, Diagnostics> {
        StackDocument::load(files, self.shown, self.folder, self.environment, self.limits)
    }
}

/// Says at the place that names a file what is wrong with it first, and answers all of that.
fn cannot_be_used(wrong: Diagnostics, name: &str, written: &Node, path: &str, problems: &mut Problems) -> Diagnostics {
    let first = wrong.as_slice().first().map(ToString::to_string).unwrap_or_default();
    problems.error(written.span, path, format!("the stack file '{name}' cannot be used: {first}"));
    wrong
}

/// Reads a stack from a file, or from several that are merged.
///
/// `.env` beside the first file gives variables that the environment does not have, unless others are named. Of the
/// environment `COMPOSE_PROJECT_NAME` names the stack whatever its files say, and `COMPOSE_PROFILES` the active profiles when
/// none are given.
///
/// ```no_run
/// use windflow_workflow::Environment;
/// use windflow_workflow::document::{Limits, StackFiles, load_stack};
/// let files = StackFiles::new(["compose.yaml", "compose.prod.yaml"]).with_profile("debug");
/// let document = load_stack(files, &Environment::new("/srv/shop"), &Limits::operator())?;
/// # Ok::<(), windflow_workflow::document::Diagnostics>(())
/// ```
///
/// # Errors
/// Everything that is wrong with it, located.
pub fn load_stack(
    files: impl Into<StackFiles>,
    environment: &Environment,
    limits: &Limits,
) -> Result<StackDocument, Diagnostics> {
    StackDocument::load(&files.into(), Path::new(""), environment.working_dir(), environment, limits)
}

/// A file's text, no longer than allowed.
pub(super) fn read_text(
    path: &Path,
    file: &str,
    environment: &Environment,
    limits: &Limits,
) -> Result<String, Diagnostics> {
    // Without a line of it, the text is not looked at; its name keeps the problem in its place among others.
    let refuse =
        |message: String| Diagnostics::new(vec![Diagnostic::of_file(file, message)], vec![Source::new(file, "")]);
    let bytes = environment.read(path, limits.max_bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("there is no such file".to_owned()),
        _ => refuse(format!("cannot be read: {error}")),
    })?;
    check_text(file, &bytes, limits).map(str::to_owned)
}

/// The profiles that a node which deploys makes active; `None` when they are none.
fn profiles(whole: &At<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let Some(entry) = whole.node.get("profiles") else { return Some(Vec::new()) };
    let at = At { node: &entry.value, path: format!("{}.profiles", whole.path) };
    let names = at.one_or_many();
    let read: Vec<String> = names.iter().filter_map(|at| at.text(problems).map(str::to_owned)).collect();
    (read.len() == names.len()).then_some(read)
}

/// Notes every profile a node asks for that no service has: what it is meant to take in would be missing.
fn check_profiles(whole: &At<'_>, known: &BTreeSet<String>, problems: &mut Problems) {
    let Some(entry) = whole.node.get("profiles") else { return };
    let at = At { node: &entry.value, path: format!("{}.profiles", whole.path) };
    for at in at.one_or_many() {
        let Some(name) = at.raw().filter(|name| *name != "*" && !known.contains(*name)) else { continue };
        let hint = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| match known.is_empty() {
            true => "no service of the stack has profiles".to_owned(),
            false => format!("known: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        });
        problems.hinted(at.node.span, &at.path, format!("no service has the profile '{name}'"), Some(hint));
    }
}

/// The files a node's `stack` names; `None` for a stack that is written out on the spot.
fn stack_files(node: &Node) -> Result<Option<Vec<&str>>, (String, Option<&'static str>)> {
    match &node.kind {
        Kind::Map(_) => Ok(None),
        Kind::List(items) if !items.is_empty() => {
            let mut names = Vec::new();
            for item in items {
                match stack_files(item) {
                    Ok(Some(found)) if !matches!(item.kind, Kind::List(_)) => names.extend(found),
                    Err(wrong) => return Err(wrong),
                    _ => return Err((format!("must hold the names of stack files, not {}", item.describe()), None)),
                }
            }
            Ok(Some(names))
        }
        Kind::Scalar(scalar) if scalar.text().contains("${{") => {
            let message = "cannot be an expression: the stack is pinned to the run before it starts".to_owned();
            Err((message, Some("name the file itself; what differs from run to run stands in it as ${{ inputs.x }}")))
        }
        Kind::Scalar(scalar) if scalar.to_value().is_string() && !scalar.text().is_empty() => {
            Ok(Some(vec![scalar.text()]))
        }
        _ => Err((format!("must be the name of a stack file, or a list of them, not {}", node.describe()), None)),
    }
}

fn put(with: &mut Value, stack: Value) {
    if let Value::Object(map) = with {
        map.insert("stack".to_owned(), stack);
    }
}

/// Every text of a stack must stay one. A text that is one expression and nothing else would become whatever the
/// expression is, a number for a port in the environment; beside a second, empty one it is written out as text.
fn keep_text(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Ok([Piece::Expression(_)]) = pieces(text).as_deref() {
                text.insert_str(0, "${{ \"\" }}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(keep_text),
        Value::Object(map) => map.values_mut().for_each(keep_text),
        _ => {}
    }
}
