//! What we keep on record in the Swarm itself, as configs: the revisions of a stack, what an apply is doing, what was
//! taken over.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::errors::Error;
use bollard::models::{Config, ConfigSpec};
use serde::{Deserialize, Serialize};
use windflow_core::StackName;
use windflow_core::target::{Context, Revision, Stack, TargetError, TargetErrorKind};

use super::SwarmTarget;
use super::names;
use crate::engine::doing::Doing;
use crate::engine::mark;
use crate::engine::staged::Staged;

/// How many revisions are kept.
const KEPT: usize = 10;
/// How many numbers may be taken before it is given up: another writer has one or two.
const TRIES: u64 = 20;
/// The most a config may hold, by the Swarm's own rule.
pub(super) const LARGEST: usize = 500 * 1024;

/// What is larger than this is kept compressed.
const ROOMY: usize = 400 * 1024;
/// What compressed data starts with, and JSON never does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The record of what is staged.
const STAGED: &str = "staged";

/// The record of what was taken over.
pub(super) const ADOPTED: &str = "adopted";

/// Networks and volumes that were there before us: they cannot be labelled, so it is kept which they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adopted {
    /// The id of each network, by the stack's name for it.
    pub networks: BTreeMap<String, String>,
    /// What each volume is really called, by the stack's name for it.
    #[serde(default)]
    pub volumes: BTreeMap<String, String>,
}

/// Everything on record about a stack.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    /// The revisions, oldest first, each with the id of its config.
    pub revisions: Vec<(String, Revision)>,
    pub doing: Option<(String, Doing)>,
    /// What is staged, or was until it was promoted, with the id of its config.
    pub last_staged: Option<(String, Staged)>,
    pub adopted: Adopted,
    /// The id of the record of that, even where it cannot be read.
    pub adopted_id: Option<String>,
    /// The ids of all of them.
    pub ids: Vec<String>,
    /// What cannot be read, in a person's words.
    pub unreadable: Vec<String>,
    /// The same of what is staged: without it nobody knows which sets count.
    pub lost_staged: Option<String>,
    /// The highest number that a record of a revision has, whether it can be read or not.
    pub highest: u64,
}

impl Records {
    pub fn read(configs: &[Config]) -> Self {
        let mut records = Self::default();
        for config in configs {
            let (Some(id), Some(spec)) = (&config.id, &config.spec) else { continue };
            let Some(kind) = spec.labels.as_ref().and_then(|labels| labels.get(mark::RECORD)) else { continue };
            records.ids.push(id.clone());
            let number = spec.labels.as_ref().and_then(|labels| labels.get(mark::REVISION)?.parse().ok());
            records.highest = records.highest.max(number.unwrap_or(0));
            let name = spec.name.clone().unwrap_or_default();
            if let Err(why) = records.take(kind, id, spec) {
                let told = format!("the record {name}: {why}");
                records.lost_staged = records.lost_staged.or((kind == STAGED).then(|| told.clone()));
                records.unreadable.push(told);
            }
        }
        records.revisions.sort_by_key(|(_, revision)| revision.number);
        records
    }

