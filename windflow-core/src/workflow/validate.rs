//! The rules a workflow must follow, all checked before any is reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::Value;

use super::body::{Body, MAX_CHILDREN, MAX_DEPTH, depth};
use super::expression::{references, template_references};
use super::graph::{Adjacency, order};
use super::problem::{HINTED, Problem, did_you_mean};
use super::spec::{Compensate, NodeSpec, WorkflowSpec};
use super::{InputSpec, Join, Retry};
use crate::id::{NodeIndex, NodeName};

/// The most nodes one workflow may have.
pub(super) const MAX_NODES: usize = 1_000_000;

/// What validation found out on the way and the plan keeps.
pub(super) struct Checked {
    pub(super) index: HashMap<NodeName, NodeIndex>,
    pub(super) needs: Adjacency,
    pub(super) order: Box<[NodeIndex]>,
    pub(super) reads: BTreeMap<NodeIndex, Box<[NodeIndex]>>,
    pub(super) output_reads: Box<[NodeIndex]>,
}

/// Checks every rule.
pub(super) fn check(spec: &WorkflowSpec) -> Result<Checked, Vec<Problem>> {
    let mut problems = Vec::new();
    if spec.version != WorkflowSpec::VERSION {
        let (theirs, ours) = (spec.version, WorkflowSpec::VERSION);
        problems.push(Problem::new("version", format_args!("is {theirs}; this build reads version {ours} only")));
    }
    if spec.nodes.is_empty() {
        problems.push(Problem::new("nodes", "must hold at least one node"));
    }
    if spec.nodes.len() > MAX_NODES {
        problems.push(Problem::new("nodes", format_args!("holds {} nodes, more than {MAX_NODES}", spec.nodes.len())));
        return Err(problems);
    }
    if !(1..=100_000).contains(&spec.max_parallel) {
        problems.push(Problem::new("max_parallel", "must be 1 to 100,000"));
    }
    if spec.deadline.is_some_and(|deadline| deadline.is_zero()) {
        problems.push(Problem::new("deadline", "must be longer than nothing"));
    }
    if depth(spec) > MAX_DEPTH {
        problems.push(Problem::new("nodes", format_args!("hold workflows within each other, deeper than {MAX_DEPTH}")));
        return Err(problems);
    }
    let index = names(spec, &mut problems);
    let needs = needs(spec, &index, &mut problems);
    for node in &spec.nodes {
        policies(node, &mut problems);
        if let Some(body) = &node.body {
            bodies(node, body, &mut problems);
        }
    }
    let order = order(&needs).unwrap_or_else(|cycles| {
        problems.extend(cycles.iter().map(|members| cycle(spec, &needs, members)));
        Box::default()
    });
    // Who is an ancestor of whom can only be asked of a graph without cycles.
    let (reads, output_reads) = if order.len() == spec.nodes.len() {
        reads(spec, &index, &needs, &order, &mut problems)
    } else {
        Default::default()
    };
    if problems.is_empty() {
        Ok(Checked { index, needs: Adjacency::new(&needs), order, reads, output_reads })
    } else {
        Err(problems)
    }
}

fn names(spec: &WorkflowSpec, problems: &mut Vec<Problem>) -> HashMap<NodeName, NodeIndex> {
    let mut index = HashMap::with_capacity(spec.nodes.len());
    for (place, node) in (0_u32..).zip(&spec.nodes) {
        if index.insert(node.name.clone(), NodeIndex(place)).is_some() {
            problems.push(Problem::new(format!("nodes.{}", node.name), "is there twice; a node's name must be unique"));
        }
    }
    index
}

fn needs(
    spec: &WorkflowSpec,
    index: &HashMap<NodeName, NodeIndex>,
    problems: &mut Vec<Problem>,
) -> Vec<Vec<NodeIndex>> {
    spec.nodes
        .iter()
        .map(|node| {
            let mut list = Vec::with_capacity(node.needs.len());
            let mut seen = BTreeSet::new();
            for need in &node.needs {
                let path = || format!("nodes.{}.needs", node.name);
                match index.get(need) {
                    None => {
                        let mut problem = Problem::new(path(), format_args!("there is no node '{need}'"));
                        if problems.len() < HINTED {
                            problem.hint = did_you_mean(need.as_str(), index.keys().map(NodeName::as_str));
                        }
                        problems.push(problem);
                    }
                    Some(found) if !seen.insert(*found) => {
                        problems.push(Problem::new(path(), format_args!("'{need}' is there twice")));
                    }
                    Some(found) => list.push(*found),
                }
            }
            list
        })
        .collect()
}

