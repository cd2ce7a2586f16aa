//! Surviving a crash: the first time, the program aborts in the middle of its second step; started again, it goes on
//! from there. What was complete does not run again.
//!
//! ```text
//! $ cargo run -p windflow-examples --bin crash -- folder     # aborts
//! $ cargo run -p windflow-examples --bin crash -- folder     # finishes
//! ```
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use windflow_core::{Engine, FunctionAction, Node, RunId, StartOptions, StepContext, StepError, Workflow, action_fn};
use windflow_workflow::{SqliteOptions, SqliteStore};

/// Writes down outside the journal that a step runs, and aborts the process if it should.
fn step(folder: &Path, aborts: bool) -> FunctionAction<(), ()> {
    let ledger = folder.join("ledger.txt");
    action_fn(move |cx: StepContext, (): ()| {
        let ledger = ledger.clone();
        async move {
            let line = format!("{}, attempt {}, key {}", cx.node(), cx.attempt(), cx.idempotency_key());
            println!("{line}");
            let file = std::fs::OpenOptions::new().create(true).append(true).open(ledger);
            let written = file.and_then(|mut file| writeln!(file, "{line}"));
            written.map_err(|error| StepError::terminal("ledger", error))?;
            if aborts && cx.attempt() == 1 {
                // As if the power had failed: nothing is flushed, dropped or said.
                std::process::abort();
            }
            Ok(())
        }
    })
    .pure()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: crash FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let workflow = Workflow::builder("crash")
        .node(Node::new("first", "steady"))
        .node(Node::new("second", "shaky").needs(["first"]))
        .node(Node::new("third", "steady").needs(["second"]))
        .build()?;
    let store = SqliteStore::open(folder.join("state.db"), SqliteOptions::default()).await?;
    let engine =
        Engine::builder(store).action("steady", step(&folder, false)).action("shaky", step(&folder, true)).build();
    // The same id finds the same run, whether it is new, half done or over.
    let options = StartOptions::default().run(RunId::new("crash-example")?);
    let report = engine.start_with(workflow, serde_json::Value::Null, options).await?.wait().await?;
    println!("{}", report.state);
    engine.shutdown().await;
    Ok(())
}
