//! A whole service.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated, ServiceSpecModeReplicatedJob, TaskSpec, TaskSpecPlacement,
    TaskSpecPlacementPreferences, TaskSpecPlacementSpread,
};
use windflow_core::target::{Mode, Service};
use windflow_core::{OwnerId, ServiceName, StackName};

use super::mount::VolumeSource;
use super::{container, network, replacing};
use crate::engine::mark;
use crate::swarm::capability::OURS_ALONE;

/// An object of the Swarm that a service names: both are written down where it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object {
    pub id: String,
    pub name: String,
}

/// What the names in a service lead to. A name that leads nowhere stands for itself, so that a service can be rendered
/// before anything is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    /// What the service is called in the Swarm.
    pub name: String,
    pub networks: BTreeMap<String, String>,
    pub configs: BTreeMap<String, Object>,
    pub secrets: BTreeMap<String, Object>,
    pub volumes: BTreeMap<String, VolumeSource>,
    /// The values of variables that are secrets.
    pub values: BTreeMap<String, String>,
    /// What tells whether one of them has changed.
    pub fingerprint: Option<String>,
    /// What tells whether anything that it restarts with has become another.
    pub restarts_with: Option<String>,
    /// Which version of its interface the engine speaks.
    pub api: (usize, usize),
    /// What asks for new tasks when nothing else has changed, as it is now.
    pub force_update: u64,
    /// What this set was raised for beside another.
    pub staged: Option<String>,
    /// Whether the service's names lead elsewhere.
    pub nameless: bool,
}

/// The service as the Swarm is asked for it.
pub(crate) fn service(
    owner: &OwnerId,
    stack: &StackName,
    name: &ServiceName,
    service: &Service,
    bound: &Bound,
) -> ServiceSpec {
    let mut marks = mark::labels(owner, stack);
    marks.insert(mark::SERVICE.to_owned(), name.to_string());
    let mut labels: HashMap<String, String> =
        service.deploy_labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.extend(marks.clone());
    labels.insert(mark::SPEC.to_owned(), spec_label(service));
    labels.extend(bound.fingerprint.iter().map(|print| (mark::IDENTITY.to_owned(), print.clone())));
    labels.extend(bound.staged.iter().map(|raised| (mark::STAGED.to_owned(), raised.clone())));
    // In the containers, too: a Swarm has new ones when they change.
    let restarts_with = bound.restarts_with.iter().map(|needs| (mark::RESTARTS_WITH.to_owned(), needs.clone()));
    labels.extend(restarts_with.clone());
    marks.extend(restarts_with);
    let networks = network::attachments(name, service, bound);
    ServiceSpec {
        name: Some(bound.name.clone()),
        labels: Some(labels),
        mode: Some(mode(service)),
        update_config: replacing::update_config(service),
        rollback_config: replacing::rollback_config(service),
        endpoint_spec: Some(network::endpoint(service)),
        networks: None,
        task_template: Some(TaskSpec {
            container_spec: Some(container::container(service, marks, bound)),
            resources: container::resources(service),
            restart_policy: Some(replacing::restart_policy(service)),
            placement: placement(service),
            force_update: Some(bound.force_update),
            networks: Some(networks),
            log_driver: container::log_driver(service),
            ..TaskSpec::default()
        }),
    }
}

/// The service as it was asked for, without what ends up nowhere in the Swarm: that may change without a service being
/// touched.
fn spec_label(service: &Service) -> String {
    // The model holds only texts, numbers and maps with text keys: it can always be written.
    let mut spec = serde_json::to_value(service).unwrap_or_default();
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, _| !OURS_ALONE.contains(&field.as_str()));
    }
    spec.to_string()
}

fn mode(service: &Service) -> ServiceSpecMode {
    let replicas = i64::from(service.replicas.0);
    match service.mode {
        Mode::Replicated => ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(replicas) }),
            ..ServiceSpecMode::default()
        },
        Mode::Global => ServiceSpecMode { global: Some(HashMap::new()), ..ServiceSpecMode::default() },
        Mode::ReplicatedJob => ServiceSpecMode {
            replicated_job: Some(ServiceSpecModeReplicatedJob {
                max_concurrent: Some(replicas),
                total_completions: Some(replicas),
            }),
            ..ServiceSpecMode::default()
        },
        Mode::GlobalJob => ServiceSpecMode { global_job: Some(HashMap::new()), ..ServiceSpecMode::default() },
    }
}

fn placement(service: &Service) -> Option<TaskSpecPlacement> {
    let asked = &service.placement;
    let spread = |label: &String| TaskSpecPlacementPreferences {
        spread: Some(TaskSpecPlacementSpread { spread_descriptor: Some(label.clone()) }),
    };
    let placement = TaskSpecPlacement {
        constraints: (!asked.constraints.is_empty()).then(|| asked.constraints.clone()),
        preferences: (!asked.spread.is_empty()).then(|| asked.spread.iter().map(spread).collect()),
        max_replicas: asked.max_replicas_per_node.map(i64::from),
        platforms: None,
    };
    (placement != TaskSpecPlacement::default()).then_some(placement)
}
