//! Taking a stack down.

use std::time::Duration;

use windflow_core::StackName;
use windflow_core::target::{Change, Context, Stack, TargetError, TargetErrorKind};

use super::converge::down_order;
use super::look::{Found, Seen};
use super::meaning::Meaning;
use super::records::Adoption;
use super::removal::Nameless;
use super::rollout::go_down;
use super::target::DockerTarget;
use super::{parts, records, staged};

/// How often it is looked for containers that still stand on a network.
const PASSES: usize = 40;

/// What goes with the containers of a stack.
#[derive(Clone, Copy)]
pub(super) struct Going<'a> {
    /// What these say of networks and volumes.
    pub changes: &'a [Change],
    /// Whether the stack was ever what it should be: what came about on the way to it holds nothing anybody could miss.
    pub was_wanted: bool,
}

impl DockerTarget {
    /// Removes every container, what the changes say of networks and volumes, and what is on record: whatever a cut
    /// leaves is found by the next.
    pub(super) async fn take_down(
        &self,
        cx: &Context,
        name: &StackName,
        seen: &Seen,
        going: Going<'_>,
    ) -> Result<(), TargetError> {
        let changes = going.changes;
        let nothing = Stack::new(name.clone(), Default::default());
        let meaning = Meaning::default();
        let work = self.work(cx, &nothing, &meaning, Default::default(), false);
        let mut now = seen.clone();
        let mut passes = 0;
        loop {
            passes += 1;
            let all: Vec<&Found> = now.containers.iter().collect();
            let volumes = if going.was_wanted { Nameless::GoIfAgreed } else { Nameless::Go };
            for wave in down_order(all) {
                go_down(&work, &wave, volumes).await?;
            }
            match parts::remove(&self.engine, name, &now, changes).await {
                // What an apply that was cut had just asked for may come about only now, and stand on a network.
                Err(error) if passes < PASSES && error.message.contains("active endpoints") => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    now = self.look(name).await?;
                }
                Err(mut error) if error.message.contains("active endpoints") => {
                    error.kind = TargetErrorKind::Conflict;
                    return Err(error);
                }
                done => break done?,
            }
        }
        let (engine, owner) = (&self.engine, &self.config.owner);
        if !seen.adopted.is_empty() {
            // What is kept has no mark of ours, and is known as the stack's by this record only.
            let is_kept = |path: &str| !changes.iter().any(|change| change.path == path);
            let mut left = Adoption { turn: seen.adopted.turn, ..Adoption::default() };
            left.volumes = seen.adopted.volumes.clone();
            left.volumes.retain(|path, _| is_kept(path) && seen.volumes.contains_key(path));
            records::adopt(engine, owner, name, left).await?;
        }
        if seen.two_sets().is_some() {
            staged::forget(engine, owner, name, None).await?;
        }
        records::forget(engine, owner, name, &seen.revisions).await?;
        records::end(engine, owner, name, None).await
    }
}
