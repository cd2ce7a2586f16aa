//! Two sets of a service beside each other: which of them counts, and which has the service's names. Pure.
//!
//! Each set is a service of the Swarm. One that was raised beside another is marked with what it was raised for. Which of them
//! count while something is staged is on record; else the one that has the name does, whatever a cut has left beside it. So
//! nothing has to be marked anew when a revision is promoted.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ServiceSpecUpdateConfigOrderEnum::{START_FIRST, STOP_FIRST};
use bollard::models::{EndpointPortConfigPublishModeEnum as Publish, MountType, Service, ServiceSpec, Task};
use serde_json::json;
use windflow_core::target::{Revision, Stack};
use windflow_core::{ContentHash, ServiceName};

use super::health::is_over;
use super::look::{Look, label, labels_of, name_of};
use super::names;
use super::records::Records;
use crate::engine::mark;

/// From where one looks at the sets of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sides {
    /// The services that have two sets, or are to have them.
    pub two: BTreeSet<ServiceName>,
    /// What the new ones of these are marked with.
    pub mark: String,
    pub side: Side,
}

/// Which sets count of services that have two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Side {
    /// The new ones, there or not, which have no names yet.
    Raised,
    /// The new ones, there or not.
    #[default]
    New,
    /// The others.
    Kept,
}

/// What a set that is raised is marked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raised<'a> {
    pub mark: &'a str,
    pub nameless: bool,
}

/// What the sets of this stack are marked with that are raised beside those of what is current: the same for whoever does it
/// again after a cut, and never the same later.
pub(super) fn mark_for(stack: &Stack, current: &Revision) -> String {
    names::short(&ContentHash::of_value(&json!({ "stack": stack, "beside": current.number })), 8)
}

/// What a set was raised for, if it was.
pub(super) fn mark_of(service: &Service) -> Option<&str> {
    label(labels_of(service), mark::STAGED)
}

impl Sides {
    /// As it is by what is on record.
    pub fn of(records: &Records) -> Self {
        // What was promoted and then cut still counts by its mark.
        records.last_staged.as_ref().map_or_else(Self::default, |(_, staged)| Self {
            two: staged.services.clone(),
            mark: staged.mark.clone(),
            side: Side::New,
        })
    }