/// One way round a cycle, in words.
fn cycle(spec: &WorkflowSpec, needs: &[Vec<NodeIndex>], members: &[NodeIndex]) -> Problem {
    let inside: BTreeSet<NodeIndex> = members.iter().copied().collect();
    let start = members[0];
    let mut way = vec![start];
    let mut seen = BTreeSet::from([start]);
    while let Some(next) = way.last().and_then(|at| needs[at.index()].iter().find(|need| inside.contains(need))) {
        way.push(*next);
        if !seen.insert(*next) {
            break;
        }
    }
    // The walk may enter the loop later than at its start: tell only the loop.
    let last = way[way.len() - 1];
    let from = way.iter().position(|at| *at == last).unwrap_or(0);
    let name = |at: &NodeIndex| spec.nodes[at.index()].name.as_str();
    let mut names: Vec<&str> = way[from..].iter().take(12).map(name).collect();
    if way.len() - from > 12 {
        names.push("…");
    }
    Problem::new(format!("nodes.{}.needs", name(&last)), format_args!("needs itself: {}", names.join(" needs ")))
        .with_hint("a workflow runs forwards only; remove one of these needs")
}

fn policies(node: &NodeSpec, problems: &mut Vec<Problem>) {
    let mut bad = |field: &str, message: &str| {
        problems.push(Problem::new(format!("nodes.{}.{field}", node.name), message));
    };
    if node.timeout.is_some_and(|timeout| timeout.is_zero()) {
        bad("timeout", "must be longer than nothing");
    }
    if node.deadline.is_some_and(|deadline| deadline.is_zero()) {
        bad("deadline", "must be longer than nothing");
    }
    if node.join == Join::Any && node.needs.is_empty() {
        bad("join", "'any' waits for the first of several needs, and there are none");
    }
    let retries = |retry: &Retry, field: &str, bad: &mut dyn FnMut(&str, &str)| {
        if !(1..=1_000).contains(&retry.max_attempts) {
            bad(&format!("{field}.max_attempts"), "must be 1 to 1,000");
        }
        if !(1.0..=100.0).contains(&retry.factor) {
            bad(&format!("{field}.factor"), "must be 1 to 100");
        }
        if retry.cap > Duration::from_secs(30 * 24 * 3600) {
            bad(&format!("{field}.cap"), "must be at most 30 days");
        }
        if retry.on.contains(&crate::outcome::ErrorClass::Terminal) {
            bad(&format!("{field}.on"), "a terminal error is one that trying again cannot help");
        }
    };
    if let Some(retry) = &node.retry {
        retries(retry, "retry", &mut bad);
    }
    if let Some(Compensate::Own { retry } | Compensate::Action { retry: Some(retry), .. }) = node.compensate.as_deref()
    {
        retries(retry, "compensate.retry", &mut bad);
    }
}

/// What a node may say that holds a workflow, and that workflow.
fn bodies(node: &NodeSpec, body: &Body, problems: &mut Vec<Problem>) {
    let mut bad = |field: &str, message: String| {
        problems.push(Problem::new(format!("nodes.{}.{field}", node.name), message));
    };
    if node.uses != body.name() {
        bad("uses", format!("must be '{}', because the node holds a workflow", body.name()));
    }
    if node.timeout.is_some() {
        bad("timeout", "bounds one attempt of an action; give a node that holds a workflow a 'deadline'".to_owned());
    }
    match body {
        Body::ForEach { max_parallel, .. } if !(1..=MAX_CHILDREN).contains(max_parallel) => {
            bad("max_parallel", format!("must be 1 to {MAX_CHILDREN}"));
        }
        Body::Repeat { max_rounds, every, .. } => {
            if !(1..=MAX_CHILDREN).contains(max_rounds) {
                bad("max_rounds", format!("must be 1 to {MAX_CHILDREN}"));
            }
            if *every > Duration::from_secs(366 * 24 * 3600) {
                bad("every", "must be at most a year".to_owned());
            }
        }
        _ => {}
    }
    if let Body::Call { workflow } = body
        && let Some(inputs) = &workflow.inputs
    {
        inputs_of_call(node, inputs, problems);
    }
    for (place, inner) in body.workflows() {
        let Err(found) = check(inner) else { continue };
        problems.extend(
            found
                .into_iter()
                .map(|problem| Problem { path: format!("nodes.{}.{place}.{}", node.name, problem.path), ..problem }),
        );
    }
}

/// What a node gives to the workflow it calls, as far as that is known before it runs.
fn inputs_of_call(node: &NodeSpec, inputs: &BTreeMap<String, InputSpec>, problems: &mut Vec<Problem>) {
    let path = || format!("nodes.{}.with", node.name);
    let none = serde_json::Map::new();
    let given = match &node.with {
        Value::Object(given) => given,
        Value::Null => &none,
        // It comes to a map, or it does not: that is told then.
        Value::String(text) if text.contains("${{") => return,
        _ => return problems.push(Problem::new(path(), "must be a map of the inputs of the workflow it calls")),
    };
    for name in given.keys().filter(|name| !inputs.contains_key(*name)) {
        let mut problem = Problem::new(path(), format_args!("the workflow it calls has no input '{name}'"));
        problem.hint = did_you_mean(name, inputs.keys().map(String::as_str));
        problems.push(problem);
    }
    for (name, _) in inputs.iter().filter(|(name, input)| input.default.is_none() && !given.contains_key(*name)) {
        problems.push(Problem::new(path(), format_args!("the workflow it calls must be given '{name}'")));
    }
}

