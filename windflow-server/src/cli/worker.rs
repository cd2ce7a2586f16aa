//! `windflow worker`.

use std::sync::Arc;
use std::time::Duration;

use windflow_core::engine::Drive;
use windflow_core::{Clock as _, Namespace, Store as _, SystemClock, Workflow};

use super::args::WorkerArgs;
use super::{background, resume};
use crate::drive::leave;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::lines::Lines;
use crate::wire::Project;

/// Drives every due run of the state until it is told to stop, or nothing is due any more.
pub async fn worker(project: &Project, args: &WorkerArgs) -> Result<Exit, Failure> {
    if args.drive.background {
        background::leave_session();
    }
    let mut interrupt = Interrupt::listen()?;
    let store = Arc::new(project.store().await?);
    for summary in resume::unfinished(&store).await? {
        // A run that lacks something here would fail and be undone: whoever starts the worker decides.
        let bytes = store.blob(summary.hash).await?;
        if let Some(Ok(workflow)) = bytes.map(|bytes| Workflow::from_bytes(&bytes)) {
            project.can_run(&summary.run, &workflow, args.drive.allow_shell)?;
        }
    }
    let sink = Arc::new(Lines::new(project.output.clone()));
    let engine = project.engine(Arc::clone(&store) as _, args.drive.allow_shell, Drive::All, Some(sink));
    project.output.progress(&format!("driving the runs of {}; Ctrl-C stops", project.state.display()));
    loop {
        tokio::select! {
            biased;
            _ = interrupt.wish() => break,
            () = tokio::time::sleep(Duration::from_millis(200)), if args.until_idle => {
                let now = SystemClock.now();
                if engine.active() == 0 && store.due(&Namespace::default(), now, 1).await?.is_empty() {
                    break;
                }
            }
            () = std::future::pending(), if !args.until_idle => {}
        }
    }
    project.output.progress("stopping; open steps get their time to end");
    leave(&engine, &mut interrupt).await;
    Ok(Exit::Success)
}
