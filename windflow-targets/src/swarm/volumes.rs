//! The volumes of a stack: whose they are, what is told of them, and their end.
//!
//! A node makes a volume when a task first mounts it there, and mounts what has that name already, whoever's it is. Which
//! volumes a node has is told by its own engine only: what is known here is of the node that is talked to.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::Volume;
use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptions, RemoveVolumeOptions};
use tokio::time::Instant;
use windflow_core::StackName;
use windflow_core::target::{
    Change, ChangeKind, Context, Desired, Observed, Reversibility, Stack, TargetError, TargetErrorKind,
};

use super::SwarmTarget;
use super::look::Look;
use super::names;
use super::parts::volume_names;
use super::render::RETAINED;
use super::take_down::{AGAIN, SELDOM, is_in_use};
use crate::engine::is_missing;
use crate::engine::mark::own_as_external;

impl Look {
    /// What a volume is called in the stack, when it is the stack's.
    fn name_of_volume(&self, volume: &Volume) -> Option<String> {
        let ours = format!("{}/{}/", self.owner, self.stack);
        let marked = volume.labels.get(RETAINED).and_then(|mark| mark.strip_prefix(&ours));
        let adopted = || self.records.adopted.volumes.iter().find(|(_, real)| **real == volume.name);
        marked.map(str::to_owned).or_else(|| adopted().map(|(name, _)| name.clone()))
    }

    /// The volumes of the stack, each with its path within it, in order.
    pub fn our_volumes(&self) -> Vec<(String, &Volume)> {
        let path = |volume| self.name_of_volume(volume).map(|name| format!("volumes.{name}"));
        let mut ours: Vec<_> = self.volumes.iter().filter_map(|volume| Some((path(volume)?, volume))).collect();
        ours.sort_by_key(|(path, volume)| (path.clone(), volume.name.clone()));
        ours
    }

    /// Whether a volume of this name is somebody else's.
    fn is_somebody_s(&self, real: &str) -> bool {
        self.volumes.iter().any(|volume| volume.name == real && self.name_of_volume(volume).is_none())
    }

    /// The node that is talked to, as people call it.
    fn here(&self) -> String {
        self.host(&self.manager.node)
    }
}

/// The volumes of somebody else that have the names of this stack's, as path and sentence.
pub(super) fn in_the_way(stack: &Stack, look: &Look) -> Vec<(String, String)> {
    let wanted = volume_names(stack).into_iter().filter(|(_, name)| !stack.volumes[name].external);
    let taken = wanted.filter(|(real, _)| look.is_somebody_s(real));
    let told = taken.map(|(real, name)| {
        let why = format!(
            "the node {} has a volume '{real}' already, which is not this stack's: adopt what it belongs to, choose \
             another name, or mark the volume as 'external: true'",
            look.here()
        );
        (format!("volumes.{name}"), why)
    });
    told.collect()
}

/// Volumes that are asked for as somebody else's and are not there, or are the stack's own, as path and sentence. What other
/// nodes have is not seen from here.
pub(super) fn externals(stack: &Stack, look: &Look) -> Vec<(String, String)> {
    let alone = look.nodes.len() <= 1;
    let own = look.our_volumes();
    let wanted = volume_names(stack).into_iter().filter(|(_, name)| stack.volumes[name].external);
    let told = wanted.filter_map(|(real, name)| {
        let why = match look.volumes.iter().any(|volume| volume.name == real) {
            _ if own.iter().any(|(_, volume)| volume.name == real) => own_as_external("volume", &real),
            false if alone => format!("there is no volume '{real}' on the node {}", look.here()),
            _ => return None,
        };
        Some((format!("volumes.{name}"), why))
    });
    told.collect()
}

/// Our volumes that this stack does not have.
fn unwanted<'a>(look: &'a Look, stack: Option<&Stack>) -> Vec<(String, &'a Volume)> {
    let wanted = stack.map(volume_names).unwrap_or_default();
    look.our_volumes().into_iter().filter(|(_, volume)| !wanted.contains_key(&volume.name)).collect()
}

/// What was kept although nothing wants it any more, by path.
pub(super) fn retained(look: &Look) -> BTreeMap<String, String> {
    let mut retained: BTreeMap<String, String> = BTreeMap::new();
    let latest = look.records.latest().map(|latest| &latest.stack);
    // Whatever is being done for the first time may want it.
    if latest.is_none() && !look.is_empty() {
        return retained;
    }
    let kept = look.records.staged().and(look.records.current());
    let kept = kept.map(|kept| volume_names(&kept.stack)).unwrap_or_default();
    for (path, volume) in unwanted(look, latest) {
        if kept.contains_key(&volume.name) {
            continue;
        }
        let called = retained.entry(path).or_default();
        // A volume that has got another name since is another one, and both may be there.
        *called = if called.is_empty() { volume.name.clone() } else { format!("{called}, {}", volume.name) };
    }
    retained
}

/// What a removal does to volumes, in place of what would be said if every node could be seen.
pub(super) fn removals(mut changes: Vec<Change>, desired: &Desired, look: &Look, agreed: bool) -> Vec<Change> {
    let is_removal = |change: &Change| change.kind == ChangeKind::Delete && change.path.starts_with("volumes.");
    let (told, others): (Vec<Change>, Vec<Change>) = changes.drain(..).partition(is_removal);
    changes = others;
    // Tasks that have ended hold on to what they mounted for as long as their service is there.
    if !agreed || matches!(desired, Desired::Present(_)) {
        return changes;
    }
    for (path, volume) in unwanted(look, None) {
        let before = told.iter().find(|change| change.path == path).and_then(|change| change.before.clone());
        let mut change = Change::new(ChangeKind::Delete, path).values(before, None);
        change.reversibility = Reversibility::Irreversible;
        changes.push(change.note(format!("the volume '{}' goes, and what is in it is lost", volume.name)));
    }
    changes
}

