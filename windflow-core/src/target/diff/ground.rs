//! The ground a plan stands on: what was read when it was made, and whether it still holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::ContentHash;
use crate::id::{OwnerId, ServiceName, TargetName};
use crate::target::{
    Applied, Capabilities, ChangeKind, Desired, Observed, Plan, Precondition, TargetError, TargetErrorKind,
};

use super::change::changes;
use super::part::part_changes;

/// What a plan made on this has read: the spec of each service, and which stack is current.
#[must_use]
pub fn preconditions(desired: &Desired, observed: &Observed) -> Vec<Precondition> {
    let mut read =
        vec![Precondition { path: "revision".to_owned(), hash: observed.current.as_ref().map(|current| current.hash) }];
    let wanted: Vec<&ServiceName> = match desired {
        Desired::Present(stack) => stack.services.keys().collect(),
        Desired::Absent(_) => Vec::new(),
    };
    let names: BTreeSet<&ServiceName> = observed.services.keys().chain(wanted).collect();
    read.extend(names.into_iter().map(|name| Precondition {
        path: format!("services.{name}"),
        hash: observed.services.get(name).map(|service| ContentHash::of_value(&service.spec)),
    }));
    let owned = observed.parts.iter().map(|(path, spec)| (path.clone(), Some(ContentHash::of_value(spec))));
    read.extend(owned.map(|(path, hash)| Precondition { path, hash }));
    read
}

/// The paths someone else has changed since the plan was made.
#[must_use]
pub fn moved(plan: &Plan, observed: &Observed) -> Vec<String> {
    let now: BTreeMap<String, Option<ContentHash>> =
        preconditions(&plan.desired, observed).into_iter().map(|read| (read.path, read.hash)).collect();
    let planned: BTreeSet<&String> = plan.preconditions.iter().map(|read| &read.path).collect();
    let changed = plan.preconditions.iter().filter(|read| now.get(&read.path).copied().flatten() != read.hash);
    let appeared = now.iter().filter(|(path, hash)| hash.is_some() && !planned.contains(path));
    changed.map(|read| read.path.clone()).chain(appeared.map(|(path, _)| path.clone())).collect()
}

/// Refuses a plan that was made for another owner, another target, or by a later version.
///
/// # Errors
/// [`TargetErrorKind::Refused`].
pub fn check_bound(plan: &Plan, owner: &OwnerId, target: &TargetName) -> Result<(), TargetError> {
    let refused = |why: String| {
        Err(TargetError::new(target, TargetErrorKind::Refused, why)
            .in_stack(plan.desired.stack())
            .with_hint("plan again here"))
    };
    if plan.version > Plan::VERSION {
        return refused(format!("the plan is of version {}, this program knows {}", plan.version, Plan::VERSION));
    }
    if plan.owner != *owner {
        return refused(format!("the plan belongs to the owner '{}', not to '{owner}'", plan.owner));
    }
    if plan.target != *target {
        return refused(format!("the plan is for the target '{}'", plan.target));
    }
    Ok(())
}

/// Refuses a plan when someone else has changed what it was made on.
///
/// # Errors
/// [`TargetErrorKind::Conflict`], naming what was changed.
pub fn check_moved(plan: &Plan, observed: &Observed, target: &TargetName) -> Result<(), TargetError> {
    let moved = moved(plan, observed);
    if moved.is_empty() {
        return Ok(());
    }
    let message = format!("someone else has changed {} since the plan was made", moved.join(", "));
    Err(TargetError::new(target, TargetErrorKind::Conflict, message)
        .in_stack(plan.desired.stack())
        .with_hint("plan again"))
}

/// What an apply answers without doing anything: the plan is in force already.
///
/// The same plan under the same key gets the answer it got (or lost) the first time; anyone else gets
/// [`Applied::Nothing`].
#[must_use]
pub fn already(plan: &Plan, observed: &Observed, key: &str, capabilities: &Capabilities) -> Option<Applied> {
    let differs = !changes(&plan.desired, observed, capabilities, |_| ChangeKind::Update).is_empty()
        || !part_changes(&plan.desired, observed, capabilities, &plan.consents).is_empty();
    if differs {
        return None;
    }
    match &observed.current {
        Some(current) if !plan.is_empty() && current.key == key && plan.base != Some(current.number) => {
            Some(Applied::Revision(Some(current.number)))
        }
        _ => Some(Applied::Nothing),
    }
}
