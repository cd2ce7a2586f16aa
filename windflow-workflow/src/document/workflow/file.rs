//! A workflow file, read.

use std::sync::Arc;

use windflow_core::workflow::{Finding, Problem, WorkflowSpec};
use windflow_core::{Registry, SecretSources, Workflow};

use super::block::{Member, every, written};
use super::{lower, place};
use crate::document::decode::At;
use crate::document::diagnostic::{Diagnostic, Diagnostics, Problems};
use crate::document::expressions;
use crate::document::limits::Limits;
use crate::document::reader::{Tags, check_text, read_source};
use crate::document::secrets;
use crate::document::source::{Position, Source};
use crate::document::tree::{Kind, Node};
use crate::expression::Sandbox;

/// A workflow file that has been read and is valid.
///
/// ```
/// use windflow_workflow::document::{Limits, WorkflowDocument};
/// let text = "
/// name: hello
/// inputs: { who: { type: string, default: world } }
/// nodes:
///   greet:
///     uses: shell
///     with: { command: [echo, \"hello ${{ inputs.who }}\"] }
/// ";
/// let document = WorkflowDocument::parse("hello.yaml", text, &Limits::operator())?;
/// assert_eq!(document.workflow().len(), 1);
/// assert_eq!(document.locate("nodes.greet.uses").line, 6);
/// # Ok::<(), windflow_workflow::document::Diagnostics>(())
/// ```
#[derive(Clone, Debug)]
pub struct WorkflowDocument {
    pub(in crate::document) source: Source,
    pub(in crate::document) root: Node,
    workflow: Arc<Workflow>,
}

impl WorkflowDocument {
    /// Reads a workflow. `file` is what messages call it. Files that it names are left alone; see
    /// [`load_workflow`](crate::document::load_workflow).
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn parse(file: &str, text: &str, limits: &Limits) -> Result<Self, Diagnostics> {
        let (mut problems, read) = Self::open(file, text, limits)?;
        match read.finish(&mut problems) {
            Some(document) => Ok(document),
            None => Err(problems.into_diagnostics()),
        }
    }

    /// The first half: the text into a spec that is not yet validated.
    pub(in crate::document) fn open(
        file: &str,
        text: &str,
        limits: &Limits,
    ) -> Result<(Problems, Opened), Diagnostics> {
        check_text(file, text.as_bytes(), limits)?;
        let mut problems = Problems::new(Source::new(file, text), limits.max_problems);
        let opened = match read_source(&mut problems, 0, Tags::None, limits).0 {
            Some(root) => lower::lower(&root, &mut problems).map(|(spec, nameless)| Opened { root, spec, nameless }),
            None => None,
        };
        match opened {
            Some(opened) => Ok((problems, opened)),
            None => Err(problems.into_diagnostics()),
        }
    }

    /// The workflow as data.
    #[must_use]
    pub fn spec(&self) -> &WorkflowSpec {
        self.workflow.spec()
    }

    /// The workflow, validated.
    #[must_use]
    pub fn workflow(&self) -> Arc<Workflow> {
        Arc::clone(&self.workflow)
    }

    /// The file.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where a path such as `nodes.build.needs[1]` stands, or the deepest part of it that is written.
    #[must_use]
    pub fn locate(&self, path: &str) -> Position {
        self.root.locate(path).start
    }

    /// What [`Workflow::lint`] has found out, located in this file.
    #[must_use]
    pub fn findings(&self, findings: &[Finding]) -> Diagnostics {
        let located = findings.iter().map(|finding| place::finding(finding, &self.root, &self.source));
        Diagnostics::new(located.collect(), vec![self.source.clone()])
    }
}

/// A workflow file on its way to a document.
#[derive(Debug)]
pub(in crate::document) struct Opened {
    pub(in crate::document) root: Node,
    pub(in crate::document) spec: WorkflowSpec,
    nameless: Vec<String>,
}

impl Opened {
    /// The second half: expressions and graph checked.
    pub(in crate::document) fn finish(self, problems: &mut Problems) -> Option<WorkflowDocument> {
        self.check_expressions(problems);
        let source = problems.source();
        // Without any node there is no graph, and that has been told.
        if self.spec.nodes.is_empty() {
            return None;
        }
        match Workflow::from_spec(self.spec) {
            Ok(workflow) if problems.is_empty() => Some(WorkflowDocument { source, root: self.root, workflow }),
            Ok(_) => None,
            Err(invalid) => {
                for problem in &invalid.problems {
                    if problems.is_full() {
                        break;
                    }
                    if !follows(problem, &self.nameless, problems) {
                        problems.push(place::problem(problem, &self.root, &source));
                    }
                }
                None
            }
        }
    }

