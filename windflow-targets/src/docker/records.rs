//! What a stack's target keeps on record, on the engine itself: labels of empty volumes, which nothing else on an engine can
//! carry without running.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::RemoveVolumeOptions;
use serde::{Deserialize, Serialize};
use windflow_core::target::{Revision, Service, TargetError, TargetErrorKind};
use windflow_core::{OwnerId, ServiceName, StackName};

use super::look::Seen;
use super::names;
use crate::engine::doing::Doing;
use crate::engine::staged::Staged;
use crate::engine::{Engine, mark};

/// How many revisions are kept.
const KEPT: usize = 10;
/// How many numbers may be somebody else's before it is given up: another writer has one or two.
const TRIES: u64 = 20;

/// What was taken over: it cannot be given labels any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adoption {
    /// How often it was written. Of two records a cut has left, the one that was written last holds.
    #[serde(default)]
    pub turn: u64,
    /// By their ids.
    pub containers: BTreeMap<String, Adopted>,
    /// Ids by path within the stack.
    pub networks: BTreeMap<String, String>,
    /// By path within the stack.
    pub volumes: BTreeMap<String, AdoptedVolume>,
}

impl Adoption {
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }
}

/// A volume that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AdoptedVolume {
    /// What the engine calls it.
    pub name: String,
    /// The labels it was given when it was made, and keeps: one of the same name without them is another, and somebody
    /// else's. When it was made an engine does not tell for good.
    pub labels: BTreeMap<String, String>,
}

impl AdoptedVolume {
    pub fn of(volume: &Volume) -> Self {
        Self { name: volume.name.clone(), labels: volume.labels.clone().into_iter().collect() }
    }

    /// Whether this is the volume that was taken over, as far as the engine tells.
    pub fn is(&self, volume: &Volume) -> bool {
        *self == Self::of(volume)
    }
}

/// A container that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adopted {
    pub service: ServiceName,
    pub instance: u32,
    pub spec: Service,
}

/// A record that cannot be read: damaged, or written by a later version. It is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// What the volume is called.
    pub name: String,
    pub why: String,
    /// Whether nothing can be done without it: what is under way, and what was taken over.
    pub is_needed: bool,
}

impl Unreadable {
    /// What a plan says of it.
    pub fn note(&self) -> String {
        format!("the record {} cannot be read, and is left as it is: {}", self.name, self.why)
    }
}

/// What the record volumes of a stack say.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub revisions: Vec<Revision>,
    pub doing: Option<Doing>,
    pub staged: Option<Staged>,
    pub adopted: Adoption,
    pub unreadable: Vec<Unreadable>,
    /// The highest number that a record has, whether it can be read or not.
    pub highest: u64,
}

impl Records {
    /// Takes in what a volume says.
    pub fn take(&mut self, volume: &Volume) {
        let number = volume.labels.get(mark::REVISION).and_then(|number| number.parse().ok());
        self.highest = self.highest.max(number.unwrap_or(0));
        let mut is_needed = false;
        let mut read = || -> Result<(), String> {
            let mut is_known = false;
            if let Some(text) = volume.labels.get(mark::RECORD) {
                self.revisions.push(revision(text)?);
                is_known = true;
            }
            is_needed = true;
            if let Some(text) = volume.labels.get(mark::DOING) {
                self.doing = Some(serde_json::from_str(text).map_err(|error| error.to_string())?);
                is_known = true;
            }
            if let Some(text) = volume.labels.get(mark::STAGED) {
                self.staged = Some(serde_json::from_str(text).map_err(|error| error.to_string())?);
                is_known = true;
            }
            if let Some(text) = volume.labels.get(mark::ADOPTED) {
                let adopted: Adoption = serde_json::from_str(text).map_err(|error| error.to_string())?;
                if adopted.turn >= self.adopted.turn {
                    self.adopted = adopted;
                }
                is_known = true;
            }
            is_needed = false;
            if is_known { Ok(()) } else { Err("it holds nothing that is known here".to_owned()) }
        };
        if let Err(why) = read() {
            self.unreadable.push(Unreadable { name: volume.name.clone(), why, is_needed });
        }
    }
}

