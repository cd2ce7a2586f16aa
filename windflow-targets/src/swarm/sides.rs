//! Two sets of a service beside each other: which of them counts, and which has the service's names. Pure.
//!
//! Each set is a service of the Swarm. One that was raised beside another carries the number of the revision it was staged
//! with. Of the sets of a service the one counts that is the newest up to a certain revision: the staged one while there is
//! one, else the current one. So nothing has to be marked anew when a revision is promoted.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ServiceSpecUpdateConfigOrderEnum::{START_FIRST, STOP_FIRST};
use bollard::models::{EndpointPortConfigPublishModeEnum as Publish, Service, ServiceSpec};
use windflow_core::ServiceName;

use super::look::{Look, label, labels_of, name_of};
use super::records::Records;
use crate::engine::mark;

/// From where one looks at the sets of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sides {
    /// The number of the revision whose sets count.
    pub at: u64,
    /// The services of which this very revision has a set of its own, there or not.
    pub raised: BTreeSet<ServiceName>,
}

/// The number of the revision that a set was staged with; 0 when it never was.
pub(super) fn staged_with(service: &Service) -> u64 {
    label(labels_of(service), mark::STAGED).and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Sides {
    /// As it is by what is on record.
    pub fn of(records: &Records) -> Self {
        let staged = records.staged().map(|staged| staged.revision.number);
        Self { at: staged.unwrap_or(records.highest), raised: BTreeSet::new() }
    }

    /// The sets that count, and those beside them.
    pub fn split(&self, mut all: Vec<Service>) -> (Vec<Service>, Vec<Service>) {
        all.sort_by_key(name_of);
        let mut sets: BTreeMap<Option<ServiceName>, BTreeSet<u64>> = BTreeMap::new();
        for service in &all {
            sets.entry(name_of(service)).or_default().insert(staged_with(service));
        }
        let counts = |service: &Service| {
            let name = name_of(service);
            let with = staged_with(service);
            match name.as_ref().is_some_and(|name| self.raised.contains(name)) {
                true => with == self.at,
                false => {
                    let sets = &sets[&name];
                    // Where nothing is on record of any of them, the oldest is what ran.
                    sets.range(..=self.at).next_back().or(sets.first()) == Some(&with)
                }
            }
        };
        all.into_iter().partition(counts)
    }
}

impl Look {
    /// The same, looked at from another side.
    pub fn seen_from(&self, sides: Sides) -> Self {
        let all = self.services.iter().chain(&self.beside).cloned().collect();
        let (services, beside) = sides.split(all);
        Self { services, beside, sides, ..self.clone() }
    }

    /// The number of the revision for which this service is given a set of its own.
    pub fn raises(&self, name: &ServiceName) -> Option<u64> {
        self.sides.raised.contains(name).then_some(self.sides.at)
    }

    /// The number of a revision that is staged now.
    pub fn next_number(&self) -> u64 {
        let sets = self.services.iter().map(staged_with);
        sets.fold(self.records.highest, u64::max) + 1
    }

    /// Whether the names of what is staged lead to it, and to nothing else.
    pub fn is_led_over(&self) -> bool {
        let number = self.records.staged().map(|staged| staged.revision.number);
        let green = self.services.iter().filter(|service| Some(staged_with(service)) == number);
        green.filter_map(|service| service.spec.as_ref()).all(is_named)
            && !self.beside.iter().filter_map(|service| service.spec.as_ref()).any(is_named)
    }

    /// The ids of networks, configs and secrets that the sets beside use.
    pub fn used_beside(&self) -> BTreeSet<&str> {
        let tasks = self.beside.iter().filter_map(|service| service.spec.as_ref()?.task_template.as_ref());
        let mut used = BTreeSet::new();
        for task in tasks {
            let networks = task.networks.iter().flatten().filter_map(|network| network.target.as_deref());
            used.extend(networks);
            let Some(container) = &task.container_spec else { continue };
            used.extend(container.configs.iter().flatten().filter_map(|file| file.config_id.as_deref()));
            used.extend(container.secrets.iter().flatten().filter_map(|file| file.secret_id.as_deref()));
        }
        used
    }
}

/// Whether the name of the service leads to this set, in some network of it.
pub(super) fn is_named(spec: &ServiceSpec) -> bool {
    let name = label(spec.labels.as_ref(), mark::SERVICE).unwrap_or_default();
    let networks = spec.task_template.iter().flat_map(|task| task.networks.iter().flatten());
    networks.flat_map(|network| network.aliases.iter().flatten()).any(|alias| alias == name)
}

/// The same set without any name. New tasks start first, so that it is there all the time, unless the old ones hold ports.
pub(super) fn without_names(live: &ServiceSpec) -> ServiceSpec {
    let mut spec = live.clone();
    let networks = spec.task_template.iter_mut().flat_map(|task| task.networks.iter_mut().flatten());
    networks.for_each(|network| network.aliases = Some(Vec::new()));
    let ports = spec.endpoint_spec.iter().flat_map(|endpoint| endpoint.ports.iter().flatten());
    let holds_a_port = ports.into_iter().any(|port| port.publish_mode == Some(Publish::HOST));
    spec.update_config.get_or_insert_default().order = Some(if holds_a_port { STOP_FIRST } else { START_FIRST });
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn set(name: &str, staged: Option<&str>) -> Service {
        let mut labels = HashMap::from([(mark::SERVICE.to_owned(), name.to_owned())]);
        labels.extend(staged.map(|number| (mark::STAGED.to_owned(), number.to_owned())));
        let spec = ServiceSpec { labels: Some(labels), ..ServiceSpec::default() };
        Service { spec: Some(spec), ..Service::default() }
    }

    fn counting(at: u64, raised: &[&str], all: [Service; 4]) -> Vec<(String, u64)> {
        let raised = raised.iter().map(|name| name.parse().unwrap()).collect();
        let (counts, beside) = Sides { at, raised }.split(all.into());
        assert_eq!(counts.len() + beside.len(), 4);
        counts.iter().map(|service| (name_of(service).unwrap().to_string(), staged_with(service))).collect()
    }

    #[test]
    fn of_two_sets_the_newest_up_to_a_revision_counts() {
        let all = || [set("web", None), set("web", Some("2")), set("db", None), set("api", Some("1"))];
        let web_is = |number| [("api".to_owned(), 1), ("db".to_owned(), 0), ("web".to_owned(), number)];
        assert_eq!(counting(1, &[], all()), web_is(0));
        assert_eq!(counting(2, &[], all()), web_is(2), "it is staged");
        assert_eq!(counting(7, &[], all()), web_is(2), "it was promoted, and others came after it");
        assert_eq!(counting(0, &[], all()), web_is(0), "nothing is on record");
        let raising = counting(3, &["web", "db"], all());
        assert_eq!(raising, [("api".to_owned(), 1)], "the sets of the third are not there yet");
    }
}
