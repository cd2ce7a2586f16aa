//! Documents against what there is: the actions, the sources of secrets and the targets that whoever runs them has
//! registered.

use std::collections::BTreeSet;
use std::path::Path;

use windflow_core::{Registry, SecretSources, TargetName};

use super::diagnostic::Diagnostics;
use super::limits::Limits;
use super::load::{Loaded, load_stack, open_workflow};
use super::stack::{StackDocument, StackFiles};
use super::workflow::WorkflowDocument;
use crate::environment::Environment;

/// What whoever runs documents has registered.
#[derive(Clone, Copy, Debug)]
pub struct Registered<'a> {
    /// The actions.
    pub actions: &'a Registry,
    /// The sources of secrets.
    pub secrets: &'a SecretSources,
    /// The targets; `None` when they are not known here, and no name of one is looked at.
    pub targets: Option<&'a BTreeSet<TargetName>>,
}

/// As [`load_workflow`](super::load_workflow), and checked against the actions, the sources of secrets and the targets
/// there are. All that can be said is said at once: a node that could not be read keeps no other from being looked at.
/// Answers the warnings with the document.
///
/// # Errors
/// Everything that is wrong with the file and the files it names, located, and the warnings.
pub fn check_workflow(
    path: &Path,
    environment: &Environment,
    limits: &Limits,
    registered: &Registered<'_>,
) -> Result<(WorkflowDocument, Diagnostics), Diagnostics> {
    let Registered { actions, secrets, targets } = *registered;
    let Loaded { mut problems, opened, others } = open_workflow(path, environment, limits, Some(secrets))?;
    let source = problems.source();
    let mut findings = opened.lint(actions, &source);
    if let Some(targets) = targets {
        findings.extend(opened.check_targets(targets, &source));
    }
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
    files: impl Into<StackFiles>,
    environment: &Environment,
    limits: &Limits,
    secrets: &SecretSources,
) -> Result<StackDocument, Diagnostics> {
    let document = load_stack(files, environment, limits)?;
    let wrong = document.check_secrets(secrets);
    if wrong.is_empty() { Ok(document) } else { Err(wrong) }
}
