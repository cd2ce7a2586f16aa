//! Documents against what there is: the actions and the sources of secrets that whoever runs them has registered.

use std::path::Path;

use windflow_core::{Registry, SecretSources};

use super::diagnostic::Diagnostics;
use super::limits::Limits;
use super::load::{Loaded, load_stack, open_workflow};
use super::stack::StackDocument;
use super::workflow::WorkflowDocument;
use crate::environment::Environment;

/// As [`load_workflow`](super::load_workflow), and checked against the actions and the sources of secrets there are. All
/// that can be said is said at once: a node that could not be read keeps no other from being looked at. Answers the
/// warnings with the document.
///
/// # Errors
/// Everything that is wrong with the file and the files it names, located, and the warnings.
pub fn check_workflow(
    path: &Path,
    environment: &Environment,
    limits: &Limits,
    actions: &Registry,
    secrets: &SecretSources,
) -> Result<(WorkflowDocument, Diagnostics), Diagnostics> {
    let Loaded { mut problems, opened, others } = open_workflow(path, environment, limits, Some(secrets))?;
    let source = problems.source.clone();
    let mut findings = opened.lint(actions, &source);
    opened.check_secrets(secrets, &mut problems);
    let document = opened.finish(&mut problems);
    findings.retain(|finding| !problems.is_about(&finding.path));
    let found = Diagnostics::new(findings, vec![source]);
    match document {
        Some(document) if !found.has_errors() => Ok((document, found)),
        _ => Err(problems.into_diagnostics().merge(found).merge(others)),
    }
}

/// As [`load_stack`], and checked against the sources of secrets there are.
///
/// # Errors
/// Everything that is wrong with it, located.
pub fn check_stack(
    path: &Path,
    environment: &Environment,
    limits: &Limits,
    secrets: &SecretSources,
) -> Result<StackDocument, Diagnostics> {
    let document = load_stack(path, environment, limits)?;
    let wrong = document.check_secrets(secrets);
    if wrong.is_empty() { Ok(document) } else { Err(wrong) }
}