fn revision(text: &str) -> Result<Revision, String> {
    let revision: Revision = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match revision.version {
        version if version > Revision::VERSION => {
            Err(format!("it is of version {version}, and this program knows {}", Revision::VERSION))
        }
        _ => Ok(revision),
    }
}

pub(super) async fn keep(
    engine: &Engine,
    what: &str,
    name: String,
    labels: HashMap<String, String>,
) -> Result<Volume, TargetError> {
    let docker = engine.docker().await?;
    let request = VolumeCreateRequest { name: Some(name), labels: Some(labels), ..VolumeCreateRequest::default() };
    engine.tell(what, docker.create_volume(request)).await
}

/// Drops a record. A volume of its name that does not carry our marks is somebody else's.
pub(super) async fn drop_volume(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    what: &str,
    name: &str,
) -> Result<(), TargetError> {
    let docker = engine.docker().await?;
    let Some(volume) = engine.find(what, docker.inspect_volume(name)).await? else { return Ok(()) };
    let ours = mark::labels(owner, stack);
    if !ours.iter().all(|(label, value)| volume.labels.get(label) == Some(value)) {
        return Ok(());
    }
    engine.remove(what, docker.remove_volume(name, None::<RemoveVolumeOptions>)).await
}

/// Writes down what is being done, so that whoever comes after a cut knows it for their own.
pub(super) async fn begin(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    before: Option<&Doing>,
    doing: &Doing,
) -> Result<(), TargetError> {
    let name = names::doing(owner, stack);
    if before.is_some_and(|before| before != doing) {
        end(engine, owner, stack, None).await?;
    }
    let mut labels = mark::labels(owner, stack);
    // The form holds only texts: it can always be written.
    labels.insert(mark::DOING.to_owned(), serde_json::to_string(doing).unwrap_or_default());
    let kept = keep(engine, "writing down what is being done", name, labels).await?;
    let is = kept.labels.get(mark::DOING).and_then(|text| serde_json::from_str::<Doing>(text).ok());
    if is.as_ref() == Some(doing) {
        return Ok(());
    }
    let what = "another apply of this stack has just begun";
    Err(TargetError::new(engine.target(), TargetErrorKind::Conflict, what)
        .in_stack(stack)
        .with_hint("wait for it, then plan again"))
}

/// Whether this is what is being done.
pub(super) async fn is_doing(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    doing: &Doing,
) -> Result<bool, TargetError> {
    let (docker, name) = (engine.docker().await?, names::doing(owner, stack));
    let kept = engine.find("looking at what is being done", docker.inspect_volume(&name)).await?;
    let label = kept.as_ref().and_then(|kept| kept.labels.get(mark::DOING));
    Ok(label.and_then(|text| serde_json::from_str::<Doing>(text).ok()).as_ref() == Some(doing))
}

/// This is not being done any more; where nothing is named, whatever is.
pub(super) async fn end(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    doing: Option<&Doing>,
) -> Result<(), TargetError> {
    match doing {
        // Somebody else has begun since.
        Some(doing) if !is_doing(engine, owner, stack, doing).await? => Ok(()),
        _ => drop_volume(engine, owner, stack, "ending an apply", &names::doing(owner, stack)).await,
    }
}

/// Makes this the next revision, whatever its number, and lets the oldest go. An engine keeps the first of two volumes of one name: whose it is
/// stands in its label.
pub(super) async fn record(
    engine: &Engine,
    owner: &OwnerId,
    seen: &Seen,
    mut revision: Revision,
) -> Result<Revision, TargetError> {
    let (stack, kept) = (revision.stack.name.clone(), &seen.revisions);
    // The number of one that cannot be read is not given again.
    revision.number = kept.last().map_or(0, |last| last.number).max(seen.highest);
    let first = revision.number + 1;
    loop {
        revision.number += 1;
        let number = revision.number;
        if number >= first + TRIES {
            let what = format!("the numbers {first} to {} are all taken by others", number - 1);
            let error = TargetError::new(engine.target(), TargetErrorKind::Conflict, what).in_stack(&stack);
            return Err(
                error.with_hint("see who else changes this stack, or whether the engine drops labels of volumes")
            );
        }
        if record_as(engine, owner, seen, &revision).await? {
            return Ok(revision);
        }
    }
}

