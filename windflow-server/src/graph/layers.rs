//! A workflow in layers: each node one layer below the lowest of its needs.

use windflow_core::{NodeIndex, Workflow};

/// The nodes of each layer, from the top. Within a layer they stand near what they need.
pub fn layers(workflow: &Workflow) -> Vec<Vec<NodeIndex>> {
    let mut depth = vec![0_usize; workflow.len()];
    for at in workflow.order() {
        let below = workflow.needs(*at).iter().map(|need| depth[need.index()] + 1).max();
        depth[at.index()] = below.unwrap_or(0);
    }
    let mut layers: Vec<Vec<NodeIndex>> = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
    for at in workflow.indices() {
        layers[depth[at.index()]].push(at);
    }
    // One sweep by the mean place of the needs takes most crossings out.
    let mut place = vec![0_usize; workflow.len()];
    for layer in &mut layers {
        layer.sort_by_key(|at| {
            let needs = workflow.needs(*at);
            let sum: usize = needs.iter().map(|need| place[need.index()]).sum();
            // In thousandths, so that a mean between two places is told from either.
            (sum * 1_000).checked_div(needs.len()).unwrap_or(at.index() * 1_000)
        });
        for (index, at) in layer.iter().enumerate() {
            place[at.index()] = index;
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use windflow_core::Node;

    use super::*;

    #[test]
    fn a_node_stands_below_all_it_needs() {
        let workflow = Workflow::builder("w")
            .node(Node::new("a", "x"))
            .node(Node::new("b", "x").needs(["a"]))
            .node(Node::new("c", "x").needs(["a", "b"]))
            .node(Node::new("d", "x"))
            .build()
            .unwrap();
        let names: Vec<Vec<&str>> = layers(&workflow)
            .iter()
            .map(|layer| layer.iter().map(|at| workflow.node(*at).name.as_str()).collect())
            .collect();
        assert_eq!(names, [vec!["a", "d"], vec!["b"], vec!["c"]]);
    }
}