type Reads = (BTreeMap<NodeIndex, Box<[NodeIndex]>>, Box<[NodeIndex]>);

/// Which outputs each node's expressions read; each must be an ancestor's.
fn reads(
    spec: &WorkflowSpec,
    index: &HashMap<NodeName, NodeIndex>,
    needs: &[Vec<NodeIndex>],
    order: &[NodeIndex],
    problems: &mut Vec<Problem>,
) -> Reads {
    // How far a node is from the start: an ancestor is always nearer, which bounds the search for one.
    let mut depth = vec![0_u32; needs.len()];
    for node in order {
        depth[node.index()] = needs[node.index()].iter().map(|need| depth[need.index()] + 1).max().unwrap_or(0);
    }
    let mut all = BTreeMap::new();
    for (place, node) in (0_u32..).zip(&spec.nodes) {
        let mut read = BTreeSet::new();
        let mut find = |field: &str, names: BTreeSet<String>, own: bool| {
            for name in names {
                // It stands around this block, and there it is checked.
                if !index.contains_key(name.as_str()) && is_captured(spec, &name) {
                    continue;
                }
                let path = format!("nodes.{}.{field}", node.name);
                let Some(found) = index.get(name.as_str()).copied() else {
                    let mut problem =
                        Problem::new(path, format_args!("reads 'nodes.{name}', and there is no such node"));
                    if problems.len() < HINTED {
                        problem.hint = did_you_mean(&name, index.keys().map(NodeName::as_str));
                    }
                    problems.push(problem);
                    continue;
                };
                if own && found == NodeIndex(place) || is_ancestor(found, NodeIndex(place), needs, &depth) {
                    read.insert(found);
                } else {
                    let message = format!("reads the output of '{name}', which is not finished before '{}'", node.name);
                    problems.push(Problem::new(path, message).with_hint(format!("add '{name}' to its needs")));
                }
            }
        };
        let mut unclosed = Vec::new();
        let mut with = BTreeSet::new();
        if let Err(text) = template_references(&node.with, &mut with) {
            unclosed.push(("with", text));
        }
        find("with", with, false);
        if let Some(when) = &node.when {
            find("if", references(when).into_iter().map(str::to_owned).collect(), false);
        }
        if let Some(Compensate::Action { with, .. }) = node.compensate.as_deref() {
            let mut names = BTreeSet::new();
            if let Err(text) = template_references(with, &mut names) {
                unclosed.push(("compensate.with", text));
            }
            find("compensate.with", names, true);
        }
        if let Some(body) = node.body.as_deref() {
            if let Body::Repeat { until, .. } = body {
                find("until", references(until).into_iter().map(str::to_owned).collect(), false);
            }
            for (place, inner) in body.workflows() {
                find(&place, inner.captures.iter().flatten().map(NodeName::to_string).collect(), false);
            }
        }
        for (field, text) in unclosed {
            problems.push(unclosed_problem(format!("nodes.{}.{field}", node.name), &text));
        }
        if !read.is_empty() {
            all.insert(NodeIndex(place), read.into_iter().collect());
        }
    }
    let mut names = BTreeSet::new();
    if let Some(Err(text)) = spec.outputs.as_ref().map(|outputs| template_references(outputs, &mut names)) {
        problems.push(unclosed_problem("outputs".to_owned(), &text));
    }
    let mut output_reads = Vec::new();
    for name in names {
        match index.get(name.as_str()) {
            Some(found) => output_reads.push(*found),
            None if is_captured(spec, &name) => {}
            None => {
                problems.push(Problem::new("outputs", format_args!("reads 'nodes.{name}', and there is no such node")))
            }
        }
    }
    (all, output_reads.into())
}

/// Whether a node stands around the workflow, which is a block that reads it.
fn is_captured(spec: &WorkflowSpec, name: &str) -> bool {
    spec.captures.as_ref().is_some_and(|captures| captures.contains(name))
}

fn unclosed_problem(path: String, text: &str) -> Problem {
    Problem::new(path, format_args!("'{text}' opens an expression that '}}}}' never closes"))
}

fn is_ancestor(of: NodeIndex, node: NodeIndex, needs: &[Vec<NodeIndex>], depth: &[u32]) -> bool {
    if needs[node.index()].contains(&of) {
        return true;
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![node];
    while let Some(at) = open.pop() {
        for need in &needs[at.index()] {
            if *need == of {
                return true;
            }
            if depth[need.index()] > depth[of.index()] && seen.insert(*need) {
                open.push(*need);
            }
        }
    }
    false
}
