//! A workflow file turned into the engine's own form.

use windflow_core::workflow::{NodeSpec, OnFailure, WorkflowSpec};
use windflow_core::{ActionName, NodeName, WorkflowName};

use super::inputs::inputs;
use super::node::node;
use crate::document::decode::At;
use crate::document::diagnostic::Problems;
use crate::document::keys;
use crate::document::source::Span;
use crate::document::tree::Node;

pub(super) const ON_FAILURE: [(&str, OnFailure); 2] =
    [("compensate", OnFailure::Compensate), ("stop", OnFailure::Stop)];

/// The workflow a file describes, and the nodes that are not in it because their names are none. `None` when there is
/// nothing to go on with.
pub(super) fn lower(root: &Node, problems: &mut Problems) -> Option<(WorkflowSpec, Vec<String>)> {
    let at = At::root(root);
    let fields = at.fields(problems, "a workflow", keys::WORKFLOW, keys::WORKFLOW_LATER)?;
    let name = fields
        .need(problems, "name", "give the workflow a name, such as 'name: release'")
        .and_then(|at| at.name(problems, WorkflowName::new));
    let mut spec = WorkflowSpec::new(name.or_else(|| WorkflowName::new("_").ok())?);
    if let Some(at) = fields.get("description") {
        at.text(problems);
    }
    // A file that names no inputs takes none: a mistyped `--input` is then told, and not ignored.
    spec.inputs = Some(fields.get("inputs").map(|at| inputs(at, problems)).unwrap_or_default());
    if let Some(on_failure) = fields.get("on_failure").and_then(|at| at.choice(problems, &ON_FAILURE)) {
        spec.on_failure = on_failure;
    }
    if let Some(most) = fields.get("max_parallel").and_then(|at| at.whole(problems, 1, 100_000)) {
        spec.max_parallel = u32::try_from(most).unwrap_or(WorkflowSpec::DEFAULT_PARALLEL);
    }
    spec.deadline = fields.get("deadline").and_then(|at| at.duration(problems));
    if let Some(at) = fields.get("outputs").filter(|at| !at.is_null()) {
        spec.outputs = at.entries(problems).map(|_| at.node.to_value());
    }
    let mut nameless = Vec::new();
    let nodes = fields.need(problems, "nodes", "a map of named nodes, each with 'uses'");
    let Some(at) = nodes else { return Some((spec, nameless)) };
    spec.nodes = members(at, fields.key_span("nodes"), &mut nameless, problems);
    Some((spec, nameless))
}

/// The nodes of a map of them.
pub(super) fn members(
    at: &At<'_>,
    key: Option<Span>,
    nameless: &mut Vec<String>,
    problems: &mut Problems,
) -> Vec<NodeSpec> {
    let (mut nodes, mut named) = (Vec::new(), true);
    let Some(entries) = at.entries(problems) else { return nodes };
    for (entry, at) in entries {
        match NodeName::new(&entry.key) {
            // A node that is nothing at all stays known by its name, so that what needs it is not wrong as well.
            Ok(name) => nodes.extend(node(name.clone(), &at, problems).or_else(|| nothing(name))),
            Err(error) => {
                problems.error(entry.key_span, &at.path, error);
                nameless.push(entry.key.to_string());
                named = false;
            }
        }
    }
    if let (true, true, Some(span)) = (nodes.is_empty(), named, key) {
        problems.error(span, &at.path, "must hold at least one node");
    }
    nodes
}

fn nothing(name: NodeName) -> Option<NodeSpec> {
    Some(NodeSpec::new(name, ActionName::new("_").ok()?))
}