/// Makes this a revision by the number it has, and lets the oldest go; or says that the number is somebody else's.
pub(super) async fn record_as(
    engine: &Engine,
    owner: &OwnerId,
    seen: &Seen,
    revision: &Revision,
) -> Result<bool, TargetError> {
    let (stack, number) = (&revision.stack.name, revision.number);
    let mut labels = mark::labels(owner, stack);
    labels.insert(mark::REVISION.to_owned(), number.to_string());
    labels.insert(mark::RECORD.to_owned(), serde_json::to_string(revision).unwrap_or_default());
    let wanted = labels.clone();
    let what = format!("recording revision {number}");
    let volume = keep(engine, &what, names::revision(owner, stack, number), labels).await?;
    if volume.labels != wanted {
        return Ok(false);
    }
    for old in seen.revisions.iter().rev().skip(KEPT - 1) {
        let what = format!("forgetting revision {}", old.number);
        drop_volume(engine, owner, stack, &what, &names::revision(owner, stack, old.number)).await?;
    }
    Ok(true)
}

/// Forgets every revision, and what was taken over: the last thing of a stack that goes, but for what is being done.
pub(super) async fn forget(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    kept: &[Revision],
) -> Result<(), TargetError> {
    // The current one last: as long as it is there, a cut can be seen.
    for old in kept {
        let what = format!("forgetting revision {}", old.number);
        drop_volume(engine, owner, stack, &what, &names::revision(owner, stack, old.number)).await?;
    }
    Ok(())
}

/// Writes down what was taken over, as a change of what was written before. The new record is there before the old one goes.
pub(super) async fn adopt(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    mut adopted: Adoption,
) -> Result<(), TargetError> {
    let before = names::adoption(owner, stack, adopted.turn);
    adopted.turn += 1;
    let name = names::adoption(owner, stack, adopted.turn);
    // What an older change has left.
    drop_volume(engine, owner, stack, "taking over", &name).await?;
    if !adopted.is_empty() {
        let mut labels = mark::labels(owner, stack);
        labels.insert(mark::ADOPTED.to_owned(), serde_json::to_string(&adopted).unwrap_or_default());
        keep(engine, "taking over", name, labels).await?;
    }
    drop_volume(engine, owner, stack, "taking over", &before).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use windflow_core::Timestamp;
    use windflow_core::target::Stack;

    fn volume(name: &str, labels: &[(&str, &str)]) -> Volume {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        Volume { name: name.to_owned(), labels, ..Volume::default() }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_keeps_its_number() {
        let stack = Stack::new(StackName::new("shop").unwrap(), BTreeMap::new());
        let mut later = Revision::new(4, stack.clone(), "key", Timestamp(1));
        later.version = Revision::VERSION + 1;
        let text = |revision: &Revision| serde_json::to_string(revision).unwrap();
        let good = text(&Revision::new(2, stack, "key", Timestamp(1)));
        let mut records = Records::default();
        for volume in [
            volume("r2", &[(mark::REVISION, "2"), (mark::RECORD, &good)]),
            volume("r3", &[(mark::REVISION, "3"), (mark::RECORD, "{")]),
            volume("r4", &[(mark::REVISION, "4"), (mark::RECORD, &text(&later))]),
            volume("doing", &[(mark::DOING, "[]")]),
            volume("other", &[("windflow.something", "1")]),
        ] {
            records.take(&volume);
        }
        assert_eq!(records.revisions.iter().map(|revision| revision.number).collect::<Vec<_>>(), [2]);
        assert_eq!((records.highest, &records.doing), (4, &None));
        let told: Vec<(&str, bool)> =
            records.unreadable.iter().map(|record| (record.name.as_str(), record.is_needed)).collect();
        assert_eq!(told, [("r3", false), ("r4", false), ("doing", true), ("other", false)]);
        assert!(records.unreadable[1].note().contains("the record r4 cannot be read"), "{:?}", records.unreadable);
        assert!(records.unreadable[1].why.contains("version 2"), "{:?}", records.unreadable);
    }
}