    /// The sets that count, and those beside them.
    pub fn split(&self, mut all: Vec<Service>) -> (Vec<Service>, Vec<Service>) {
        all.sort_by_key(name_of);
        let rank = |service: &Service| {
            let is_named = service.spec.as_ref().is_some_and(is_named);
            (!is_named, mark_of(service).map(str::to_owned))
        };
        let mut first: BTreeMap<Option<ServiceName>, (bool, Option<String>)> = BTreeMap::new();
        let has_two = |service: &Service| name_of(service).is_some_and(|name| self.two.contains(&name));
        let is_new = |service: &Service| mark_of(service) == Some(&self.mark);
        for service in all.iter().filter(|service| !(has_two(service) && is_new(service))) {
            let rank = rank(service);
            first.entry(name_of(service)).and_modify(|first| *first = rank.clone().min(first.clone())).or_insert(rank);
        }
        let counts = |service: &Service| {
            let is_first = || first.get(&name_of(service)).is_some_and(|(_, mark)| mark.as_deref() == mark_of(service));
            match (has_two(service), self.side) {
                (true, Side::New | Side::Raised) => is_new(service),
                (true, Side::Kept) => !is_new(service) && is_first(),
                (false, _) => is_first(),
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

    /// Whether this service is given a set of its own beside what is kept.
    pub fn raises(&self, name: &ServiceName) -> Option<Raised<'_>> {
        let raised = Raised { mark: &self.sides.mark, nameless: self.sides.side == Side::Raised };
        (self.sides.two.contains(name) && self.sides.side != Side::Kept).then_some(raised)
    }

    /// The same, looked at from the side of what is kept.
    pub fn seen_from_kept(&self) -> Self {
        self.seen_from(Sides { side: Side::Kept, ..self.sides.clone() })
    }

    /// The sets beside those that count that nobody wants: while something is staged, all but those that are kept.
    pub fn left_over(&self) -> Vec<(ServiceName, &Service)> {
        let kept: Vec<Option<String>> = match self.records.staged() {
            Some(_) => self.seen_from_kept().services.into_iter().map(|set| set.id).collect(),
            None => Vec::new(),
        };
        let left = self.beside.iter().filter(|set| !kept.contains(&set.id));
        left.filter_map(|set| Some((name_of(set)?, set))).collect()
    }

    /// The services of which what is kept is not there.
    pub fn lost(&self) -> Vec<&ServiceName> {
        let there: Vec<ServiceName> = self.beside.iter().filter_map(name_of).collect();
        self.sides.two.iter().filter(|name| !there.contains(name)).collect()
    }

    /// Whether the names of what is staged lead to it, and to nothing else.
    pub fn is_led_over(&self) -> bool {
        let is_own = |service: &&Service| name_of(service).is_some_and(|name| self.sides.two.contains(&name));
        self.services.iter().filter(is_own).filter_map(|service| service.spec.as_ref()).all(is_named)
            && !self.beside.iter().filter_map(|service| service.spec.as_ref()).any(is_named)
            && !self.beside.iter().any(|set| self.tasks_of(set).any(|task| self.answers(task)))
    }

    /// Whether some name leads to a task, as far as one hears of it: a Swarm takes its names from a task when it ends it.
    pub fn answers(&self, task: &Task) -> bool {
        let networks = task.spec.iter().flat_map(|spec| spec.networks.iter().flatten());
        let is_named = networks.into_iter().any(|network| network.aliases.iter().flatten().next().is_some());
        is_named && !is_over(task) && task.node_id.as_deref().is_some_and(|node| self.is_reached(node))
    }
}

/// Whether the name of the service leads to this set, in some network of it.
pub(super) fn is_named(spec: &ServiceSpec) -> bool {
    let name = label(spec.labels.as_ref(), mark::SERVICE).unwrap_or_default();
    let networks = spec.task_template.iter().flat_map(|task| task.networks.iter().flatten());
    networks.flat_map(|network| network.aliases.iter().flatten()).any(|alias| alias == name)
}

/// The same set without any name. New tasks start first, so that it is there all the time, unless the old ones hold what two
/// cannot have.
pub(super) fn without_names(live: &ServiceSpec) -> ServiceSpec {
    let mut spec = live.clone();
    let ports = spec.endpoint_spec.iter().flat_map(|endpoint| endpoint.ports.iter().flatten());
    let holds_a_port = ports.into_iter().any(|port| port.publish_mode == Some(Publish::HOST));
    let container = spec.task_template.as_ref().and_then(|task| task.container_spec.as_ref());
    let mounts = container.into_iter().flat_map(|container| container.mounts.iter().flatten());
    let writes = mounts
        .into_iter()
        .any(|mount| matches!(mount.typ, Some(MountType::VOLUME | MountType::BIND)) && mount.read_only != Some(true));
    let update = spec.update_config.get_or_insert_default();
    let agrees = update.order == Some(START_FIRST);
    update.order = Some(if holds_a_port || (writes && !agrees) { STOP_FIRST } else { START_FIRST });
    let networks = spec.task_template.iter_mut().flat_map(|task| task.networks.iter_mut().flatten());
    networks.for_each(|network| network.aliases = Some(Vec::new()));
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{NetworkAttachmentConfig, TaskSpec};
    use std::collections::HashMap;

    fn set(name: &str, staged: Option<&str>, is_named: bool) -> Service {
        let mut labels = HashMap::from([(mark::SERVICE.to_owned(), name.to_owned())]);
        labels.extend(staged.map(|mark| (mark::STAGED.to_owned(), mark.to_owned())));
        let aliases = Some(if is_named { vec![name.to_owned()] } else { Vec::new() });
        let networks = Some(vec![NetworkAttachmentConfig { aliases, ..NetworkAttachmentConfig::default() }]);
        let task_template = Some(TaskSpec { networks, ..TaskSpec::default() });
        let spec = ServiceSpec { labels: Some(labels), task_template, ..ServiceSpec::default() };
        Service { spec: Some(spec), ..Service::default() }
    }

    fn counting(side: Side, two: &[&str], mark: &str, all: Vec<Service>) -> Vec<(String, Option<String>)> {
        let two = two.iter().map(|name| name.parse().unwrap()).collect();
        let sum = all.len();
        let (counts, beside) = Sides { two, mark: mark.to_owned(), side }.split(all);
        assert_eq!(counts.len() + beside.len(), sum);
        let told = |service: &Service| (name_of(service).unwrap().to_string(), mark_of(service).map(str::to_owned));
        counts.iter().map(told).collect()
    }

    #[test]
    fn what_is_staged_counts_by_its_mark_and_else_what_has_the_name() {
        let web = |mark: Option<&str>| vec![("web".to_owned(), mark.map(str::to_owned))];
        let raised = || vec![set("web", None, true), set("web", Some("b"), false)];
        assert_eq!(counting(Side::New, &[], "", raised()), web(None), "what a cut has left never outranks it");
        assert_eq!(counting(Side::New, &["web"], "b", raised()), web(Some("b")));
        assert_eq!(counting(Side::New, &["web"], "c", raised()), [], "the set that is staged is not there");
        assert_eq!(counting(Side::Kept, &["web"], "b", raised()), web(None));
        // After it was promoted, and when another is raised beside it.
        let later = || vec![set("web", Some("b"), true), set("web", Some("a"), false)];
        assert_eq!(counting(Side::New, &[], "", later()), web(Some("b")));
        let nameless = vec![set("web", Some("b"), false), set("web", None, false)];
        assert_eq!(counting(Side::New, &[], "", nameless), web(None), "none has the name: the one that was not raised");
    }
}
