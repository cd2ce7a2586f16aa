//! A stack: services, and what they share.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{FileObject, Network, Service, Volume};
use crate::hash::ContentHash;
use crate::id::{ServiceName, StackName};

/// A resolved stack: interpolated, merged, defaults filled in. Its hash says whether two are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// The Compose project name.
    pub name: StackName,
    /// Its members.
    pub services: BTreeMap<ServiceName, Service>,
    /// The networks that are asked for, by the name services use. A service that names none is on `default`, which is
    /// there without being written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, Network>,
    /// The volumes, by the name services use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Volume>,
    /// The configs, by the name services use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, FileObject>,
    /// The secrets, by the name services use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, FileObject>,
}

impl Stack {
    /// A stack of these services, and nothing else.
    #[must_use]
    pub fn new(name: StackName, services: BTreeMap<ServiceName, Service>) -> Self {
        Self {
            name,
            services,
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// The hash of the stack's canonical form.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        // The model holds only texts, numbers and maps with text keys: it can always be written.
        ContentHash::of_value(&serde_json::to_value(self).unwrap_or_default())
    }

    /// The services in an order in which each comes after those it depends on; the rest of a cycle comes last, in
    /// name order.
    #[must_use]
    pub fn start_order(&self) -> Vec<&ServiceName> {
        let mut order: Vec<&ServiceName> = Vec::with_capacity(self.services.len());
        let mut left: Vec<&ServiceName> = self.services.keys().collect();
        while !left.is_empty() {
            let free = |name: &&&ServiceName| self.services[**name].depends_on.keys().all(|need| !left.contains(&need));
            let ready: Vec<&ServiceName> = left.iter().filter(free).copied().collect();
            if ready.is_empty() {
                order.append(&mut left);
            } else {
                left.retain(|name| !ready.contains(name));
                order.extend(ready);
            }
        }
        order
    }

    /// This service, and every one that restarts with it: those that depend on it with `restart: true`, and on those in
    /// turn.
    #[must_use]
    pub fn restarting_with(&self, service: &ServiceName) -> BTreeSet<ServiceName> {
        let mut along = BTreeSet::from([service.clone()]);
        loop {
            let goes_along = |name: &ServiceName, found: &Service| {
                !along.contains(name) && found.depends_on.iter().any(|(need, how)| how.restart && along.contains(need))
            };
            let more = self.services.iter().filter(|(name, found)| goes_along(name, found));
            let more: Vec<ServiceName> = more.map(|(name, _)| name.clone()).collect();
            if more.is_empty() {
                return along;
            }
            along.extend(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Condition, Dependency, Replicas};
    use super::*;

    fn stack(edges: &[(&str, &[&str])]) -> Stack {
        let services = edges
            .iter()
            .map(|(name, needs)| {
                let dependency = Dependency { condition: Condition::ServiceStarted, required: true, restart: false };
                let depends_on =
                    needs.iter().map(|need| (ServiceName::new(need).unwrap(), dependency.clone())).collect();
                (ServiceName::new(name).unwrap(), Service { depends_on, ..Service::default() })
            })
            .collect();
        Stack::new(StackName::new("demo").unwrap(), services)
    }

    #[test]
    fn what_restarts_with_another_is_found_at_second_hand_and_in_circles() {
        let mut stack = stack(&[("web", &["api"]), ("api", &["db"]), ("db", &["web"]), ("other", &["db"])]);
        for name in ["web", "api", "db"] {
            let found = stack.services.get_mut(&ServiceName::new(name).unwrap()).unwrap();
            found.depends_on.values_mut().for_each(|how| how.restart = true);
        }
        let along = stack.restarting_with(&ServiceName::new("db").unwrap());
        assert_eq!(along.iter().map(ServiceName::as_str).collect::<Vec<_>>(), ["api", "db", "web"]);
    }

    #[test]
    fn services_start_after_what_they_depend_on() {
        let stack = stack(&[("a", &["c"]), ("b", &[]), ("c", &["b"]), ("d", &[])]);
        let order: Vec<&str> = stack.start_order().into_iter().map(ServiceName::as_str).collect();
        assert_eq!(order, ["b", "d", "c", "a"]);
    }

    #[test]
    fn a_stack_is_read_back_as_it_was_written_and_its_hash_follows_its_content() {
        let mut a = stack(&[("web", &["db"]), ("db", &[])]);
        let text = serde_json::to_string(&a).unwrap();
        assert_eq!(
            text,
            r#"{"name":"demo","services":{"db":{},"web":{"depends_on":{"db":{"condition":"service_started","required":true,"restart":false}}}}}"#
        );
        assert_eq!(serde_json::from_str::<Stack>(&text).unwrap(), a);
        let before = a.hash();
        a.services.values_mut().for_each(|service| service.replicas = Replicas(2));
        assert_ne!(a.hash(), before);
    }
}
