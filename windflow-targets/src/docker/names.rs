//! What things of a stack are called on the engine: for people, and for nothing else. What is ours is found by its labels,
//! so that another name will do where the first choice is somebody else's.

use windflow_core::target::{Stack, Volume};
use windflow_core::{ContentHash, OwnerId, ServiceName, StackName};

/// The engine's names start with a letter or a digit.
fn clean(name: String) -> String {
    if name.starts_with(|first: char| first.is_ascii_alphanumeric()) { name } else { format!("wf{name}") }
}

pub(super) fn container(stack: &StackName, service: &ServiceName, instance: u32) -> String {
    clean(format!("{stack}-{service}-{instance}"))
}

/// What a shared part is called unless it says otherwise itself.
pub(super) fn part(stack: &StackName, name: &str) -> String {
    clean(format!("{stack}_{name}"))
}

/// Another name for where the first choice is taken.
pub(super) fn instead(owner: &OwnerId, name: &str) -> String {
    format!("{name}-{}", &ContentHash::of(owner.as_str().as_bytes()).short()[..6])
}

/// What a network is called that is somebody else's, or that was given a name.
pub(super) fn given_network(stack: &Stack, name: &str) -> Option<String> {
    let network = stack.networks.get(name)?;
    network.name.clone().or_else(|| network.external.then(|| name.to_owned()))
}

/// What a volume is called that is somebody else's, or that was given a name.
pub(super) fn given_volume(name: &str, volume: &Volume) -> Option<String> {
    volume.name.clone().or_else(|| volume.external.then(|| name.to_owned()))
}

/// The networks a service is on, the one joined first in front.
pub(super) fn networks_of(stack: &Stack, service: &ServiceName) -> Vec<String> {
    let Some(found) = stack.services.get(service).filter(|found| found.network_mode.is_none()) else {
        return Vec::new();
    };
    if found.networks.is_empty() {
        return vec!["default".to_owned()];
    }
    let mut all: Vec<(&String, i64)> =
        found.networks.iter().map(|(name, to)| (name, to.priority.unwrap_or(0))).collect();
    all.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
    all.into_iter().map(|(name, _)| name.clone()).collect()
}

/// The names of two stacks may look alike when they are put together with their owners': the hash tells them apart.
fn records_of(owner: &OwnerId, stack: &StackName) -> String {
    let both = ContentHash::of(format!("{owner}/{stack}").as_bytes()).short();
    format!("windflow-{owner}-{stack}-{}", &both[..6])
}

/// The volume whose labels hold a revision.
pub(super) fn revision(owner: &OwnerId, stack: &StackName, number: u64) -> String {
    format!("{}-r{number}", records_of(owner, stack))
}

/// The volume whose labels say what is being done.
pub(super) fn doing(owner: &OwnerId, stack: &StackName) -> String {
    format!("{}-doing", records_of(owner, stack))
}

/// The volume whose labels say what is staged.
pub(super) fn staged(owner: &OwnerId, stack: &StackName) -> String {
    format!("{}-staged", records_of(owner, stack))
}

/// The volume whose labels say what was taken over. Those of two turns that follow each other have different names.
pub(super) fn adoption(owner: &OwnerId, stack: &StackName, turn: u64) -> String {
    let second = if turn.is_multiple_of(2) { "" } else { "-2" };
    format!("{}-adopted{second}", records_of(owner, stack))
}
