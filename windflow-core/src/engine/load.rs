//! A run from the store.

use super::error::WaitError;
use crate::id::{RunId, Seq};
use crate::run::{Event, Run};
use crate::store::{Fault, Store};
use crate::workflow::Workflow;

/// A run as its journal has it, if this build may read it.
pub(super) async fn load(store: &dyn Store, id: &RunId) -> Result<Run, WaitError> {
    check(store, id).await?;
    read(store, id).await
}

/// Whether this build may read a run: one that a newer version has written to is left as it is.
pub(super) async fn check(store: &dyn Store, id: &RunId) -> Result<(), WaitError> {
    let summary = store.summary(id).await?.ok_or_else(|| WaitError::NotFound { run: id.clone() })?;
    match summary.unreadable() {
        Some(why) => Err(WaitError::Unreadable { run: id.clone(), why }),
        None => Ok(()),
    }
}

/// Reads a run's journal and its pinned workflow, and folds them.
pub(super) async fn read(store: &dyn Store, id: &RunId) -> Result<Run, WaitError> {
    let unreadable = |why: String| WaitError::Unreadable { run: id.clone(), why };
    let journal = match store.journal(id, Seq(0)).await {
        Err(error) if error.fault == Fault::NotFound => return Err(WaitError::NotFound { run: id.clone() }),
        journal => journal?,
    };
    let hash = match journal.first().map(|first| &first.event) {
        Some(Event::Created(created)) => created.workflow,
        Some(other) => return Err(unreadable(format!("its journal begins with {}", other.kind()))),
        None => return Err(WaitError::NotFound { run: id.clone() }),
    };
    let bytes = store.blob(hash).await?;
    let bytes = bytes.ok_or_else(|| unreadable(format!("its workflow {hash} is not in the store")))?;
    let plan = Workflow::from_bytes(&bytes).map_err(unreadable)?;
    Run::replay(plan, journal).map_err(|error| unreadable(error.to_string()))
}
