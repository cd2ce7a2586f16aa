//! What is on record of a revision that is staged: the label of an empty volume, as with everything else that must be
//! remembered.

use windflow_core::target::TargetError;
use windflow_core::{OwnerId, StackName};

use super::{names, records};
use crate::engine::staged::Staged;
use crate::engine::{Engine, mark};

/// Writes down what is staged; what was written first counts.
pub(super) async fn write(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    staged: &Staged,
) -> Result<(), TargetError> {
    let mut labels = mark::labels(owner, stack);
    // The form holds only texts, numbers and maps with text keys: it can always be written.
    labels.insert(mark::STAGED.to_owned(), serde_json::to_string(staged).unwrap_or_default());
    let what = format!("writing down that revision {} is staged", staged.revision.number);
    records::keep(engine, &what, names::staged(owner, stack), labels).await.map(drop)
}

/// Nothing is staged any more.
pub(super) async fn forget(engine: &Engine, owner: &OwnerId, stack: &StackName) -> Result<(), TargetError> {
    records::drop_volume(engine, owner, stack, "ending what was staged", &names::staged(owner, stack)).await
}
