//! What would change of what services share: networks, volumes, configs, secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::change::leaves;
use crate::target::{Capabilities, Change, ChangeKind, Consents, Desired, Observed, Reversibility, Stack};

/// The parts of a stack besides its services that a target of these capabilities owns, by path: what [`Observed`]
/// carries as `parts`. What is external is nobody's of ours; the network `default` is there when a service is on it.
#[must_use]
pub fn owned_parts(stack: &Stack, capabilities: &Capabilities) -> BTreeMap<String, Value> {
    let mut parts = BTreeMap::new();
    let has = |part: &str| capabilities.stack_fields.contains(part);
    // The model holds only texts, numbers and maps with text keys: it can always be written.
    if has("networks") {
        let ours = stack.networks.iter().filter(|(_, network)| !network.external);
        parts.extend(ours.map(|(name, network)| (format!("networks.{name}"), json!(network))));
        let on_default = stack.services.values().any(|service| {
            service.network_mode.is_none() && (service.networks.is_empty() || service.networks.contains_key("default"))
        });
        if on_default && !stack.networks.contains_key("default") {
            parts.insert("networks.default".to_owned(), json!({}));
        }
    }
    if has("volumes") {
        let ours = stack.volumes.iter().filter(|(_, volume)| !volume.external);
        parts.extend(ours.map(|(name, volume)| (format!("volumes.{name}"), json!(volume))));
    }
    for (part, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
        if has(part) {
            let ours = files.iter().filter(|(_, file)| !file.is_external());
            parts.extend(ours.map(|(name, file)| (format!("{part}.{name}"), json!(file))));
        }
    }
    parts
}

/// What would change of them. A volume goes only where that was agreed to (`destroy:volume`), and cannot come back; until
/// then it is kept.
#[must_use]
pub fn part_changes(
    desired: &Desired,
    observed: &Observed,
    capabilities: &Capabilities,
    consents: &Consents,
) -> Vec<Change> {
    let wanted = match desired {
        Desired::Present(stack) => owned_parts(stack, capabilities),
        Desired::Absent(_) => BTreeMap::new(),
    };
    let mut out = Vec::new();
    let paths: BTreeSet<&String> = wanted.keys().chain(observed.parts.keys()).collect();
    for path in paths {
        let is_volume = path.starts_with("volumes.");
        match (observed.parts.get(path), wanted.get(path)) {
            (None, Some(after)) => {
                out.push(Change::new(ChangeKind::Create, path).values(None, Some(after.clone())));
            }
            (Some(_), None) if is_volume && !consents.allows_destroy("volume") => {}
            (Some(before), None) => {
                let mut change = Change::new(ChangeKind::Delete, path).values(Some(before.clone()), None);
                if is_volume {
                    change.reversibility = Reversibility::Irreversible;
                    change = change.note("what is in it is lost");
                }
                out.push(change);
            }
            (Some(before), Some(after)) => leaves(path.clone(), Some(before), Some(after), &mut |path, old, new| {
                let mut change = Change::new(ChangeKind::Replace, path).values(old.cloned(), new.cloned());
                if is_volume {
                    change.reversibility = Reversibility::Irreversible;
                    change = change.note("the volume is made anew, and what is in it is lost");
                }
                out.push(change);
            }),
            (None, None) => {}
        }
    }
    out
}
