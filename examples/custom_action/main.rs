//! Actions of one's own: a typed function, and a full [`Action`](windflow_core::Action) that can look whether it has
//! happened and take its work back.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;
use windflow_core::{Engine, MemoryStore, Node, StepContext, StepError, Workflow, action_fn};
use windflow_examples::parcel_action::PostParcel;

#[derive(Deserialize)]
struct Weigh {
    items: Vec<u32>,
}

#[derive(Deserialize, Serialize)]
struct Weight {
    grams: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let office = PathBuf::from(std::env::args().nth(1).ok_or("usage: custom-action FOLDER")?);
    // A typed function: its input and output are plain Rust.
    let weigh = action_fn(|_cx: StepContext, input: Weigh| async move {
        let grams = input.items.iter().sum();
        if grams > 1_000 {
            return Err(StepError::terminal("weigh.heavy", format_args!("{grams} g is too heavy")));
        }
        Ok(Weight { grams })
    })
    .pure();
    let engine = Engine::builder(MemoryStore::new())
        .action("weigh", weigh)
        .action("post", PostParcel::new(&office).losing_answers())
        .build();
    let workflow = Workflow::builder("send")
        .node(Node::new("post", "post").input(json!({ "to": "${{ inputs.to }}" })))
        .node(Node::new("weigh", "weigh").needs(["post"]).input(json!({ "items": "${{ inputs.items }}" })))
        .outputs(json!({ "to": "${{ nodes.post.output.to }}", "grams": "${{ nodes.weigh.output.grams }}" }))
        .build()?;
    let posted = || std::fs::read_dir(&office).map_or(0, Iterator::count);

    // The answer of the office is lost; the engine asks the action to look, and it finds the parcel.
    let light = engine.start(workflow.clone(), json!({ "to": "Ada", "items": [300, 200] })).await?;
    let report = light.wait().await?;
    println!("{}: {}, {} posted", report.state, report.output, posted());

    // Too heavy, found too late: the parcel is taken back.
    let heavy = engine.start(workflow, json!({ "to": "Bob", "items": [900, 200] })).await?;
    let report = heavy.wait().await?;
    println!("{}: {}, {} posted", report.state, report.problem.as_deref().unwrap_or_default(), posted());

    // What can be wrong with an input is told before anything runs.
    let wrong = Workflow::builder("wrong").node(Node::new("post", "post").input(json!({ "too": "Eve" }))).build()?;
    if let Err(refused) = engine.start(wrong, json!(null)).await {
        println!("refused: {refused}");
    }
    Ok(())
}
