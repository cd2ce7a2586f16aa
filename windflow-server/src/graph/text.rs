//! A workflow for a terminal.

use std::fmt::Write as _;

use windflow_core::Workflow;

use super::layers::layers;

/// One line for each node, layer by layer.
pub fn text(workflow: &Workflow) -> String {
    let widest = |of: &dyn Fn(windflow_core::NodeIndex) -> usize| workflow.indices().map(of).max().unwrap_or(0);
    let name_width = widest(&|at| workflow.node(at).name.as_str().len());
    let uses_width = widest(&|at| workflow.node(at).uses.as_str().len());
    let mut out = format!("{}\n", workflow.name());
    for (depth, layer) in layers(workflow).iter().enumerate() {
        for (index, at) in layer.iter().enumerate() {
            let node = workflow.node(*at);
            let number = if index == 0 { format!("{:>3}", depth + 1) } else { "   ".to_owned() };
            let needs: Vec<&str> = workflow.needs(*at).iter().map(|need| workflow.node(*need).name.as_str()).collect();
            let needs = if needs.is_empty() { String::new() } else { format!("  ◄ {}", needs.join(", ")) };
            let when = node
                .when
                .as_ref()
                .map_or_else(String::new, |when| format!("  if {}", crate::render::text::clean(when)));
            let line = format!(
                "{number}  {:name_width$}  {:uses_width$}{needs}{when}",
                node.name.as_str(),
                node.uses.as_str()
            );
            // Writing to a text cannot fail.
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}
