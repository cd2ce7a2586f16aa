//! What runs for one run now, by node.

use crate::id::NodeIndex;
use crate::run::Command;

/// One place for each node, because a map would make and drop a piece of itself for every step of a chain; and one for
/// the evaluation of the run's outputs.
#[derive(Debug)]
pub(super) struct Open {
    nodes: Vec<Option<Command>>,
    outputs: bool,
    count: usize,
    /// How many of them are questions about a node.
    questions: usize,
}

impl Open {
    pub(super) fn of(nodes: usize) -> Self {
        Self { nodes: vec![None; nodes], outputs: false, count: 0, questions: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What runs for a node.
    pub(super) fn at(&self, node: NodeIndex) -> Option<Command> {
        self.nodes.get(node.index()).copied().flatten()
    }

    /// Whether the outputs are being evaluated.
    pub(super) fn outputs(&self) -> bool {
        self.outputs
    }

    /// Whether a question is open about a node.
    pub(super) fn is_asking(&self) -> bool {
        self.questions > 0
    }

    /// Notes that a command is being carried out. Its node must be free.
    pub(super) fn insert(&mut self, command: Command) {
        self.questions += usize::from(command.is_question() && command.node().is_some());
        match command.node() {
            Some(node) => self.nodes[node.index()] = Some(command),
            None => self.outputs = true,
        }
        self.count += 1;
    }

    /// Notes the end of what ran. Says whether that was open: what was dropped may still speak.
    pub(super) fn remove(&mut self, command: Command) -> bool {
        let was_open = match command.node() {
            None => std::mem::take(&mut self.outputs),
            Some(node) => {
                let place = self.nodes.get_mut(node.index());
                place.and_then(|place| place.take_if(|open| *open == command)).is_some()
            }
        };
        self.count -= usize::from(was_open);
        self.questions -= usize::from(was_open && command.is_question() && command.node().is_some());
        was_open
    }

    /// All commands that are being carried out for nodes.
    pub(super) fn commands(&self) -> impl Iterator<Item = Command> {
        self.nodes.iter().copied().flatten()
    }

    /// Forgets the questions, and names the nodes they were about.
    pub(super) fn drop_questions(&mut self) -> Vec<NodeIndex> {
        let mut about = Vec::new();
        for place in &mut self.nodes {
            about.extend(place.take_if(|open| open.is_question()).and_then(|question| question.node()));
        }
        self.count -= about.len() + usize::from(std::mem::take(&mut self.outputs));
        self.questions = 0;
        about
    }
}
