//! What services share, as it is.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{Network as EngineNetwork, Volume as EngineVolume};
use serde_json::{Value, json};
use windflow_core::target::{Capabilities, Network, Volume, diff};

use crate::docker::look::Seen;
use crate::engine::mark;

/// By path within the stack.
pub(super) fn parts(seen: &Seen, capabilities: &Capabilities, retained: bool) -> BTreeMap<String, Value> {
    let mut parts = BTreeMap::new();
    // What was taken over is what it was asked to be: it says nothing about that itself.
    let told = seen.latest().map(|latest| diff::owned_parts(&latest.stack, capabilities)).unwrap_or_default();
    let as_told = |path: &String| told.get(path).cloned().unwrap_or_else(|| json!({}));
    for (path, network) in &seen.networks {
        let taken_over = seen.adopted.networks.contains_key(path);
        parts.insert(path.clone(), if taken_over { as_told(path) } else { of_network(network) });
    }
    if seen.is_alive() || retained {
        for (path, volume) in &seen.volumes {
            let taken_over = seen.adopted.volumes.contains_key(path);
            parts.insert(path.clone(), if taken_over { as_told(path) } else { of_volume(volume) });
        }
    }
    // Configs and secrets are nothing on the engine but files in containers: they are what was handed out last.
    let files = told.into_iter().filter(|(path, _)| path.starts_with("configs.") || path.starts_with("secrets."));
    parts.extend(files);
    parts
}

fn map(entries: &HashMap<String, String>) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn own_labels(labels: &HashMap<String, String>) -> BTreeMap<String, String> {
    labels.iter().filter(|(label, _)| !mark::is_ours(label)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What it was asked to be, with everything that is otherwise now put in its place.
fn of_network(live: &EngineNetwork) -> Value {
    let labels = live.labels.clone().unwrap_or_default();
    let asked: Network = labels.get(mark::SPEC).and_then(|spec| serde_json::from_str(spec).ok()).unwrap_or_default();
    let mut now = asked.clone();
    let driver = live.driver.clone().unwrap_or_default();
    if driver != asked.driver.as_deref().unwrap_or("bridge") {
        now.driver = Some(driver);
    }
    now.internal = live.internal.unwrap_or(false);
    now.attachable = live.attachable.unwrap_or(false);
    let six = live.enable_ipv6.unwrap_or(false);
    if six != asked.enable_ipv6.unwrap_or(false) {
        now.enable_ipv6 = Some(six);
    }
    now.driver_opts = map(&live.options.clone().unwrap_or_default());
    now.labels = own_labels(&labels);
    if let Some(ipam) = &asked.ipam {
        let pools = live.ipam.as_ref().and_then(|ipam| ipam.config.clone()).unwrap_or_default();
        let subnets: Vec<Option<String>> = pools.iter().map(|pool| pool.subnet.clone()).collect();
        for (n, pool) in ipam.config.iter().enumerate().filter(|(_, pool)| pool.subnet.is_some()) {
            if !subnets.contains(&pool.subnet)
                && let Some(pool) = now.ipam.as_mut().and_then(|ipam| ipam.config.get_mut(n))
            {
                pool.subnet = subnets.get(n).cloned().flatten();
            }
        }
    }
    json!(now)
}

fn of_volume(live: &EngineVolume) -> Value {
    let asked: Volume =
        live.labels.get(mark::SPEC).and_then(|spec| serde_json::from_str(spec).ok()).unwrap_or_default();
    let mut now = asked.clone();
    if live.driver != asked.driver.as_deref().unwrap_or("local") {
        now.driver = Some(live.driver.clone());
    }
    now.driver_opts = map(&live.options);
    now.labels = own_labels(&live.labels);
    json!(now)
}
