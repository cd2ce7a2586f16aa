//! What a memory target keeps, and the trouble a test may script.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::memory::MEMORY_HEALTH_LABEL;
use super::{
    Baking, Capabilities, Endpoint, Health, LogLine, Observed, ObservedInstance, ObservedService, Revision, Service,
    Stack, diff,
};
use crate::hash::ContentHash;
use crate::id::{OwnerId, ServiceName, StackName};
use crate::time::Timestamp;

/// How many revisions a target keeps.
const KEPT: usize = 10;

/// A revision whose services are there, and which is not current yet.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub revision: Revision,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}

/// One stack as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Deployed {
    pub services: BTreeMap<ServiceName, Service>,
    pub revisions: Vec<Revision>,
    pub current: Option<u64>,
    /// The intent that is being applied, and its key.
    pub doing: Option<(ContentHash, String)>,
    /// What waits to be promoted.
    pub staged: Option<Staged>,
    pub log: Vec<LogLine>,
}

impl Deployed {
    pub fn observed(&self, capabilities: &Capabilities) -> Observed {
        let mut observed = Observed::absent();
        observed.current = self.revisions.iter().find(|kept| Some(kept.number) == self.current).cloned();
        observed.staged = self.staged.as_ref().map(|staged| staged.revision.clone());
        observed.baking = self.staged.as_ref().map(|staged| Baking::new(staged.since, staged.until));
        for (name, service) in &self.services {
            let health = health_of(service);
            let mut found = ObservedService::new(diff::owned_spec(service, capabilities), health.clone());
            let one = |n: u32| ObservedInstance::new(format!("{name}-{n}"), health.clone());
            found.instances = (0..service.replicas.0).map(one).collect();
            found.endpoints = service
                .ports
                .iter()
                .map(|port| Endpoint {
                    host: "memory".to_owned(),
                    port: port.published.unwrap_or(port.target),
                    protocol: port.protocol.clone(),
                })
                .collect();
            observed.services.insert(name.clone(), found);
        }
        observed
    }

    /// Makes this stack a revision, the current one.
    pub fn record(&mut self, stack: &Stack, key: &str, at: Timestamp, adopted: bool) -> u64 {
        let number = self.revisions.last().map_or(1, |last| last.number + 1);
        let mut revision = Revision::new(number, stack.clone(), key, at);
        revision.adopted = adopted;
        self.revisions.push(revision);
        self.revisions.drain(..self.revisions.len().saturating_sub(KEPT));
        (self.current, self.doing) = (Some(number), None);
        number
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.revisions.is_empty() && self.doing.is_none()
    }
}

fn health_of(service: &Service) -> Health {
    match service.labels.get(MEMORY_HEALTH_LABEL).map(String::as_str) {
        Some("starting") => Health::Starting,
        Some("unhealthy") => Health::Unhealthy { why: "its label says so".to_owned() },
        Some("completed") => Health::Completed,
        Some("failed") => Health::Failed { why: "it ended with exit code 1, as its label says".to_owned() },
        _ => Health::Healthy,
    }
}

#[derive(Debug, Default)]
struct Inner {
    stacks: BTreeMap<(OwnerId, StackName), Deployed>,
    mutations: u64,
    fail_at: Option<u64>,
    cut_at: Option<u64>,
    unreachable: bool,
}

/// Everything there is, of all owners.
pub(super) struct World {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

impl Default for World {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// What a scripted fault does to one call.
pub(super) struct Fault {
    pub fails: bool,
    pub cut: bool,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn read<R>(&self, owner: &OwnerId, stack: &StackName, read: impl FnOnce(&Deployed) -> R) -> R {
        let inner = self.lock();
        match inner.stacks.get(&(owner.clone(), stack.clone())) {
            Some(deployed) => read(deployed),
            None => read(&Deployed::default()),
        }
    }

    pub fn edit<R>(&self, owner: &OwnerId, stack: &StackName, edit: impl FnOnce(&mut Deployed) -> R) -> R {
        let mut inner = self.lock();
        let key = (owner.clone(), stack.clone());
        let deployed = inner.stacks.entry(key.clone()).or_default();
        let done = edit(deployed);
        if deployed.is_empty() {
            inner.stacks.remove(&key);
        }
        drop(inner);
        self.changed.send_replace(());
        done
    }

    pub fn take(&self, owner: &OwnerId, stack: &StackName) -> Option<BTreeMap<ServiceName, Service>> {
        self.lock().stacks.remove(&(owner.clone(), stack.clone())).map(|deployed| deployed.services)
    }

    pub fn stacks(&self, owner: &OwnerId) -> Vec<StackName> {
        let inner = self.lock();
        inner.stacks.keys().filter(|(theirs, _)| theirs == owner).map(|(_, name)| name.clone()).collect()
    }

    pub fn foreign(&self, owner: &OwnerId) -> Vec<(String, StackName, Vec<String>)> {
        let inner = self.lock();
        let others = inner.stacks.iter().filter(|((theirs, _), _)| theirs != owner);
        others
            .map(|((owner, name), deployed)| {
                (owner.to_string(), name.clone(), deployed.services.keys().map(ToString::to_string).collect())
            })
            .collect()
    }

    pub fn count_mutation(&self) -> Fault {
        let mut inner = self.lock();
        inner.mutations += 1;
        let now = Some(inner.mutations);
        Fault { fails: inner.fail_at == now, cut: inner.cut_at == now }
    }

    pub fn mutations(&self) -> u64 {
        self.lock().mutations
    }

    pub fn is_reachable(&self) -> bool {
        !self.lock().unreachable
    }

    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Scripted trouble of a [`MemoryTarget`](super::MemoryTarget).
#[derive(Clone, Debug)]
pub struct MemoryFaults(pub(super) Arc<World>);

impl MemoryFaults {
    /// The `n`-th mutating call from now fails before it does anything.
    pub fn fail_at(&self, n: u64) {
        let mut inner = self.0.lock();
        inner.fail_at = Some(inner.mutations + n);
    }

    /// The `n`-th mutating call from now happens, and its answer is lost.
    pub fn cut_at(&self, n: u64) {
        let mut inner = self.0.lock();
        inner.cut_at = Some(inner.mutations + n);
    }

    /// Ends all trouble.
    pub fn heal(&self) {
        let mut inner = self.0.lock();
        (inner.fail_at, inner.cut_at, inner.unreachable) = (None, None, false);
        drop(inner);
        self.0.changed.send_replace(());
    }

    /// Whether the target answers at all.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.0.lock().unreachable = unreachable;
        self.0.changed.send_replace(());
    }
}
