//! Nodes that hold a workflow: `for_each`, `repeat`, `switch`, `call`, or `nodes` of their own.
//!
//! What is repeated is either a block, a map of `nodes` with `outputs`, or the one action the node itself names: that stands
//! for a block of one node of the same name.

use std::time::Duration;

use windflow_core::workflow::{Body, Case, Compensate, MAX_CHILDREN, NodeSpec, OnItemFailure, Retry, WorkflowSpec};
use windflow_core::{ActionName, NodeName, WorkflowName};

use super::lower::{ON_FAILURE, members};
use super::node::{acting, compensate, condition, retry};
use crate::document::decode::{At, Fields};
use crate::document::diagnostic::Problems;
use crate::document::keys;
use crate::document::tree::{Kind, Node};

pub(super) const ON_ITEM_FAILURE: [(&str, OnItemFailure); 2] =
    [("stop", OnItemFailure::Stop), ("collect", OnItemFailure::Collect)];

/// How many items are worked on at the same time unless said otherwise.
const PARALLEL: u32 = 10;

/// Keys that say something only of a node that holds a workflow.
pub(super) const OF_BLOCKS: &[&str] = &["max_parallel", "on_item_failure", "outputs", "on_failure", "cases", "default"];
/// Keys that say something only of an action.
const OF_ACTIONS: &[&str] = &["uses", "with", "timeout", "on_unknown"];

/// Whether a node holds a workflow.
pub(in crate::document) fn holds(node: &Node) -> bool {
    ["for_each", "repeat", "nodes", "switch"].iter().any(|key| node.get(key).is_some())
}

/// Where the nodes of each workflow stand that a node holds, in the engine's order: in itself, in its cases, or, of the one
/// node that it stands for, where it stands. Nowhere when they are in another file.
pub(in crate::document) fn blocks<'n>(node: &At<'n>, of: &At<'n>) -> Vec<At<'n>> {
    let inside = |keys: &[&str]| {
        let found = node.node.find(keys)?;
        Some(At { node: found, path: format!("{}.{}", node.path, keys.join(".")) })
    };
    if node.node.get("switch").is_some() {
        let cases = node.node.find(&["cases"]).map(|cases| cases.entries()).unwrap_or_default();
        let cases = cases.iter().filter_map(|case| inside(&["cases", &case.key]));
        return cases.chain(inside(&["default"])).collect();
    }
    vec![if node.node.get("nodes").is_some() { node.clone() } else { of.clone() }]
}

/// A node of a file, and whether what it does is done for an item, or in rounds: then it may read `item` and `key`.
#[derive(Debug)]
pub(in crate::document) struct Member<'n> {
    pub(in crate::document) at: At<'n>,
    /// Whether what stands around it is done so.
    pub(in crate::document) within: bool,
    /// Whether itself is.
    pub(in crate::document) itself: bool,
}

/// Every node of a file, those within others after what they are in.
pub(in crate::document) fn every<'n>(root: &'n Node) -> Vec<Member<'n>> {
    let mut all = Vec::new();
    collect(&At::root(root), false, &mut all);
    all
}

fn collect<'n>(of: &At<'n>, within: bool, all: &mut Vec<Member<'n>>) {
    let Some(Kind::Map(entries)) = of.node.get("nodes").map(|entry| &entry.value.kind) else { return };
    let prefix = if of.path.is_empty() { String::new() } else { format!("{}.", of.path) };
    for entry in entries {
        let at = At { node: &entry.value, path: format!("{prefix}nodes.{}", entry.key) };
        let itself = within || ["for_each", "repeat"].iter().any(|key| at.node.get(key).is_some());
        all.push(Member { at: at.clone(), within, itself });
        collect(&at, itself, all);
        if at.node.get("switch").is_some() {
            for case in blocks(&at, of) {
                // For what it hands on; it says nothing else that a node says.
                all.push(Member { at: case.clone(), within: itself, itself });
                collect(&case, itself, all);
            }
        }
    }
}

