//! `windflow runs show`.

use std::sync::Arc;

use windflow_core::{Clock as _, SystemClock};

use super::args_runs::IdArgs;
use crate::drive::Tail;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{json, report};
use crate::wire::Project;

/// Shows one run. Its exit code is that of the command, not of the run.
pub async fn show(project: &Project, args: &IdArgs) -> Result<Exit, Failure> {
    let store = Arc::new(project.store_with_runs().await?);
    let (mut tail, records) = Tail::open(store, &args.id).await?;
    for recorded in &records {
        tail.fold(recorded)?;
    }
    let held = tail.holder().await?;
    project.output.document(&json::run(&tail.run, held.as_ref()));
    report::show(&project.output, &tail.run, held.as_ref(), SystemClock.now());
    Ok(Exit::Success)
}
