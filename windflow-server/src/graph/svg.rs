//! A workflow as a picture, drawn without any program's help.

use std::fmt::Write as _;

use windflow_core::Workflow;

use super::layers::layers;

const BOX: (usize, usize) = (170, 46);
const GAP: (usize, usize) = (30, 50);
const MARGIN: usize = 20;

/// An SVG picture: layers from top to bottom, boxes centred in each.
pub fn svg(workflow: &Workflow) -> String {
    let layers = layers(workflow);
    let widest = layers.iter().map(Vec::len).max().unwrap_or(1);
    let row = |boxes: usize| boxes * BOX.0 + boxes.saturating_sub(1) * GAP.0;
    let (width, height) = (row(widest) + 2 * MARGIN, layers.len() * (BOX.1 + GAP.1) - GAP.1 + 2 * MARGIN);
    let mut corner = vec![(0, 0); workflow.len()];
    for (depth, layer) in layers.iter().enumerate() {
        let left = (width - row(layer.len())) / 2;
        for (index, at) in layer.iter().enumerate() {
            corner[at.index()] = (left + index * (BOX.0 + GAP.0), MARGIN + depth * (BOX.1 + GAP.1));
        }
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\">\n\
         <title>{}</title>\n<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#667\"/></marker></defs>\n",
        workflow.name()
    );
    for at in workflow.indices() {
        let (x, y) = corner[at.index()];
        let dashed = if workflow.node(at).when.is_some() { " stroke-dasharray=\"5 4\"" } else { "" };
        for need in workflow.needs(at) {
            let (from_x, from_y) = corner[need.index()];
            let (from_x, from_y, to_x) = (from_x + BOX.0 / 2, from_y + BOX.1, x + BOX.0 / 2);
            let bend = (y - from_y) / 2;
            let _ = writeln!(
                out,
                "<path d=\"M{from_x} {from_y}C{from_x} {} {to_x} {} {to_x} {y}\" fill=\"none\" stroke=\"#667\" \
                 marker-end=\"url(#tip)\"{dashed}/>",
                from_y + bend,
                y - bend,
            );
        }
    }
    for at in workflow.indices() {
        let (node, (x, y)) = (workflow.node(at), corner[at.index()]);
        let middle = x + BOX.0 / 2;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#eef3fb\" stroke=\"#456\"/>\
             <text x=\"{middle}\" y=\"{}\" font-weight=\"bold\">{}</text>\
             <text x=\"{middle}\" y=\"{}\" fill=\"#556\">{}</text>",
            BOX.0,
            BOX.1,
            y + 20,
            short(node.name.as_str()),
            y + 37,
            short(node.uses.as_str()),
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A name as far as it fits into a box. Names hold nothing that XML would misread.
fn short(name: &str) -> String {
    crate::render::text::cut(name, 22)
}
