//! `windflow worker`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use windflow_core::engine::Drive;
use windflow_core::{Clock as _, Namespace, RunId, Store as _, SystemClock, WaitError};

use super::args::WorkerArgs;
use super::background;
use crate::drive::leave;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::render::json;
use crate::render::lines::Lines;
use crate::render::text::clean;
use crate::wire::Project;

/// How often it looks whether it is idle, and what it leaves alone.
const LOOK: Duration = Duration::from_millis(200);

/// Drives every due run of the state until it is told to stop, or nothing is due any more.
pub async fn worker(project: &Project, args: &WorkerArgs) -> Result<Exit, Failure> {
    if args.drive.background {
        background::leave_session();
    }
    let mut interrupt = Interrupt::listen()?;
    let store = Arc::new(project.store().await?);
    let sink = Arc::new(Lines::new(project.output.clone()));
    let engine = project.engine(Arc::clone(&store) as _, args.drive.allow_shell, Drive::All, Some(sink));
    project.output.progress(&format!("driving the runs of {}; Ctrl-C stops", project.state.display()));
    let mut told = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            _ = interrupt.wish() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        // Not failed, and not undone, because this worker may not do what they ask for: another may.
        let left = engine.left_alone();
        for (run, why) in &left {
            if told.insert(run.clone()) {
                left_alone(project, run, why);
            }
        }
        let most = u32::try_from(left.len() + 1).unwrap_or(u32::MAX);
        if args.until_idle && engine.active() == 0 {
            let due = store.due(&Namespace::default(), SystemClock.now(), most).await?;
            if due.iter().all(|run| left.iter().any(|(other, _)| other == run)) {
                break;
            }
        }
    }
    project.output.progress("stopping; open steps get their time to end");
    leave(&engine, &mut interrupt).await;
    Ok(if args.until_idle && !told.is_empty() { Exit::Left } else { Exit::Success })
}

/// Says that a run is left to others, and why.
pub fn left_alone(project: &Project, run: &RunId, why: &WaitError) {
    let Failure { message, hint, .. } = Failure::from(why.clone());
    let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    project.output.progress(&format!("{run}  left alone: {}{hint}", clean(&message)));
    project.output.line(&json::left_alone(run, &message));
}
