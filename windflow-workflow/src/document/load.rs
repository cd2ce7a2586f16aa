//! Documents from files, with the files they name.

use std::path::Path;

use serde_json::Value;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::limits::Limits;
use super::reader::check_text;
use super::source::{Position, Source};
use super::stack::StackDocument;
use super::tree::{Kind, Node};
use super::workflow::WorkflowDocument;
use crate::environment::Environment;

/// The actions whose `with.stack` names a stack file.
const TAKES_STACK: [&str; 5] = ["deploy", "plan", "destroy", "rollback", "drift"];

/// Reads a workflow from a file and pins what it names: where a node that deploys says `with: { stack: FILE }`, the
/// stack file, seen from the workflow's own folder, is read and its resolved form stands in the workflow instead.
/// From then on the files may change without changing the workflow; only `${{ }}` in them stays open.
///
/// # Errors
/// Everything that is wrong with the file and the files it names, located.
pub fn load_workflow(path: &Path, environment: &Environment, limits: &Limits) -> Result<WorkflowDocument, Diagnostics> {
    let file = path.to_string_lossy();
    let text = read_text(path, &file, environment, limits)?;
    let (mut problems, mut opened) = WorkflowDocument::open(&file, &text, limits)?;
    let folder = environment.resolve(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut others = Diagnostics::default();
    for node in &mut opened.spec.nodes {
        if !TAKES_STACK.contains(&node.uses.as_str()) {
            continue;
        }
        let Some(written) = opened.root.find(&["nodes", node.name.as_str(), "with", "stack"]) else { continue };
        let place = format!("nodes.{}.with.stack", node.name);
        match stack_file(written) {
            Ok(None) => {}
            Ok(Some(name)) => {
                let shown = path.parent().unwrap_or(Path::new("")).join(name);
                match load_stack_at(&shown, &folder.join(name), environment, limits) {
                    Ok(document) => match serde_json::to_value(document.stack()) {
                        Ok(stack) => put(&mut node.with, stack),
                        Err(error) => problems.error(written.span, &place, error),
                    },
                    Err(wrong) => {
                        let first = wrong.as_slice().first().map(ToString::to_string).unwrap_or_default();
                        let message = format!("the stack file '{name}' cannot be used: {first}");
                        problems.error(written.span, &place, message);
                        others = others.merge(wrong);
                    }
                }
            }
            Err((message, hint)) => problems.hinted(written.span, &place, message, hint.map(str::to_owned)),
        }
    }
    match opened.finish(&mut problems) {
        Some(document) => Ok(document),
        None => Err(problems.into_diagnostics().merge(others)),
    }
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
    let refuse = |message: String| {
        Diagnostics::new(vec![Diagnostic::new(file, Position::START, "", message)], vec![Source::new(file, "")])
    };
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
