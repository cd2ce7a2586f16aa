//! `windflow runs events`.

use std::sync::Arc;
use std::time::Duration;

use windflow_core::Recorded;
use windflow_core::run::Run;

use super::args_runs::EventsArgs;
use crate::drive::Tail;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::events::Teller;
use crate::render::json;
use crate::render::text::moment;
use crate::wire::Project;

/// Prints a run's journal, and with `--follow` what is added to it until the run is over.
pub async fn events(project: &Project, args: &EventsArgs) -> Result<Exit, Failure> {
    let store = Arc::new(project.store_with_runs().await?);
    let (mut tail, records) = Tail::open(store, &args.id).await?;
    let mut teller = Teller::default();
    for recorded in &records {
        tail.fold(recorded)?;
        print(project, &tail.run, &mut teller, recorded);
    }
    if !args.follow {
        return Ok(Exit::Success);
    }
    let mut interrupt = Interrupt::listen()?;
    while !tail.run.state().is_final() && !project.output.is_broken() {
        tokio::select! {
            _ = interrupt.wish() => break,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        for recorded in tail.news().await? {
            tail.fold(&recorded)?;
            print(project, &tail.run, &mut teller, &recorded);
        }
    }
    Ok(Exit::Success)
}

fn print(project: &Project, run: &Run, teller: &mut Teller, recorded: &Recorded) {
    let output = &project.output;
    output.line(&json::event(run.id(), run.workflow(), recorded));
    let line = teller.tell(run.workflow(), recorded);
    let node = line.node.map(|node| format!("{node}: ")).unwrap_or_default();
    let text = output.paint(line.tone, &line.text);
    output.text(format!("{:>5}  {}  {node}{text}", recorded.seq, moment(recorded.at)));
}