/// The place in the file of the engine's words for it: what is within stands in the node itself there.
pub(in crate::document) fn written(path: &str, root: &Node) -> String {
    let parts: Vec<&str> = path.split('.').collect();
    let (mut out, mut at): (Vec<&str>, Option<&Node>) = (Vec::new(), Some(root));
    // Whether the node stands for the one within it.
    let (mut rest, mut inlined) = (parts.as_slice(), false);
    while let [part, after @ ..] = rest {
        let has = |key| at.is_some_and(|node| node.get(key).is_some());
        rest = after;
        match *part {
            "block" if !has("nodes") && matches!(after, ["nodes", _, ..]) => {
                (rest, inlined) = (&after[2..], true);
                continue;
            }
            "block" => continue,
            "with" if has("for_each") && !inlined => out.push("for_each"),
            "with" if has("switch") => out.push("switch"),
            "workflow" if has("call") => out.push("call"),
            "otherwise" if has("switch") => {
                out.push("default");
                at = at.and_then(|node| node.get("default")).map(|entry| &entry.value);
            }
            _ if has("switch") && part.starts_with("cases[") => {
                let nth = part.trim_start_matches("cases[").trim_end_matches(']').parse::<usize>().ok();
                let cases = at.and_then(|node| node.find(&["cases"])).map(|cases| cases.entries()).unwrap_or_default();
                let case = nth.and_then(|nth| cases.get(nth));
                out.extend(["cases"].into_iter().chain(case.map(|case| &*case.key)));
                at = case.map(|case| &case.value);
            }
            "until" | "every" if has("repeat") => out.extend(["repeat", part]),
            "max_rounds" if has("repeat") => out.extend(["repeat", "max"]),
            _ => {
                out.push(part);
                at = at.and_then(|node| node.get(part)).map(|entry| &entry.value);
                inlined &= *part != "nodes";
            }
        }
    }
    out.join(".")
}

/// Says of each of these keys that it says nothing here.
pub(super) fn refuse(fields: &Fields<'_>, which: &[&str], of: &str, problems: &mut Problems) {
    for key in which {
        if let (Some(at), Some(span)) = (fields.get(key), fields.key_span(key)) {
            problems.error(span, &at.path, format_args!("says nothing of {of}"));
        }
    }
}

/// A node that holds a workflow, without what it waits for.
pub(super) fn holding(name: NodeName, fields: &Fields<'_>, problems: &mut Problems) -> Option<NodeSpec> {
    let is_block = fields.get("nodes").is_some();
    if let (Some(at), Some(_), Some(span)) = (fields.get("repeat"), fields.get("for_each"), fields.key_span("repeat")) {
        let hint = "put the 'repeat' into a node of its own, in 'nodes'".to_owned();
        problems.hinted(span, &at.path, "cannot stand beside 'for_each'", Some(hint));
        return None;
    }
    if fields.get("switch").is_some() {
        return switch(name, fields, problems);
    }
    refuse(fields, &["cases", "default"], "a node without 'switch'", problems);
    let mut outer = (None, None);
    let mut block;
    if is_block {
        refuse(fields, OF_ACTIONS, "a node that holds others; give it to those", problems);
        refuse(fields, &["call"], "a node that holds others", problems);
        block = read(&name, fields, problems)?;
        outer = undoing(fields, problems);
    } else {
        block = WorkflowSpec::new(WorkflowName::new(name.as_str()).ok()?);
        refuse(fields, &["outputs", "on_failure"], "a node without 'nodes'", problems);
        block.nodes.push(acting(name.clone(), fields, problems)?);
        // Written out, so that a name such as `a-b` is no calculation.
        block.outputs = Some(format!("${{{{ nodes[\"{name}\"].output }}}}").into());
    }
    let parallel = fields.get("max_parallel");
    let parallel = parallel.and_then(|at| at.whole(problems, 1, MAX_CHILDREN.into()));
    let parallel = parallel.and_then(|most| u32::try_from(most).ok());
    let mut with = None;
    let body = if let Some(at) = fields.get("for_each") {
        with = Some(at.node.to_value());
        let on_item_failure = fields.get("on_item_failure").and_then(|at| at.choice(problems, &ON_ITEM_FAILURE));
        Body::ForEach {
            block: Box::new(block),
            max_parallel: parallel.unwrap_or(PARALLEL),
            on_item_failure: on_item_failure.unwrap_or_default(),
        }
    } else {
        refuse(fields, &["on_item_failure"], "a node without 'for_each'", problems);
        if let Some(most) = parallel {
            block.max_parallel = most;
        }
        match fields.get("repeat") {
            Some(at) => repeat(at, block, problems)?,
            None => Body::Scope { block: Box::new(block) },
        }
    };
    let mut spec = NodeSpec::with_body(name, body);
    spec.with = with.unwrap_or_default();
    (spec.retry, spec.compensate) = outer;
    Some(spec)
}

