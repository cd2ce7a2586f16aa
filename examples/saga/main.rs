//! A saga: three bookings, of which the third fails, so that the first two are undone, the last one first.
//!
//! Exits with 3, as the `windflow` command does when a run failed and everything was undone.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;

use windflow_core::{Engine, FunctionAction, MemoryStore, Node, RunState, StepContext, StepError, Workflow, action_fn};

/// Books something, and can cancel it again.
fn book(what: &'static str) -> FunctionAction<(), String> {
    action_fn(move |_cx: StepContext, (): ()| async move {
        println!("booking the {what}");
        Ok::<_, StepError>(format!("{what}-1"))
    })
    .compensate_with(move |_cx, (), booked: Option<String>| async move {
        // A step that started and failed is compensated too, and has no output.
        match booked {
            Some(number) => println!("cancelling {number}"),
            None => println!("nothing was booked: no {what} to cancel"),
        }
        Ok(())
    })
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let pay = action_fn(|_cx: StepContext, (): ()| async move {
        println!("paying");
        Err::<(), _>(StepError::terminal("payment.declined", "the card was declined"))
    })
    // It says itself that nothing happened; there is nothing to give back.
    .pure();

    let workflow = Workflow::builder("journey")
        .node(Node::new("flight", "flight"))
        .node(Node::new("hotel", "hotel").needs(["flight"]))
        .node(Node::new("pay", "pay").needs(["hotel"]))
        .build()?;
    let engine = Engine::builder(MemoryStore::new())
        .action("flight", book("flight"))
        .action("hotel", book("hotel"))
        .action("pay", pay)
        .build();

    let report = engine.start(workflow, serde_json::Value::Null).await?.wait().await?;
    println!("{}: {}", report.state, report.problem.as_deref().unwrap_or("no problem"));
    Ok(ExitCode::from(match report.state {
        RunState::Succeeded => 0,
        RunState::Compensated => 3,
        _ => 1,
    }))
}