/// What becomes of volumes, where no change says so.
pub(super) fn told(desired: &Desired, observed: &Observed, look: &Look, agreed: bool) -> Vec<String> {
    let (here, alone) = (look.here(), look.nodes.len() <= 1);
    let stack = match desired {
        Desired::Present(stack) => Some(stack),
        Desired::Absent(_) => None,
    };
    let mut told = Vec::new();
    for (name, volume) in stack.iter().flat_map(|stack| &stack.volumes).filter(|_| !alone) {
        let what = match volume.external {
            false => "another node that has one of that name mounts it, whoever's it is",
            true => "another node that has none of that name makes one, and nothing is in it",
        };
        told.push(format!("volumes.{name}: only the volumes of the node {here} are seen from here; {what}"));
    }
    let here_too = unwanted(look, stack);
    for (path, volume) in &here_too {
        let called = &volume.name;
        let adopted = if volume.labels.contains_key(RETAINED) { "" } else { "; it has no mark of ours" };
        told.extend(match (stack.is_some(), agreed) {
            (true, _) => Some(format!(
                "{path}: the volume '{called}' is kept with what is in it (a destroy with --allow-destroy volume removes it)"
            )),
            (false, false) => Some(format!(
                "{path}: the volume '{called}' is kept with what is in it (--allow-destroy volume removes it){adopted}"
            )),
            (false, true) => None,
        });
        if !alone {
            told.push(format!("{path}: this is the volume of the node {here}; what other nodes have of it stays"));
        }
    }
    let gone = observed.parts.iter().filter_map(|(path, spec)| Some((path, path.strip_prefix("volumes.")?, spec)));
    for (path, name, spec) in gone.filter(|(_, name, _)| !stack.is_some_and(|stack| stack.volumes.contains_key(*name)))
    {
        let given = spec.get("name").and_then(|name| name.as_str()).map(str::to_owned);
        let real = given.unwrap_or_else(|| names::object(&look.stack, name));
        if look.is_somebody_s(&real) {
            told.push(format!("{path}: the volume '{real}' of the node {here} is not this stack's, and stays"));
        } else if !alone && !here_too.iter().any(|(path, _)| path.strip_prefix("volumes.") == Some(name)) {
            told.push(format!("{path}: the node {here} has none; what other nodes have of it is not seen, and stays"));
        }
    }
    told
}

impl SwarmTarget {
    /// All volumes of the node that is talked to.
    pub(super) async fn volumes_here(&self) -> Result<Vec<Volume>, TargetError> {
        let docker = self.engine.docker().await?;
        let found = self.engine.ask("listing volumes", docker.list_volumes(None::<ListVolumesOptions>)).await?;
        Ok(found.volumes.unwrap_or_default())
    }

    /// Refuses to mount what is somebody else's, and to have one made that should be there. Either may have come about since
    /// the plan was made.
    pub(super) fn check_volumes(&self, stack: &Stack, look: &Look) -> Result<(), TargetError> {
        match in_the_way(stack, look).into_iter().chain(externals(stack, look)).next() {
            Some((path, why)) => Err(self.error(&stack.name, TargetErrorKind::Refused, format_args!("{path}: {why}"))),
            None => Ok(()),
        }
    }

    /// Removes the volumes of the stack from the node that is talked to, as soon as nothing mounts them.
    pub(super) async fn remove_volumes(
        &self,
        cx: &Context,
        stack: &StackName,
        mut look: Look,
        patience: Duration,
    ) -> Result<(), TargetError> {
        // A task may have made one just before it was ended.
        look.volumes = self.volumes_here().await?;
        let docker = self.engine.docker().await?;
        let until = Instant::now() + patience;
        let mut pulse = self.pulse().await?;
        for (_, volume) in unwanted(&look, None) {
            let what = format!("removing the volume {}", volume.name);
            cx.progress(&what);
            let (mut next, mut pause) = (Instant::now(), AGAIN);
            loop {
                let now = Instant::now();
                let is_last = now >= until;
                if is_last || (now >= next && !self.is_mounted(&volume.name).await?) {
                    match self.engine.call(docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>)).await {
                        Err(error) if is_missing(&error) => break,
                        Err(error) if is_in_use(&error) && !is_last => {
                            (next, pause) = (Instant::now() + pause, (pause * 2).min(SELDOM));
                        }
                        done => {
                            let done = self.engine.tell(&what, std::future::ready(done)).await;
                            done.map_err(|error| error.in_stack(stack))?;
                            break;
                        }
                    }
                }
                tokio::select! {
                    biased;
                    () = cx.cancel().cancelled() => {
                        return Err(self.error(stack, TargetErrorKind::Cancelled, format!("stopped {what}")));
                    }
                    () = pulse.beat(Duration::from_millis(500)) => {}
                }
            }
        }
        Ok(())
    }

    async fn is_mounted(&self, volume: &str) -> Result<bool, TargetError> {
        let docker = self.engine.docker().await?;
        let filter = HashMap::from([("volume".to_owned(), vec![volume.to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let found = self.engine.ask("listing containers", docker.list_containers(Some(options))).await?;
        Ok(!found.is_empty())
    }
}
