//! A revision that is staged, as both kinds keep it on record and tell of it. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windflow_core::target::{
    Applied, Change, ChangeKind, MountKind, Order, Plan, Revision, Service, Stack, Strategy, TargetError,
    TargetErrorKind, diff,
};
use windflow_core::{ServiceName, StackName, TargetName, Timestamp};

/// A revision that runs and has the traffic, beside the one that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staged {
    /// As it will be recorded when it is promoted.
    pub revision: Revision,
    /// The revision beside it.
    pub kept: u64,
    pub since: Timestamp,
    /// When it is promoted by itself.
    pub until: Option<Timestamp>,
    /// The services that have two sets.
    #[serde(default)]
    pub services: BTreeSet<ServiceName>,
    /// What their new sets are marked with, where they are.
    #[serde(default)]
    pub mark: String,
}

/// What a stack means while another is staged.
pub(crate) enum Meant<'a> {
    /// The staged revision.
    Staged,
    /// The one that is kept: what is staged is aborted.
    Kept(&'a Revision),
    /// Another.
    Other,
}

impl Staged {
    /// This revision, watched for as long as these of its services ask, which have two sets.
    pub fn new(revision: Revision, kept: u64, services: BTreeSet<ServiceName>, mark: String) -> Self {
        let since = revision.at;
        let asks = services.iter().filter_map(|name| revision.stack.services.get(name));
        // Where one waits for somebody's word, all do.
        let times: Option<Vec<_>> = asks.map(|service| service.rollout.as_ref()?.bake).collect();
        let until = times.and_then(|times| times.into_iter().max()).map(|longest| since.after(longest));
        Self { revision, kept, since, until, services, mark }
    }

    /// What this stack means beside it.
    pub fn meant<'a>(&self, stack: &Stack, current: Option<&'a Revision>) -> Meant<'a> {
        match current {
            _ if *stack == self.revision.stack => Meant::Staged,
            Some(current) if *stack == current.stack => Meant::Kept(current),
            _ if diff::is_revision(stack, &self.revision) => Meant::Staged,
            Some(current) if diff::is_revision(stack, current) => Meant::Kept(current),
            _ => Meant::Other,
        }
    }

    /// What an apply has come to that finds nothing to do.
    pub fn again(&self, plan: &Plan, key: &str) -> Applied {
        match !plan.is_empty() && self.revision.key == key {
            true => Applied::Staged { revision: self.revision.number, kept: self.kept },
            false => Applied::Nothing,
        }
    }

    /// Another stack has to wait.
    pub fn in_the_way(&self, target: &TargetName) -> TargetError {
        let (number, name) = (self.revision.number, &self.revision.stack.name);
        let what = format!("revision {number} is baking, and revision {} is kept until it is promoted", self.kept);
        TargetError::new(target, TargetErrorKind::Conflict, what)
            .in_stack(name)
            .with_hint(format!("first `windflow promote {name}` or `windflow abort {name}`"))
    }

    /// What a plan says where nothing is left of what is kept of a service.
    pub fn told_lost(name: &ServiceName) -> String {
        format!("rollout: what is kept of {name} is not there any more: an abort makes it anew")
    }

    /// What a plan says of what is staged already.
    pub fn plan(&self, plan: &mut Plan, stack: &Stack, current: Option<&Revision>) -> Result<(), TargetError> {
        let (number, kept) = (self.revision.number, self.kept);
        match self.meant(stack, current) {
            Meant::Other => return Err(self.in_the_way(&plan.target)),
            Meant::Kept(_) => {
                let note =
                    format!("revision {number} is aborted: revision {kept}, kept beside it, gets the traffic back");
                plan.changes.insert(0, line(note));
            }
            Meant::Staged => {
                let name = &stack.name;
                let told = format!("baking, green revision {number}, blue revision {kept} kept until promoted");
                let how = match self.until {
                    Some(until) => format!("an apply watches it until {until}, then promotes it"),
                    None => format!("`windflow promote {name}` or `windflow abort {name}`"),
                };
                plan.degradations.push(format!("rollout: {told}: {how}"));
            }
        }
        Ok(())
    }

    /// What an apply of it does about it, beside these changes: it may be ill, without its names, or watched further.
    pub fn changes(&self, changes: &mut Vec<Change>, sick: Option<String>, is_led_over: bool) {
        changes.retain(|change| change.path != "revision");
        let number = self.revision.number;
        if let Some(why) = sick {
            *changes = vec![line(format!("revision {number} is aborted: {why}"))];
        } else if changes.is_empty() && !is_led_over {
            changes.push(line(format!("revision {number} has not got all of the traffic yet: its names are led over")));
        } else if let (true, Some(until)) = (changes.is_empty(), self.until) {
            changes.push(line(format!("revision {number} bakes until {until}: it is watched, then promoted")));
        }
    }

    /// What has become of it where somebody else has decided; nothing when that cannot be told.
    pub fn decided(&self, current: Option<&Revision>) -> Option<Applied> {
        match current?.number {
            number if number == self.revision.number => Some(Applied::Revision(Some(number))),
            number if number == self.kept => {
                Some(Applied::RolledBack { to: Some(number), why: "it was aborted".to_owned() })
            }
            _ => None,
        }
    }

    /// Somebody does not wait until it is promoted by itself.
    pub fn stopped(&self, target: &TargetName) -> TargetError {
        TargetError::new(target, TargetErrorKind::Cancelled, "stopped while what is staged is baking")
            .in_stack(&self.revision.stack.name)
            .with_hint("apply again to go on, or promote or abort it")
    }
}

fn line(note: String) -> Change {
    Change::new(ChangeKind::Update, "rollout").note(note)
}

/// There is nothing to promote or abort, and an apply may come to stage something.
pub(crate) fn nothing_staged_yet(target: &TargetName, stack: &StackName) -> TargetError {
    let what = "nothing is staged yet, and an apply is under way or was cut off";
    TargetError::new(target, TargetErrorKind::Conflict, what)
        .in_stack(stack)
        .with_hint("apply the same again, and decide then; or apply what is current to take it back")
}

pub(crate) fn is_blue_green(service: &Service) -> bool {
    service.rollout.as_ref().and_then(|rollout| rollout.strategy) == Some(Strategy::BlueGreen)
}

/// Why something can be had by one set only, and what to do.
pub(crate) fn for_one_only(why: &str) -> String {
    format!("{why}: with 'blue_green' two sets stand beside each other; 'recreate' needs one only")
}

/// What keeps two sets of a service from standing beside each other, by path within it.
pub(crate) fn obstacles(service: &Service) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if !is_blue_green(service) {
        return found;
    }
    let mut say = |path: String, why: &str| found.push((path, for_one_only(why)));
    for (n, port) in service.ports.iter().enumerate() {
        if let Some(published) = port.published {
            say(format!("ports[{n}]"), &format!("port {published} can be published by one set only"));
        }
    }
    if service.mode.is_job() {
        say("mode".to_owned(), "what runs once to its end is replaced by nothing");
    }
    let agreed = service.update_config.as_ref().and_then(|update| update.order) == Some(Order::StartFirst);
    for (n, mount) in service.volumes.iter().enumerate().filter(|_| !agreed) {
        let shared = matches!(mount.kind, MountKind::Volume | MountKind::Bind) && mount.source.is_some();
        if shared && !mount.read_only {
            let why = "both would write to it, which 'update_config: { order: start-first }' agrees to";
            say(format!("volumes[{n}]"), why);
        }
    }
    found
}
