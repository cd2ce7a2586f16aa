//! `windflow graph`.

use serde_json::json;
use windflow_core::NodeName;
use windflow_workflow::document::{Limits, load_workflow};

use super::args::{GraphArgs, GraphFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::graph;
use crate::wire::Project;

/// Draws a workflow. It need not be able to run here.
pub fn graph(project: &Project, args: &GraphArgs) -> Result<Exit, Failure> {
    let document = load_workflow(&args.file, &project.environment(), &Limits::operator())?;
    let workflow = document.workflow();
    if project.output.json() {
        let nodes: Vec<_> = workflow
            .indices()
            .map(|at| {
                let needs: Vec<&NodeName> = workflow.needs(at).iter().map(|need| &workflow.node(*need).name).collect();
                json!({ "name": workflow.node(at).name, "uses": workflow.node(at).uses, "needs": needs })
            })
            .collect();
        project.output.document(&json!({
            "version": 1, "kind": "graph", "workflow": workflow.name(), "nodes": nodes,
        }));
        return Ok(Exit::Success);
    }
    let drawn = match args.format {
        GraphFormat::Text => graph::text(&workflow),
        GraphFormat::Mermaid => graph::mermaid(&workflow),
        GraphFormat::Dot => graph::dot(&workflow),
        GraphFormat::Svg => graph::svg(&workflow),
    };
    project.output.verbatim(&drawn);
    Ok(Exit::Success)
}