    /// Every secret reference in what the actions are given, and in the inputs it may come from.
    pub(in crate::document) fn check_secrets(&self, sources: &SecretSources, problems: &mut Problems) {
        let entries = |key: &str| match self.root.find(&[key]).map(|node| &node.kind) {
            Some(Kind::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        for entry in entries("inputs") {
            if let Some(node) = entry.value.find(&["default"]) {
                let at = At { node, path: format!("inputs.{}.default", entry.key) };
                secrets::check_template(&at, sources, problems);
            }
        }
        for member in every(&self.root) {
            for keys in [&["with"][..], &["compensate", "with"]] {
                if let Some(node) = member.at.node.find(keys) {
                    let at = At { node, path: format!("{}.{}", member.at.path, keys.join(".")) };
                    secrets::check_template(&at, sources, problems);
                }
            }
        }
    }

    /// What can be told of its nodes by the actions there are, located; some of it may only follow from other problems.
    pub(in crate::document) fn lint(&self, actions: &Registry, source: &Source) -> Vec<Diagnostic> {
        // What stands in for an action that could not be read is nobody's mistake.
        let stands = |finding: &Finding| {
            let path = written(&format!("nodes.{}.{}", finding.node, finding.path.replace('/', ".")), &self.root);
            let uses = self.root.find(&path.split('.').collect::<Vec<_>>()).map(|node| &node.kind);
            matches!(uses, Some(Kind::Scalar(uses)) if finding.message.contains(&format!("'{}'", uses.text())))
        };
        let mut findings = self.spec.lint(actions);
        findings.retain(|finding| !is_uses(&finding.path) || stands(finding));
        findings.iter().map(|finding| place::finding(finding, &self.root, source)).collect()
    }

    fn check_expressions(&self, problems: &mut Problems) {
        let (sandbox, inputs) = (Sandbox::operator(), self.spec.inputs.as_ref());
        let source = problems.source();
        let mut templates = Vec::new();
        for Member { at: node, within, itself } in every(&self.root) {
            let given = |within: bool| if within { expressions::GIVEN_WITHIN } else { expressions::GIVEN };
            let at = |keys: &[&str]| {
                let path = format!("{}.{}", node.path, keys.join("."));
                node.node.find(keys).map(|node| At { node, path })
            };
            let conditions = [(at(&["if"]), within), (at(&["repeat", "until"]), true)];
            for (at, within) in conditions {
                if let Some(found) = at.and_then(|at| expressions::in_condition(&at, &source)) {
                    expressions::check(&found, inputs, given(within), &sandbox, problems);
                }
            }
            let each = at(&["for_each"]).into_iter().chain(at(&["switch"])).map(|at| (at, given(within)));
            let rest = [at(&["with"]), at(&["compensate", "with"]), at(&["outputs"])];
            templates.extend(each.chain(rest.into_iter().flatten().map(|at| (at, given(itself)))));
        }
        let outputs = self.root.find(&["outputs"]);
        templates.extend(outputs.map(|node| (At { node, path: "outputs".to_owned() }, expressions::GIVEN)));
        for (at, given) in templates {
            expressions::check_template(&at, inputs, given, &sandbox, problems);
        }
    }
}

/// Whether a finding is about the name of an action, of the node itself or of one within it.
fn is_uses(path: &str) -> bool {
    path == "uses" || path.ends_with("/uses") && !path.ends_with("compensate/uses")
}

/// Whether a problem of the graph is there only because of another one that has been told.
fn follows(problem: &Problem, nameless: &[String], told: &Problems) -> bool {
    // An expression that is never closed has been reported where it stands.
    if problem.message.ends_with("never closes") {
        return true;
    }
    if nameless.iter().any(|name| problem.message.contains(&format!("'nodes.{name}'"))) {
        return true;
    }
    // What a node waits for is not known when its `needs` are wrong, or under another key.
    let read = problem.message.strip_prefix("reads the output of ").and_then(|rest| rest.split('\'').nth(1));
    let waits = read.is_some() || problem.message.starts_with("'any' waits");
    let Some(name) = problem.path.split('.').nth(1).filter(|_| waits) else { return false };
    let (node, needs) = (format!("nodes.{name}."), format!("nodes.{name}.needs"));
    told.iter().any(|other| {
        let meant = |name: &str| other.hint.as_deref().is_some_and(|hint| hint.contains(&format!("'{name}'")));
        if other.path.starts_with(&needs) {
            // One that is not there hides only what was meant by it.
            let known = other.message.starts_with("there is no node") || other.message.ends_with("is there twice");
            return !known || read.is_some_and(meant);
        }
        other.path.starts_with(&node) && meant("needs")
    })
}