/// A block: `nodes`, and what they come to.
fn read(name: &NodeName, fields: &Fields<'_>, problems: &mut Problems) -> Option<WorkflowSpec> {
    let mut block = WorkflowSpec::new(WorkflowName::new(name.as_str()).ok()?);
    // Those without a name are told; nothing can be read of them.
    let nodes = fields.need(problems, "nodes", "a map of named nodes, each with 'uses'")?;
    block.nodes = members(nodes, fields.key_span("nodes"), &mut Vec::new(), problems);
    if let Some(at) = fields.get("outputs").filter(|at| !at.is_null()) {
        block.outputs = Some(at.node.to_value());
    }
    if let Some(on_failure) = fields.get("on_failure").and_then(|at| at.choice(problems, &ON_FAILURE)) {
        block.on_failure = on_failure;
    }
    Some(block)
}

/// How a node that holds a workflow is tried again as a whole, and undone.
pub(super) fn undoing(fields: &Fields<'_>, problems: &mut Problems) -> (Option<Box<Retry>>, Option<Box<Compensate>>) {
    let again = fields.get("retry").and_then(|at| retry(at, problems)).map(Box::new);
    let undo = fields.get("compensate").and_then(|at| match compensate(at, problems)? {
        Compensate::Own { .. } => at.expected(problems, "'nothing' or an action: each run undoes itself"),
        other => Some(Box::new(other)),
    });
    (again, undo)
}

/// `switch: VALUE`, with `cases: { NAME: { nodes: … } }` and `default: { nodes: … }`.
fn switch(name: NodeName, fields: &Fields<'_>, problems: &mut Problems) -> Option<NodeSpec> {
    refuse(fields, OF_ACTIONS, "a node with 'switch'; give it to the nodes of its cases", problems);
    refuse(
        fields,
        &["max_parallel", "on_item_failure", "outputs", "on_failure"],
        "a node with 'switch'; give it to its cases",
        problems,
    );
    refuse(fields, &["for_each", "repeat", "nodes", "call"], "a node with 'switch'", problems);
    let block = |at: &At<'_>, problems: &mut Problems| {
        let fields = at.fields(problems, "a case", keys::CASE, &[])?;
        read(&name, &fields, problems)
    };
    let mut cases = Vec::new();
    let written = fields.need(problems, "cases", "a map from what the value may be to the 'nodes' for it");
    for (entry, at) in written.and_then(|at| at.entries(problems)).unwrap_or_default() {
        let block = block(&at, problems)?;
        cases.push(Case { is: entry.key.to_string().into(), block });
    }
    let otherwise = fields.get("default").and_then(|at| block(at, problems)).map(Box::new);
    let with = fields.get("switch")?.node.to_value();
    let mut spec = NodeSpec::with_body(name, Body::Switch { cases, otherwise });
    spec.with = with;
    (spec.retry, spec.compensate) = undoing(fields, problems);
    Some(spec)
}

/// A node that calls the workflow of another file. What stands in for that is put in its place when the file is read.
pub(super) fn calling(name: NodeName, fields: &Fields<'_>, problems: &mut Problems) -> Option<NodeSpec> {
    fields.get("call")?.text(problems)?;
    refuse(fields, &["uses", "timeout", "on_unknown"], "a node that calls a workflow", problems);
    let mut workflow = WorkflowSpec::new(WorkflowName::new("_").ok()?);
    workflow.nodes.push(NodeSpec::new(NodeName::new("_").ok()?, ActionName::new("_").ok()?));
    let mut spec = NodeSpec::with_body(name, Body::Call { workflow: Box::new(workflow) });
    if let Some(at) = fields.get("with") {
        spec.with = at.node.to_value();
    }
    (spec.retry, spec.compensate) = undoing(fields, problems);
    Some(spec)
}

/// `repeat: { until: EXPRESSION, max: 20, every: 5s }`.
fn repeat(at: &At<'_>, block: WorkflowSpec, problems: &mut Problems) -> Option<Body> {
    let fields = at.fields(problems, "repeat", keys::REPEAT, &[])?;
    let until = fields.need(problems, "until", "an expression that is true when it is enough, such as 'item.ready'");
    let until = until.and_then(|at| condition(at, problems));
    let max = fields.need(problems, "max", "how many rounds there are at most");
    let max = max.and_then(|at| at.whole(problems, 1, MAX_CHILDREN.into())).and_then(|max| u32::try_from(max).ok());
    let every = fields.get("every").and_then(|at| at.duration(problems)).unwrap_or(Duration::ZERO);
    Some(Body::Repeat { block: Box::new(block), until: until?, max_rounds: max?, every })
}
