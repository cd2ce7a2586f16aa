//! Order, cycles and neighbours: the only file that names petgraph.

use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex as Vertex};

use crate::id::NodeIndex;

/// Neighbour lists in two flat arrays: four bytes an edge, four bytes a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adjacency {
    offsets: Box<[u32]>,
    targets: Box<[NodeIndex]>,
}

impl Adjacency {
    /// From one list of neighbours per node.
    pub(super) fn new(lists: &[Vec<NodeIndex>]) -> Self {
        let mut offsets = Vec::with_capacity(lists.len() + 1);
        let mut targets = Vec::with_capacity(lists.iter().map(Vec::len).sum());
        offsets.push(0);
        for list in lists {
            targets.extend_from_slice(list);
            offsets.push(u32::try_from(targets.len()).unwrap_or(u32::MAX));
        }
        Self { offsets: offsets.into(), targets: targets.into() }
    }

    /// The same edges, turned round.
    pub(super) fn reversed(&self) -> Self {
        let count = self.offsets.len() - 1;
        let mut offsets = vec![0_u32; count + 1];
        for target in &self.targets {
            offsets[target.index() + 1] += 1;
        }
        for i in 0..count {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut targets = vec![NodeIndex(0); self.targets.len()];
        for (from, window) in (0_u32..).zip(self.offsets.windows(2)) {
            for target in &self.targets[window[0] as usize..window[1] as usize] {
                targets[next[target.index()] as usize] = NodeIndex(from);
                next[target.index()] += 1;
            }
        }
        Self { offsets: offsets.into(), targets: targets.into() }
    }

    /// The neighbours of one node.
    pub(super) fn of(&self, node: NodeIndex) -> &[NodeIndex] {
        &self.targets[self.offsets[node.index()] as usize..self.offsets[node.index() + 1] as usize]
    }
}

/// An order in which every node comes after its needs, or every cycle: the members of each, in index order.
pub(super) fn order(needs: &[Vec<NodeIndex>]) -> Result<Box<[NodeIndex]>, Vec<Vec<NodeIndex>>> {
    let edges: usize = needs.iter().map(Vec::len).sum();
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(needs.len(), edges);
    for _ in needs {
        graph.add_node(());
    }
    for (node, list) in needs.iter().enumerate() {
        for need in list {
            graph.add_edge(Vertex::new(need.index()), Vertex::new(node), ());
        }
    }
    let index = |vertex: Vertex| NodeIndex(u32::try_from(vertex.index()).unwrap_or(u32::MAX));
    if let Ok(order) = toposort(&graph, None) {
        return Ok(order.into_iter().map(index).collect());
    }
    // Kosaraju's algorithm, because petgraph's Tarjan recurses and a long chain would overflow the stack.
    let is_cycle = |members: &Vec<Vertex>| members.len() > 1 || graph.contains_edge(members[0], members[0]);
    let mut cycles: Vec<Vec<NodeIndex>> = kosaraju_scc(&graph)
        .into_iter()
        .filter(is_cycle)
        .map(|members| {
            let mut members: Vec<NodeIndex> = members.into_iter().map(index).collect();
            members.sort_unstable();
            members
        })
        .collect();
    cycles.sort_unstable();
    Err(cycles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(edges: &[&[u32]]) -> Vec<Vec<NodeIndex>> {
        edges.iter().map(|list| list.iter().map(|i| NodeIndex(*i)).collect()).collect()
    }

    #[test]
    fn needs_come_first_and_neighbours_turn_round() {
        let needs = lists(&[&[2], &[0, 2], &[], &[1]]);
        assert_eq!(*order(&needs).unwrap(), [NodeIndex(2), NodeIndex(0), NodeIndex(1), NodeIndex(3)]);
        let dependents = Adjacency::new(&needs).reversed();
        assert_eq!(dependents.of(NodeIndex(2)), [NodeIndex(0), NodeIndex(1)]);
        assert_eq!(dependents.of(NodeIndex(3)), []);
    }

    #[test]
    fn every_cycle_is_found_and_a_deep_chain_does_not_overflow_the_stack() {
        let cycles = order(&lists(&[&[1], &[0], &[2], &[]])).unwrap_err();
        assert_eq!(cycles.len(), 2);
        let chain: Vec<Vec<NodeIndex>> =
            (0..200_000_u32).map(|i| if i == 0 { vec![] } else { vec![NodeIndex(i - 1)] }).collect();
        assert_eq!(order(&chain).unwrap().len(), 200_000);
    }
}
