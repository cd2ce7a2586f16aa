//! A workflow file, read.

use std::sync::Arc;

use windflow_core::Workflow;
use windflow_core::workflow::{Finding, WorkflowSpec};

use super::{lower, place};
use crate::document::decode::At;
use crate::document::diagnostic::{Diagnostics, Problems};
use crate::document::expressions;
use crate::document::limits::Limits;
use crate::document::reader::{check_text, read_source};
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
        let opened = match read_source(&mut problems, limits).0 {
            Some(root) => lower::lower(&root, &mut problems).map(|(spec, whole)| Opened { root, spec, whole }),
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
    whole: bool,
}

impl Opened {
    /// The second half: expressions and graph checked.
    pub(in crate::document) fn finish(self, problems: &mut Problems) -> Option<WorkflowDocument> {
        self.check_expressions(problems);
        let source = problems.source.clone();
        if !self.whole {
            return None;
        }
        match Workflow::from_spec(self.spec) {
            Ok(workflow) if problems.is_empty() => Some(WorkflowDocument { source, root: self.root, workflow }),
            Ok(_) => None,
            Err(invalid) => {
                // An expression that is never closed has been reported where it stands.
                let own = invalid.problems.iter().filter(|problem| !problem.message.ends_with("never closes"));
                for problem in own {
                    if problems.is_full() {
                        break;
                    }
                    problems.push(place::problem(problem, &self.root, &source));
                }
                None
            }
        }
    }

    fn check_expressions(&self, problems: &mut Problems) {
        let (sandbox, inputs) = (Sandbox::operator(), self.spec.inputs.as_ref());
        let source = problems.source.clone();
        let nodes = match self.root.find(&["nodes"]).map(|nodes| &nodes.kind) {
            Some(Kind::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        let mut templates = Vec::new();
        for entry in nodes {
            let at = |keys: &[&str]| {
                let path = format!("nodes.{}.{}", entry.key, keys.join("."));
                entry.value.find(keys).map(|node| At { node, path })
            };
            if let Some(found) = at(&["if"]).and_then(|at| expressions::in_condition(&at, &source)) {
                expressions::check(&found, inputs, &sandbox, problems);
            }
            templates.extend(at(&["with"]).into_iter().chain(at(&["compensate", "with"])));
        }
        let outputs = self.root.find(&["outputs"]);
        templates.extend(outputs.map(|node| At { node, path: "outputs".to_owned() }));
        for at in templates {
            expressions::check_template(&at, inputs, &sandbox, problems);
        }
    }
}
