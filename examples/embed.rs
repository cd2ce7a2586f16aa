//! A durable workflow in a program of your own: no server, no daemon, one SQLite file.
#![expect(clippy::print_stdout, reason = "a program for people")]

use serde_json::json;
use windflow_core::{Engine, Node, StartOptions, StepContext, StepError, Workflow, action_fn};
use windflow_workflow::{SqliteOptions, SqliteStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Actions are async functions. This one knows how to take its work back, should a later step fail.
    let reserve = action_fn(|cx: StepContext, item: String| async move {
        println!("reserving a {item} under the key {}", cx.idempotency_key());
        Ok::<String, StepError>(format!("{item} no. 7"))
    })
    .compensate_with(|_cx, item: String, _reserved: Option<String>| async move {
        println!("releasing the {item}");
        Ok(())
    });
    let ship =
        action_fn(|_cx: StepContext, what: String| async move { Ok::<_, StepError>(format!("{what} is on its way")) });

    let workflow = Workflow::builder("order")
        .node(Node::new("reserve", "reserve").input("${{ inputs.item }}".into()))
        .node(Node::new("ship", "ship").needs(["reserve"]).input("${{ nodes.reserve.output }}".into()))
        .outputs("${{ nodes.ship.output }}".into())
        .build()?;

    let store = SqliteStore::open("orders/state.db", SqliteOptions::default()).await?;
    let engine = Engine::builder(store).action("reserve", reserve).action("ship", ship).build();
    // The key finds the same run again: a program that is killed and started anew goes on where it was.
    let options = StartOptions::default().key("order-17");
    let run = engine.start_with(workflow, json!({ "item": "teapot" }), options).await?;
    let report = run.wait().await?;
    println!("{}: {}", report.state, report.output);
    engine.shutdown().await;
    Ok(())
}
