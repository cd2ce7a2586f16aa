//! A workflow that has been validated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::body::fill_captures;
use super::builder::WorkflowBuilder;
use super::expression::has_expression;
use super::graph::Adjacency;
use super::problem::InvalidWorkflow;
use super::spec::{NodeSpec, WorkflowSpec};
use super::validate::check;
use crate::hash::ContentHash;
use crate::id::{NodeIndex, NodeName, WorkflowName};

/// A validated workflow: immutable, and identified by the hash of its spec.
///
/// ```
/// use windflow_core::{Node, Workflow};
/// let workflow = Workflow::builder("release")
///     .node(Node::new("build", "make"))
///     .node(Node::new("ship", "upload").needs(["build"]))
///     .build()?;
/// assert_eq!(workflow.len(), 2);
/// # Ok::<(), windflow_core::InvalidWorkflow>(())
/// ```
#[derive(Debug)]
pub struct Workflow {
    spec: WorkflowSpec,
    hash: ContentHash,
    bytes: Arc<[u8]>,
    index: HashMap<NodeName, NodeIndex>,
    needs: Adjacency,
    dependents: Adjacency,
    order: Box<[NodeIndex]>,
    reads: BTreeMap<NodeIndex, Box<[NodeIndex]>>,
    output_reads: Box<[NodeIndex]>,
    templated: Box<[bool]>,
    /// The workflows that nodes hold, in the order of [`Body::workflows`](super::Body::workflows).
    bodies: BTreeMap<NodeIndex, Box<[Arc<Workflow>]>>,
}

impl PartialEq for Workflow {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Workflow {
    /// Starts building one in code.
    ///
    /// The name must be a valid [`WorkflowName`]; if not, [`WorkflowBuilder::build`] says so.
    pub fn builder(name: impl Into<String>) -> WorkflowBuilder {
        WorkflowBuilder::new(name)
    }

    /// Validates a spec.
    ///
    /// # Errors
    /// [`InvalidWorkflow`] with every problem.
    pub fn from_spec(mut spec: WorkflowSpec) -> Result<Arc<Self>, InvalidWorkflow> {
        fill_captures(&mut spec);
        let checked = check(&spec).map_err(|problems| InvalidWorkflow { name: spec.name.clone(), problems })?;
        let mut bodies = BTreeMap::new();
        for (place, node) in (0..).zip(&spec.nodes) {
            let Some(body) = node.body.as_deref() else { continue };
            let inner = body.workflows().map(|(_, spec)| Self::from_spec(spec.clone())).collect::<Result<_, _>>()?;
            bodies.insert(NodeIndex(place), inner);
        }
        // A spec holds only texts, numbers and maps with text keys: it can always be written.
        let bytes: Arc<[u8]> = serde_json::to_vec(&spec).unwrap_or_default().into();
        Ok(Arc::new(Self {
            hash: ContentHash::of(&bytes),
            templated: spec.nodes.iter().map(|node| has_expression(&node.with)).collect(),
            dependents: checked.needs.reversed(),
            bytes,
            spec,
            index: checked.index,
            needs: checked.needs,
            order: checked.order,
            reads: checked.reads,
            output_reads: checked.output_reads,
            bodies,
        }))
    }

    /// Reads a pinned workflow back.
    ///
    /// # Errors
    /// A sentence: the bytes are not a spec this build can read, or it is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Arc<Self>, String> {
        let spec: WorkflowSpec = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Self::from_spec(spec).map_err(|error| error.to_string())
    }

    /// The spec as it is pinned and hashed.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> &WorkflowName {
        &self.spec.name
    }

    /// What identifies it.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// The workflow as data.
    #[must_use]
    pub fn spec(&self) -> &WorkflowSpec {
        &self.spec
    }

    /// How many nodes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spec.nodes.len()
    }

    /// Whether it has no nodes: never true of a valid one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spec.nodes.is_empty()
    }

    /// The node at a place.
    #[must_use]
    pub fn node(&self, at: NodeIndex) -> &NodeSpec {
        &self.spec.nodes[at.index()]
    }

    /// The place of a node.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.index.get(name).copied()
    }

    /// All places, in the order the nodes were written.
    pub fn indices(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).map(NodeIndex)
    }

    /// An order in which every node comes after its needs.
    #[must_use]
    pub fn order(&self) -> &[NodeIndex] {
        &self.order
    }

    /// What a node needs.
    #[must_use]
    pub fn needs(&self, at: NodeIndex) -> &[NodeIndex] {
        self.needs.of(at)
    }

    /// Who needs a node.
    #[must_use]
    pub fn dependents(&self, at: NodeIndex) -> &[NodeIndex] {
        self.dependents.of(at)
    }

    /// Whose outputs a node's expressions read.
    #[must_use]
    pub fn reads(&self, at: NodeIndex) -> &[NodeIndex] {
        self.reads.get(&at).map_or(&[], |read| read)
    }

    /// Whose outputs the run's output reads.
    #[must_use]
    pub fn output_reads(&self) -> &[NodeIndex] {
        &self.output_reads
    }

    /// The workflows a node holds, in the order of [`Body::workflows`](super::Body::workflows).
    #[must_use]
    pub fn bodies(&self, at: NodeIndex) -> &[Arc<Self>] {
        self.bodies.get(&at).map_or(&[], |inner| inner)
    }

    /// The version of the [events](crate::run::Event) that a run of it writes.
    #[must_use]
    pub fn vocabulary(&self) -> u16 {
        if self.bodies.is_empty() { 1 } else { 2 }
    }

    /// Whether a node's input holds expressions.
    #[must_use]
    pub fn is_templated(&self, at: NodeIndex) -> bool {
        self.templated[at.index()]
    }

    /// The input of a run with defaults filled in.
    ///
    /// # Errors
    /// Every problem: the input's name and a sentence.
    pub fn resolve_input(&self, given: Value) -> Result<Value, Vec<(String, String)>> {
        super::inputs::resolve(self.spec.inputs.as_ref(), given)
    }
}
