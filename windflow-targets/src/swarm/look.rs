//! Everything that is read of a stack, in a number of calls that does not grow with it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bollard::models::{Config, Network, Node, NodeState, Secret, Service, Task, Volume};
use bollard::query_parameters::{
    ListConfigsOptionsBuilder, ListNetworksOptions, ListNodesOptions, ListSecretsOptionsBuilder,
};
use windflow_core::target::{TargetError, TargetErrorKind};
use windflow_core::{ServiceName, StackName};

use super::SwarmTarget;
use super::ipvs;
use super::records::Records;
use super::sides::Sides;
use crate::engine::{NO_MANAGER, listing, mark, parse_moment};

/// What is there of a stack.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Whose stack was looked for, and which.
    pub owner: String,
    pub stack: String,
    /// The sets of services that count, seen from these sides.
    pub services: Vec<Service>,
    /// The sets beside them: what is kept while another is staged, or what a cut has left.
    pub beside: Vec<Service>,
    pub sides: Sides,
    pub tasks: Vec<Task>,
    pub nodes: Vec<Node>,
    /// All networks there are: a service may be on one that is not ours.
    pub networks: Vec<Network>,
    /// All volumes of the node that is talked to: one that is not ours may have the name of one of ours.
    pub volumes: Vec<Volume>,
    /// Ours, the records among them.
    pub configs: Vec<Config>,
    pub secrets: Vec<Secret>,
    pub records: Records,
    pub manager: Manager,
}

/// What is told of the node that is talked to.
#[derive(Clone, Debug, Default)]
pub(super) struct Manager {
    pub node: String,
    /// Whether virtual addresses can work; nothing when that cannot be told from here.
    pub ipvs: Option<bool>,
    pub version: String,
    pub architecture: String,
    pub nodes: i64,
}

pub(super) fn label<'a>(labels: Option<&'a HashMap<String, String>>, key: &str) -> Option<&'a str> {
    labels?.get(key).map(String::as_str)
}

pub(super) fn labels_of(service: &Service) -> Option<&HashMap<String, String>> {
    service.spec.as_ref()?.labels.as_ref()
}

pub(super) fn name_of(service: &Service) -> Option<ServiceName> {
    ServiceName::new(label(labels_of(service), mark::SERVICE)?).ok()
}

impl Look {
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| name_of(service).as_ref() == Some(name))
    }

    pub fn tasks_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Task> {
        self.tasks.iter().filter(|task| task.service_id.is_some() && task.service_id == service.id)
    }

    /// Whether the Swarm hears of what becomes of tasks on this node.
    pub fn is_reached(&self, node: &str) -> bool {
        let found = self.nodes.iter().find(|found| found.id.as_deref() == Some(node));
        let state = found.map(|node| node.status.as_ref().and_then(|status| status.state));
        state.is_some_and(|state| !matches!(state, Some(NodeState::DOWN | NodeState::DISCONNECTED)))
    }

    /// What people call a node.
    pub fn host(&self, node: &str) -> String {
        let found = self.nodes.iter().find(|found| found.id.as_deref() == Some(node));
        let host = found.and_then(|node| node.description.as_ref()?.hostname.clone());
        host.unwrap_or_else(|| node.to_owned())
    }

    /// Our networks of this name in the stack, the newest last.
    pub fn our_networks(&self) -> Vec<(String, &Network)> {
        let mut ours: Vec<(String, &Network)> = Vec::new();
        for network in &self.networks {
            let part = label(network.labels.as_ref(), mark::PART).and_then(|part| part.strip_prefix("networks."));
            let is_ours = self.is_ours(network.labels.as_ref());
            let adopted = self.records.adopted.networks.iter().find(|(_, id)| Some(*id) == network.id.as_ref());
            match (part.filter(|_| is_ours), adopted) {
                (Some(part), _) => ours.push((part.to_owned(), network)),
                (None, Some((part, _))) => ours.push((part.clone(), network)),
                (None, None) => {}
            }
        }
        ours.sort_by_key(|(part, network)| (part.clone(), network.created.as_deref().and_then(parse_moment)));
        ours
    }

    fn is_ours(&self, labels: Option<&HashMap<String, String>>) -> bool {
        label(labels, mark::OWNER) == Some(&self.owner) && label(labels, mark::STACK) == Some(&self.stack)
    }

    /// Whether nothing of the stack is there. That it is known whose the volumes are that were kept is nothing of it.
    pub fn is_empty(&self) -> bool {
        let remembers = |config: &Config| config.id.is_some() && config.id == self.records.adopted_id;
        self.services.is_empty()
            && self.beside.is_empty()
            && self.configs.iter().all(remembers)
            && self.secrets.is_empty()
            && self.our_networks().is_empty()
    }
}

