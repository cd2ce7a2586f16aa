//! `windflow runs show`.

use std::sync::Arc;

use windflow_core::{Clock as _, Store as _, SystemClock};

use super::args_runs::IdArgs;
use crate::drive::Tail;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::clean;
use crate::render::{json, report};
use crate::wire::Project;

/// Shows one run. Its exit code is that of the command, not of the run.
pub async fn show(project: &Project, args: &IdArgs) -> Result<Exit, Failure> {
    let store = Arc::new(project.store_with_runs().await?);
    let (mut tail, records) = Tail::open(Arc::clone(&store) as _, &args.id).await?;
    for recorded in &records {
        tail.fold(recorded)?;
    }
    let held = tail.holder().await?;
    // Somebody drives it, or it is over: then it does not matter what this place lacks.
    let waits = held.is_none() && !tail.run.state().is_final();
    let lacks = if waits { project.can_run(&args.id, tail.run.workflow(), false).err() } else { None };
    let why = lacks.as_ref().map(|lacks| lacks.message.as_str());
    project.output.document(&json::run(&tail.run, held.as_ref(), why));
    report::show(&project.output, &tail.run, held.as_ref(), SystemClock.now());
    let asked = store.inbox(&args.id).await?;
    if !asked.is_empty() {
        let asked: Vec<&str> = asked.iter().map(|entry| entry.submission.request.name()).collect();
        project.output.text(format!(
            "asked, and not taken in yet: {}\nnext:\n  {}    # drive it",
            asked.join(", "),
            report::driving(&tail.run, &format!("windflow resume {}", args.id))
        ));
    }
    if let Some(Failure { message, hint, .. }) = &lacks {
        let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        project.output.text(format!("note: {}{hint}", clean(message)));
    }
    Ok(Exit::Success)
}
