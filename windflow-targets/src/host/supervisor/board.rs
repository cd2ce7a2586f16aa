//! Where every keeper writes how its instance is, and reads how the others are.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use windflow_core::ServiceName;
use windflow_core::target::{Condition, Dependency, Health};

use super::super::layout::StackDir;
use super::super::state::{InstanceState, StackState};
use super::super::transport::write_file;
use super::entry::complain;
use super::hold::Hold;

/// When a state that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The state of the stack. What is told outside is on disk first, so that nobody reads there less than they were told.
#[derive(Clone, Debug)]
pub(super) struct Board {
    live: watch::Sender<StackState>,
    told: watch::Sender<StackState>,
}

impl Board {
    pub fn new(state: StackState) -> Self {
        Self { live: watch::Sender::new(state), told: watch::Sender::new(StackState::default()) }
    }

    pub fn edit(&self, edit: impl FnOnce(&mut StackState)) {
        self.live.send_if_modified(|state| {
            let before = state.clone();
            edit(state);
            *state != before
        });
    }

    pub fn edit_instance(&self, service: &ServiceName, instance: u32, edit: impl FnOnce(&mut InstanceState)) {
        self.edit(|state| edit(state.services.entry(service.clone()).or_default().entry(instance).or_default()));
    }

    pub fn remove(&self, service: &ServiceName, instance: u32) {
        self.edit(|state| {
            if let Some(instances) = state.services.get_mut(service) {
                instances.remove(&instance);
                if instances.is_empty() {
                    state.services.remove(service);
                }
            }
        });
    }

    pub fn read<R>(&self, read: impl FnOnce(&StackState) -> R) -> R {
        read(&self.live.borrow())
    }

    pub fn health(&self, service: &ServiceName, instance: u32) -> Option<Health> {
        self.read(|state| Some(state.services.get(service)?.get(&instance)?.health.clone()))
    }

    /// What is on disk, now and whenever it changes.
    pub fn told(&self) -> watch::Receiver<StackState> {
        self.told.subscribe()
    }

    /// Returns when the conditions hold.
    pub async fn meets<'a>(&self, conditions: impl Iterator<Item = (&'a ServiceName, &'a Dependency)> + Clone) {
        let mut changes = self.live.subscribe();
        // The sender lives in `self`: waiting ends only because the conditions hold.
        let _ = changes.wait_for(|state| conditions.clone().all(|(need, how)| holds(state, need, how))).await;
    }

    /// Writes each change to disk and then tells it; runs until it is dropped.
    pub async fn publish(self, dir: StackDir, hold: Hold) {
        let mut changes = self.live.subscribe();
        changes.mark_changed();
        let mut written = true;
        loop {
            // What could not be written is tried again, also when nothing changes any more.
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep(AGAIN), if !written => {}
            }
            let state = changes.borrow_and_update().clone();
            // Where another supervisor may be at work, the file is its own; once it is ours again, it is written.
            written = hold.is_ours() && {
                let bytes = serde_json::to_vec(&state).unwrap_or_default();
                // Not flushed: what it says holds only within this boot of the machine.
                let done = write_file(&dir.state(), &bytes, false);
                if let (Err(error), true) = (&done, written) {
                    complain(dir.path(), &format!("the state cannot be written: {error}"));
                }
                done.is_ok()
            };
            self.told.send_if_modified(|told| std::mem::replace(told, state.clone()) != state);
        }
    }
}

fn holds(state: &StackState, need: &ServiceName, how: &Dependency) -> bool {
    let Some(instances) = state.services.get(need) else { return !how.required };
    instances.values().all(|instance| match how.condition {
        Condition::ServiceStarted => instance.process.is_some() || instance.health == Health::Completed,
        Condition::ServiceHealthy => instance.health.is_ready(),
        Condition::ServiceCompletedSuccessfully => instance.health == Health::Completed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_holds_when_every_instance_meets_it() {
        let name = ServiceName::new("db").unwrap();
        let dependency = |condition, required| Dependency { condition, required, restart: false };
        let mut state = StackState::default();
        assert!(!holds(&state, &name, &dependency(Condition::ServiceStarted, true)));
        assert!(holds(&state, &name, &dependency(Condition::ServiceStarted, false)));
        let up = InstanceState { health: Health::Healthy, ..InstanceState::default() };
        state.services.insert(name.clone(), [(0, up), (1, InstanceState::default())].into());
        assert!(!holds(&state, &name, &dependency(Condition::ServiceHealthy, true)));
        for instance in state.services.values_mut().flat_map(|instances| instances.values_mut()) {
            instance.health = Health::Completed;
        }
        for condition in [Condition::ServiceHealthy, Condition::ServiceCompletedSuccessfully, Condition::ServiceStarted]
        {
            assert!(holds(&state, &name, &dependency(condition, true)));
        }
    }
}