    fn take(&mut self, kind: &str, id: &str, spec: &ConfigSpec) -> Result<(), String> {
        let data = unpacked(data(spec).ok_or("it has no data")?).map_err(|error| error.to_string())?;
        let wrong = |error: serde_json::Error| error.to_string();
        match kind {
            "revision" => {
                let revision: Revision = serde_json::from_slice(&data).map_err(wrong)?;
                self.revisions.push((id.to_owned(), revision));
            }
            "doing" => self.doing = Some((id.to_owned(), serde_json::from_slice(&data).map_err(wrong)?)),
            STAGED => self.last_staged = Some((id.to_owned(), serde_json::from_slice(&data).map_err(wrong)?)),
            ADOPTED => {
                self.adopted_id = Some(id.to_owned());
                self.adopted = serde_json::from_slice(&data).map_err(wrong)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What an apply that fails goes back to: where the newest record cannot be read, an older one is not what ran.
    pub fn base(&self) -> Option<&Revision> {
        self.current().filter(|current| current.number >= self.highest)
    }

    /// Whether nothing says what it was that runs. What a first apply that was cut has left never was what should be there.
    pub fn are_lost(&self) -> bool {
        let is_first = self.highest == 0 && self.doing.is_some();
        self.base().is_none() && !is_first
    }

    /// What is staged.
    pub fn staged(&self) -> Option<&Staged> {
        let number = self.current().map(|current| current.number);
        let staged = self.last_staged.as_ref().map(|(_, staged)| staged);
        // One that was cut when it had just been promoted is current.
        staged.filter(|staged| number.is_some_and(|number| number < staged.revision.number))
    }

    /// Whether what was staged is current, and its record was left by a cut.
    pub fn is_promoted(&self) -> bool {
        self.last_staged.is_some() && self.staged().is_none()
    }

    /// What was applied last: what is staged, else what is current.
    pub fn latest(&self) -> Option<&Revision> {
        self.staged().map(|staged| &staged.revision).or(self.current())
    }

    pub fn current(&self) -> Option<&Revision> {
        self.revisions.last().map(|(_, revision)| revision)
    }
}

/// The data of a config as bytes.
pub(super) fn data(spec: &ConfigSpec) -> Option<Vec<u8>> {
    STANDARD.decode(spec.data.as_deref()?).ok()
}

/// The data of a record as it is kept: as it is, or smaller.
fn packed(data: Vec<u8>) -> Vec<u8> {
    if data.len() <= ROOMY {
        return data;
    }
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory does not fail; if it did, the Swarm would refuse what is too large.
    match packer.write_all(&data).and_then(|()| packer.finish()) {
        Ok(packed) => packed,
        Err(_) => data,
    }
}

fn unpacked(data: Vec<u8>) -> io::Result<Vec<u8>> {
    if !data.starts_with(&GZIP) {
        return Ok(data);
    }
    let mut unpacked = Vec::new();
    // Nothing of ours is larger: a record of somebody else's making must not fill the memory.
    let most = 64 * 1024 * 1024;
    flate2::read::GzDecoder::new(&*data).take(most).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

pub(super) fn encoded(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// Whether somebody has that name already.
pub(super) fn is_taken(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

impl SwarmTarget {
    fn record_spec(&self, stack: &StackName, name: &str, kind: &str, data: &[u8]) -> ConfigSpec {
        let mut labels: HashMap<String, String> = mark::labels(&self.config.owner, stack);
        labels.insert(mark::RECORD.to_owned(), kind.to_owned());
        ConfigSpec {
            name: Some(names::record(&self.config.owner, stack.as_str(), name)),
            labels: Some(labels),
            data: Some(encoded(data)),
            templating: None,
        }
    }

    /// What a revision of this stack would take; refused beyond what a config may hold.
    pub(super) fn check_size(&self, stack: &Stack) -> Result<(), TargetError> {
        // Beside the stack there are a number, a hash, a key.
        let bytes = packed(serde_json::to_vec(stack).unwrap_or_default()).len() + 4096;
        if bytes < LARGEST {
            return Ok(());
        }
        let what = format!("a revision of it takes {} KiB, and a Swarm keeps at most 500", bytes / 1024);
        Err(self
            .error(&stack.name, TargetErrorKind::Refused, what)
            .with_hint("move large contents of configs out of the stack, into an image or a config that is external"))
    }

    /// Makes this stack a revision, the current one. The Swarm gives each name once: two writers get two numbers.
    pub(super) async fn record_revision(
        &self,
        cx: &Context,
        stack: &Stack,
        before: &Records,
        adopted: bool,
    ) -> Result<Revision, TargetError> {
        let first = before.current().map_or(1, |current| current.number + 1);
        let mut number = first;
        let revision = loop {
            let mut revision = Revision::new(number, stack.clone(), cx.key(), cx.clock().now());
            revision.adopted = adopted;
            match self.write_revision(&revision).await? {
                false if number < first + TRIES => number += 1,
                true => break revision,
                false => {
                    let what = "somebody else records revisions of it all the time";
                    return Err(self.error(&stack.name, TargetErrorKind::Conflict, what).with_hint("plan again"));
                }
            }
        };
        self.drop_oldest(before).await?;
        Ok(revision)
    }

    /// Makes what was staged current, under the number it has.
    pub(super) async fn record_staged(&self, revision: &Revision, before: &Records) -> Result<(), TargetError> {
        if before.revisions.iter().any(|(_, found)| found.number == revision.number) {
            return Ok(());
        }
        if !self.write_revision(revision).await? {
            let what = format!("somebody else has recorded a revision {} just now", revision.number);
            let error = self.error(&revision.stack.name, TargetErrorKind::Conflict, what);
            return Err(error.with_hint("see what is there with `status`"));
        }
        self.drop_oldest(before).await
    }

    /// Records a revision under its number. False where another has that number.
    async fn write_revision(&self, revision: &Revision) -> Result<bool, TargetError> {
        let docker = self.engine.docker().await?;
        let number = revision.number;
        let data = packed(serde_json::to_vec(revision).unwrap_or_default());
        let mut spec = self.record_spec(&revision.stack.name, &format!("r{number}"), "revision", &data);
        if let Some(labels) = &mut spec.labels {
            labels.insert(mark::REVISION.to_owned(), number.to_string());
        }
        match self.engine.call(docker.create_config(spec)).await {
            Err(error) if is_taken(&error) => Ok(false),
            done => {
                let what = format!("recording revision {number}");
                self.engine.tell(&what, std::future::ready(done)).await.map(|_| true)
            }
        }
    }

    async fn drop_oldest(&self, before: &Records) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let over = (before.revisions.len() + 1).saturating_sub(KEPT);
        for (id, _) in before.revisions.iter().take(over) {
            self.engine.remove("removing an old revision", docker.delete_config(id)).await?;
        }
        Ok(())
    }

    /// Writes down what is staged.
    pub(super) async fn write_staged(&self, staged: &Staged) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let stack = &staged.revision.stack.name;
        let data = packed(serde_json::to_vec(staged).unwrap_or_default());
        let spec = self.record_spec(stack, STAGED, STAGED, &data);
        match self.engine.call(docker.create_config(spec)).await {
            Err(error) if is_taken(&error) => {
                // What was asked for just before a cut may have come about only now.
                let found = self.records(stack).await?.last_staged.map(|(_, found)| found);
                if found.is_some_and(|found| found.revision.stack == staged.revision.stack) {
                    return Ok(());
                }
                let what = "somebody else has staged another revision just now";
                Err(self.error(stack, TargetErrorKind::Conflict, what).with_hint("see what is there with `status`"))
            }
            done => {
                let what = format!("writing down that revision {} is staged", staged.revision.number);
                self.engine.tell(&what, std::future::ready(done)).await.map(|_| ())
            }
        }
    }

    /// Nothing is staged any more.
    pub(super) async fn forget_staged(&self, records: &Records) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        match &records.last_staged {
            Some((id, _)) => self.engine.remove("ending what was staged", docker.delete_config(id)).await,
            None => Ok(()),
        }
    }

    /// Writes down what is being done, so that whoever comes after a cut knows it for their own.
    pub(super) async fn note(&self, stack: &StackName, doing: &Doing, before: &Records) -> Result<(), TargetError> {
        if before.doing.as_ref().is_some_and(|(_, found)| found == doing) {
            return Ok(());
        }
        let docker = self.engine.docker().await?;
        if let Some((id, _)) = &before.doing {
            self.engine.remove("removing what an earlier apply intended", docker.delete_config(id)).await?;
        }
        let data = serde_json::to_vec(doing).unwrap_or_default();
        let spec = self.record_spec(stack, "doing", "doing", &data);
        match self.engine.call(docker.create_config(spec)).await {
            Err(error) if is_taken(&error) => {
                // What was asked for just before a cut may have come about only now.
                if self.records(stack).await?.doing.is_some_and(|(_, found)| found == *doing) {
                    return Ok(());
                }
                let what = "another apply of this stack has just begun";
                Err(self.error(stack, TargetErrorKind::Conflict, what).with_hint("wait for it, then plan again"))
            }
            done => self.engine.tell("writing down what is being done", std::future::ready(done)).await.map(|_| ()),
        }
    }

    /// Nothing is being done any more.
    pub(super) async fn done(&self, stack: &StackName, doing: &Doing) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let records = self.records(stack).await?;
        match records.doing.filter(|(_, found)| found == doing) {
            Some((id, _)) => self.engine.remove("ending the record of the apply", docker.delete_config(&id)).await,
            None => Ok(()),
        }
    }

    /// Keeps which networks and volumes were there before us. A record that an adoption that was cut has left may name what
    /// has gone since: nothing is current by it, and it is written anew.
    pub(super) async fn keep_adopted(&self, stack: &StackName, adopted: &Adopted) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let data = serde_json::to_vec(adopted).unwrap_or_default();
        let spec = self.record_spec(stack, ADOPTED, ADOPTED, &data);
        let what = "recording what is taken over";
        match self.engine.call(docker.create_config(spec.clone())).await {
            Err(error) if is_taken(&error) => {}
            done => return self.engine.tell(what, std::future::ready(done)).await.map(|_| ()),
        }
        let records = self.records(stack).await?;
        match records.adopted_id.as_ref().filter(|_| records.adopted != *adopted) {
            None => Ok(()),
            Some(_) if records.current().is_some() => {
                let what = "somebody else has taken over this stack just now";
                Err(self.error(stack, TargetErrorKind::Conflict, what).with_hint("see what is there with `status`"))
            }
            Some(id) => {
                self.engine.remove(what, docker.delete_config(id)).await?;
                self.engine.tell(what, docker.create_config(spec)).await.map(|_| ())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windflow_core::target::{EnvValue, Service};
    use windflow_core::{ContentHash, Timestamp};

    fn kept(revision: &Revision) -> Config {
        let data = packed(serde_json::to_vec(revision).unwrap());
        let labels = HashMap::from([(mark::RECORD.to_owned(), "revision".to_owned())]);
        let name = Some(format!("r{}", revision.number));
        let spec = ConfigSpec { name, labels: Some(labels), data: Some(encoded(&data)), templating: None };
        Config { id: Some(format!("id{}", revision.number)), spec: Some(spec), ..Config::default() }
    }

    #[test]
    fn revisions_are_read_in_order_large_ones_too_and_a_damaged_one_is_named() {
        let mut large = Service::default();
        large.environment.insert("TEXT".to_owned(), EnvValue::Plain("text ".repeat(200_000)));
        let services = [("one".parse().unwrap(), large)].into();
        let stack = Stack::new(StackName::new("shop").unwrap(), services);
        let revision = |number, stack: &Stack| Revision::new(number, stack.clone(), "key", Timestamp(1));
        let small = Stack::new(stack.name.clone(), BTreeMap::new());
        let mut damaged = kept(&revision(3, &small));
        damaged.spec.as_mut().unwrap().data = Some(encoded(b"{"));
        let all = [kept(&revision(10, &stack)), kept(&revision(2, &small)), damaged];
        assert!(all[0].spec.as_ref().unwrap().data.as_ref().unwrap().len() < LARGEST, "a megabyte of text fits");
        let records = Records::read(&all);
        let numbers: Vec<u64> = records.revisions.iter().map(|(_, revision)| revision.number).collect();
        assert_eq!(numbers, [2, 10]);
        assert_eq!(records.current().unwrap().stack, stack);
        assert!(records.unreadable[0].starts_with("the record r3: "), "{:?}", records.unreadable);
    }

    #[test]
    fn an_older_revision_is_not_what_an_unreadable_newest_one_was() {
        let small = Stack::new(StackName::new("shop").unwrap(), BTreeMap::new());
        let numbered = |number: u64, data: Option<&[u8]>| {
            let mut config = kept(&Revision::new(number, small.clone(), "key", Timestamp(1)));
            let spec = config.spec.as_mut().unwrap();
            spec.labels.as_mut().unwrap().insert(mark::REVISION.to_owned(), number.to_string());
            spec.data = data.map(encoded).or(spec.data.take());
            config
        };
        let whole = Records::read(&[numbered(1, None), numbered(2, None)]);
        assert_eq!((whole.base().map(|base| base.number), whole.are_lost()), (Some(2), false));
        let mut damaged = Records::read(&[numbered(1, None), numbered(2, Some(b"{"))]);
        assert_eq!((damaged.current().map(|current| current.number), damaged.base()), (Some(1), None));
        let doing = Doing { intent: ContentHash::of(b"it"), key: "key".to_owned(), decides: false };
        damaged.doing = Some(("id".to_owned(), doing.clone()));
        assert!(damaged.are_lost(), "an update that goes on after a cut takes nothing down either");
        let first = Records { doing: Some(("id".to_owned(), doing)), ..Records::default() };
        assert!(!first.are_lost() && Records::default().are_lost());
    }
}