impl SwarmTarget {
    /// The manager that is talked to, as it is now: nodes come and go, and it may be a manager no more. An engine that is
    /// none is told apart from one that does not answer.
    pub(super) async fn manager(&self) -> Result<Manager, TargetError> {
        let docker = self.engine.docker().await?;
        let info = self.engine.ask("asking what it is", docker.info()).await?;
        let swarm = info.swarm.unwrap_or_default();
        if swarm.control_available != Some(true) {
            let what = format!("the engine at {} is no manager of a Swarm", self.engine.endpoint());
            return Err(TargetError::new(self.engine.target(), TargetErrorKind::Refused, what).with_hint(NO_MANAGER));
        }
        let nodes = swarm.nodes.unwrap_or(1);
        self.nodes.store(nodes, Ordering::Relaxed);
        Ok(Manager {
            node: swarm.node_id.unwrap_or_default(),
            ipvs: ipvs::works(info.kernel_version.as_deref()),
            version: info.server_version.unwrap_or_default(),
            architecture: info.architecture.unwrap_or_default(),
            nodes,
        })
    }

    pub(super) async fn look(&self, stack: &StackName) -> Result<Look, TargetError> {
        let docker = self.engine.docker().await?;
        let ours = mark::of_stack(&self.config.owner, stack);
        let configs = ListConfigsOptionsBuilder::default().filters(&ours).build();
        let secrets = ListSecretsOptionsBuilder::default().filters(&ours).build();
        let lists = async {
            tokio::try_join!(
                self.engine.ask("listing services", listing::services(docker, &ours)),
                self.engine.ask("listing networks", docker.list_networks(None::<ListNetworksOptions>)),
                self.volumes_here(),
                self.engine.ask("listing configs", docker.list_configs(Some(configs))),
                self.engine.ask("listing secrets", docker.list_secrets(Some(secrets))),
                self.engine.ask("listing nodes", docker.list_nodes(None::<ListNodesOptions>)),
            )
        };
        // What is no manager refuses the lists, too: that it is none says more.
        // Six answers at once are large, and would be part of every future above.
        let (manager, lists) = tokio::join!(self.manager(), Box::pin(lists));
        let manager = manager?;
        let (services, networks, volumes, configs, secrets, nodes) = lists?;
        let (services, tasks) = self.with_tasks(&ours, services).await?;
        let records = Records::read(&configs);
        let sides = Sides::of(&records);
        let (services, beside) = sides.split(services);
        Ok(Look {
            owner: self.config.owner.to_string(),
            stack: stack.to_string(),
            services,
            beside,
            sides,
            tasks,
            nodes,
            networks,
            volumes,
            configs,
            secrets,
            records,
            manager,
        })
    }

    /// Services and tasks only, for whoever waits: the rest is as it was looked at before.
    pub(super) async fn look_again(&self, stack: &StackName, before: &mut Look) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let ours = mark::of_stack(&self.config.owner, stack);
        let services = self.engine.ask("listing services", listing::services(docker, &ours)).await?;
        let (services, tasks) = self.with_tasks(&ours, services).await?;
        (before.services, before.beside) = before.sides.split(services);
        before.tasks = tasks;
        Ok(())
    }

    /// One service, by its id, as it is now.
    pub(super) async fn service_now(&self, what: &str, id: &str) -> Result<Option<Service>, TargetError> {
        let docker = self.engine.docker().await?;
        let filter = HashMap::from([("id".to_owned(), vec![id.to_owned()])]);
        let found = self.engine.ask(what, listing::services(docker, &filter)).await?;
        Ok(found.into_iter().find(|service| service.id.as_deref() == Some(id)))
    }

    /// The tasks of these services. One that has gone in the meantime makes the engine refuse to tell of all others: then
    /// one looks again.
    async fn with_tasks(
        &self,
        ours: &HashMap<String, Vec<String>>,
        mut services: Vec<Service>,
    ) -> Result<(Vec<Service>, Vec<Task>), TargetError> {
        let docker = self.engine.docker().await?;
        for _ in 0..10 {
            match self.tasks(&services).await {
                Err(error) if error.kind == TargetErrorKind::NotFound => {
                    services = self.engine.ask("listing services", listing::services(docker, ours)).await?;
                }
                tasks => return tasks.map(|tasks| (services, tasks)),
            }
        }
        self.tasks(&services).await.map(|tasks| (services, tasks))
    }

    async fn tasks(&self, services: &[Service]) -> Result<Vec<Task>, TargetError> {
        let ids: Vec<String> = services.iter().filter_map(|service| service.id.clone()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let docker = self.engine.docker().await?;
        let filter = HashMap::from([("service".to_owned(), ids)]);
        self.engine.ask("listing tasks", listing::tasks(docker, &filter)).await
    }

    /// What is on record about a stack, and nothing else.
    pub(super) async fn records(&self, stack: &StackName) -> Result<Records, TargetError> {
        let docker = self.engine.docker().await?;
        let ours = mark::of_stack(&self.config.owner, stack);
        let options = ListConfigsOptionsBuilder::default().filters(&ours).build();
        let configs = self.engine.ask("listing configs", docker.list_configs(Some(options))).await?;
        Ok(Records::read(&configs))
    }
}
