//! What is on record of a revision that is staged: the label of an empty volume, as with everything else that must be
//! remembered.

use windflow_core::target::TargetError;
use windflow_core::{OwnerId, StackName};

use super::{names, records};
use crate::engine::staged::Staged;
use crate::engine::{Engine, mark};

/// Writes down what is staged; what was written first counts. Whether that is this.
pub(super) async fn write(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    staged: &Staged,
) -> Result<bool, TargetError> {
    let mut labels = mark::labels(owner, stack);
    // The form holds only texts, numbers and maps with text keys: it can always be written.
    labels.insert(mark::STAGED.to_owned(), serde_json::to_string(staged).unwrap_or_default());
    let what = format!("writing down that revision {} is staged", staged.revision.number);
    let found = records::keep(engine, &what, names::staged(owner, stack), labels).await?;
    let found = found.labels.get(mark::STAGED).and_then(|text| serde_json::from_str::<Staged>(text).ok());
    Ok(found.is_some_and(|found| found.revision.stack == staged.revision.stack))
}

/// This revision is not staged any more; where none is named, whichever is.
pub(super) async fn forget(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    this: Option<&Staged>,
) -> Result<(), TargetError> {
    let (docker, name, what) = (engine.docker().await?, names::staged(owner, stack), "ending what was staged");
    if let Some(this) = this {
        let found = engine.find(what, docker.inspect_volume(&name)).await?;
        let found = found.and_then(|found| serde_json::from_str::<Staged>(found.labels.get(mark::STAGED)?).ok());
        if found.is_some_and(|found| found != *this) {
            return Ok(());
        }
    }
    records::drop_volume(engine, owner, stack, what, &name).await
}
