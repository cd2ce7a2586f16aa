//! A workflow for programs that draw.

use std::fmt::Write as _;

use windflow_core::Workflow;

/// A Mermaid flow chart. Names are of letters, digits, `_` and `-`, so that nothing needs quoting beyond quotes.
pub fn mermaid(workflow: &Workflow) -> String {
    let mut out = "flowchart TD\n".to_owned();
    for at in workflow.indices() {
        let node = workflow.node(at);
        let _ = writeln!(out, "    n{}[\"{}<br/><small>{}</small>\"]", at.index(), node.name, node.uses);
    }
    for at in workflow.indices() {
        for need in workflow.needs(at) {
            let arrow = if workflow.node(at).when.is_some() { "-.->" } else { "-->" };
            let _ = writeln!(out, "    n{} {arrow} n{}", need.index(), at.index());
        }
    }
    out
}

/// A Graphviz graph.
pub fn dot(workflow: &Workflow) -> String {
    let mut out = format!("digraph \"{}\" {{\n    node [shape=box, style=rounded];\n", workflow.name());
    for at in workflow.indices() {
        let node = workflow.node(at);
        let _ = writeln!(out, "    \"{}\" [label=\"{}\\n{}\"];", node.name, node.name, node.uses);
    }
    for at in workflow.indices() {
        let node = workflow.node(at);
        let style = if node.when.is_some() { " [style=dashed]" } else { "" };
        for need in workflow.needs(at) {
            let _ = writeln!(out, "    \"{}\" -> \"{}\"{style};", workflow.node(*need).name, node.name);
        }
    }
    out.push_str("}\n");
    out
}
