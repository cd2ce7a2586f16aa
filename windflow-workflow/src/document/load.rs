//! Documents from files, with the files they name.

use std::path::Path;

use serde_json::Value;
use windflow_core::workflow::{Compensate, Piece, pieces};
use windflow_core::{ActionName, SecretSources};

use super::diagnostic::{Diagnostic, Diagnostics, Problems};
use super::expressions::Inputs;
use super::limits::Limits;
use super::reader::check_text;
use super::source::Source;
use super::stack::StackDocument;
use super::tree::{Kind, Node};
use super::workflow::{Opened, WorkflowDocument};
use crate::environment::Environment;

/// Reads a workflow from a file and pins what it names: where a node that deploys says `with: { stack: FILE }`, the
/// stack file, seen from the workflow's own folder, is read and its resolved form stands in the workflow instead.
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
    let file = path.to_string_lossy();
    let text = read_text(path, &file, environment, limits)?;
    let (mut problems, mut opened) = WorkflowDocument::open(&file, &text, limits)?;
    let folder = environment.resolve(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let inputs = opened.spec.inputs.clone().unwrap_or_default();
    let shown = path.parent().unwrap_or(Path::new(""));
    let mut pins = Pins { environment, limits, inputs: &inputs, secrets, shown, folder: &folder };
    let mut others = Diagnostics::default();
    let Opened { root, spec, .. } = &mut opened;
    for node in &mut spec.nodes {
        let name = node.name.as_str();
        let own = root.find(&["nodes", name, "with", "stack"]);
        let mut pin = |uses: &ActionName, written: Option<&Node>, at: &str, with: &mut Value| {
            let Some(written) = written else { return };
            let path = format!("nodes.{name}.{at}with.stack");
            let wrong = match uses.as_str() {
                "deploy" => pins.pin(written, &path, with, &mut problems),
                "destroy" => pins.pin_name(written, &path, with, &mut problems),
                _ => None,
            };
            if let Some(wrong) = wrong {
                others = std::mem::take(&mut others).merge(wrong);
            }
        };
        pin(&node.uses, own, "", &mut node.with);
        if let Some(Compensate::Action { uses, with, .. }) = node.compensate.as_deref_mut() {
            pin(uses, root.find(&["nodes", name, "compensate", "with", "stack"]), "compensate.", with);
        }
    }
    Ok(Loaded { problems, opened, others })
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
    /// Puts the stack into `with` that the file `written` names. What is wrong with that file itself is answered.
    fn pin(&mut self, written: &Node, path: &str, with: &mut Value, problems: &mut Problems) -> Option<Diagnostics> {
        let name = match stack_file(written) {
            Ok(name) => name?,
            Err((message, hint)) => {
                problems.hinted(written.span, path, message, hint.map(str::to_owned));
                return None;
            }
        };
        let read = self.read(name).and_then(|document| {
            let secrets = self.secrets.map(|sources| document.check_secrets(sources)).unwrap_or_default();
            let wrong = document.check_inputs(self.inputs, self.limits).merge(secrets);
            if wrong.is_empty() { Ok(document) } else { Err(wrong) }
        });
        match read {
            Ok(document) => {
                match serde_json::to_value(document.stack()) {
                    Ok(mut stack) => {
                        keep_text(&mut stack);
                        put(with, stack);
                    }
                    Err(error) => problems.error(written.span, path, error),
                }
                None
            }
            Err(wrong) => Some(cannot_be_used(wrong, name, written, path, problems)),
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
        match self.read(name) {
            Ok(document) => {
                put(with, document.stack().name.as_str().into());
                None
            }
            Err(wrong) => Some(cannot_be_used(wrong, name, written, path, problems)),
        }
    }

    fn read(&self, name: &str) -> Result<StackDocument, Diagnostics> {
        load_stack_at(&self.shown.join(name), &self.folder.join(name), self.environment, self.limits)
    }
}

/// Says at the place that names a file what is wrong with it first, and answers all of that.
fn cannot_be_used(wrong: Diagnostics, name: &str, written: &Node, path: &str, problems: &mut Problems) -> Diagnostics {
    let first = wrong.as_slice().first().map(ToString::to_string).unwrap_or_default();
    problems.error(written.span, path, format!("the stack file '{name}' cannot be used: {first}"));
    wrong
}

/// Reads a stack from a file.
///
/// # Errors
/// Everything that is wrong with it, located.
pub fn load_stack(path: &Path, environment: &Environment, limits: &Limits) -> Result<StackDocument, Diagnostics> {
    load_stack_at(path, &environment.resolve(path), environment, limits)
}

fn load_stack_at(
    shown: &Path,
    path: &Path,
    environment: &Environment,
    limits: &Limits,
) -> Result<StackDocument, Diagnostics> {
    let file = shown.to_string_lossy();
    let text = read_text(path, &file, environment, limits)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    StackDocument::parse(&file, &text, folder, environment, limits)
}

/// A file's text, no longer than allowed.
fn read_text(path: &Path, file: &str, environment: &Environment, limits: &Limits) -> Result<String, Diagnostics> {
    // Without a line of it, the text is not looked at; its name keeps the problem in its place among others.
    let refuse =
        |message: String| Diagnostics::new(vec![Diagnostic::of_file(file, message)], vec![Source::new(file, "")]);
    let bytes = environment.read(path, limits.max_bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => refuse("there is no such file".to_owned()),
        _ => refuse(format!("cannot be read: {error}")),
    })?;
    check_text(file, &bytes, limits).map(str::to_owned)
}

/// The file a node's `stack` names; `None` for a stack that is written out on the spot.
fn stack_file(node: &Node) -> Result<Option<&str>, (String, Option<&'static str>)> {
    match &node.kind {
        Kind::Map(_) => Ok(None),
        Kind::Scalar(scalar) if scalar.text().contains("${{") => {
            let message = "cannot be an expression: the stack is pinned to the run before it starts".to_owned();
            Err((message, Some("name the file itself; what differs from run to run stands in it as ${{ inputs.x }}")))
        }
        Kind::Scalar(scalar) if scalar.to_value().is_string() && !scalar.text().is_empty() => Ok(Some(scalar.text())),
        _ => Err((format!("must be the name of a stack file, not {}", node.describe()), None)),
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
