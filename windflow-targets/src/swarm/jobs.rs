//! Jobs that go. A Swarm ends the tasks of a service that is removed, and takes their containers away; those of a job it
//! forgets: what runs runs on, on whatever node, and what has ended stays there, with our marks and its hold on volumes.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::time::Duration;

use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum as State, Service, ServiceSpec, ServiceSpecModeReplicatedJob, Task,
    TaskState,
};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, UpdateServiceOptionsBuilder,
};
use tokio::time::Instant;
use windflow_core::target::{Context, TargetError, TargetErrorKind};
use windflow_core::{ServiceName, StackName};

use super::SwarmTarget;
use super::adopt::NAMESPACE;
use super::health::is_over;
use super::look::Look;
use super::services::{TRIES, force_of, is_out_of_sequence};
use crate::engine::{listing, mark};

/// What a container says of the service, and of the task, that it was made for.
const SERVICE_ID: &str = "com.docker.swarm.service.id";
const TASK_ID: &str = "com.docker.swarm.task.id";

/// How long a Swarm may take to hear that tasks are to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node of no Swarm.
const NOWHERE: &str = "node.id==nowhere";

pub(super) fn is_job(service: &Service) -> bool {
    let mode = service.spec.as_ref().and_then(|spec| spec.mode.as_ref());
    mode.is_some_and(|mode| mode.replicated_job.is_some() || mode.global_job.is_some())
}

/// The same job with nothing to do: a Swarm ends what it has of another version of it.
fn with_nothing_to_do(live: &ServiceSpec) -> ServiceSpec {
    let mut spec = live.clone();
    if let Some(job) = spec.mode.as_mut().and_then(|mode| mode.replicated_job.as_mut()) {
        *job = ServiceSpecModeReplicatedJob { max_concurrent: Some(0), total_completions: Some(0) };
    } else {
        let task = spec.task_template.get_or_insert_default();
        task.placement.get_or_insert_default().constraints = Some(vec![NOWHERE.to_owned()]);
    }
    spec.task_template.get_or_insert_default().force_update = Some(force_of(live) + 1);
    spec
}

fn is_to_go(task: &Task) -> bool {
    task.desired_state == Some(TaskState::REMOVE)
}

impl SwarmTarget {
    /// Has the tasks of a job end that is to be removed, and have not ended by themselves.
    pub(super) async fn end_job(&self, cx: &Context, name: &ServiceName, service: &Service) -> Result<(), TargetError> {
        let id = service.id.clone().unwrap_or_default();
        let what = format!("ending the job {name}");
        if !self.has_tasks_left(&id).await? {
            return Ok(());
        }
        cx.progress(&what);
        let docker = self.engine.docker().await?;
        for tried in 1.. {
            let Some(now) = self.service_now(&what, &id).await? else { return Ok(()) };
            let index = now.version.as_ref().and_then(|version| version.index).unwrap_or(0);
            let version = i32::try_from(index).unwrap_or(i32::MAX);
            let options = UpdateServiceOptionsBuilder::default().version(version).registry_auth_from("spec").build();
            let wanted = with_nothing_to_do(&now.spec.unwrap_or_default());
            match self.engine.call(docker.update_service(&id, wanted, options, None)).await {
                Err(error) if is_out_of_sequence(&error) && tried < TRIES => {}
                done => {
                    self.engine.tell(&what, ready(done)).await?;
                    break;
                }
            }
        }
        let until = Instant::now() + PATIENCE;
        let mut pulse = self.pulse().await?;
        while self.has_tasks_left(&id).await? {
            if Instant::now() >= until {
                let late = format!("{what} takes too long");
                return Err(TargetError::new(&self.config.name, TargetErrorKind::Transient, late).in_service(name));
            }
            tokio::select! {
                biased;
                () = cx.cancel().cancelled() => {
                    let stopped = format!("stopped {what}");
                    return Err(TargetError::new(&self.config.name, TargetErrorKind::Cancelled, stopped));
                }
                () = pulse.beat(Duration::from_millis(300)) => {}
            }
        }
        Ok(())
    }

    /// Whether a job has tasks that have not ended, and that the Swarm has not been told to end.
    async fn has_tasks_left(&self, service: &str) -> Result<bool, TargetError> {
        let docker = self.engine.docker().await?;
        let filter = HashMap::from([("service".to_owned(), vec![service.to_owned()])]);
        match self.engine.ask("listing tasks", listing::tasks(docker, &filter)).await {
            Err(error) if error.kind == TargetErrorKind::NotFound => Ok(false),
            tasks => Ok(tasks?.iter().any(|task| !is_over(task) && !is_to_go(task))),
        }
    }

    /// Removes the containers of ended tasks of this stack's whose services are gone, from the node that is talked to, as
    /// far as the Swarm does not. The services are those that were seen before any was removed.
    pub(super) async fn remove_remains(&self, stack: &StackName, before: &Look) -> Result<(), TargetError> {
        let was_adopted = before.records.adopted_id.is_some();
        let ended = self.ended(stack, &ids(&before.services), was_adopted).await?;
        if ended.is_empty() {
            return Ok(());
        }
        let docker = self.engine.docker().await?;
        // Of whomever: what is a task of a service that is there is that service's.
        let there = ids(&self.engine.ask("listing services", listing::services(docker, &HashMap::new())).await?);
        let of_tasks: Vec<String> = ended.iter().filter_map(|container| label(container, TASK_ID)).collect();
        let filter = HashMap::from([("id".to_owned(), of_tasks)]);
        let tasks = self.engine.ask("listing tasks", listing::tasks(docker, &filter)).await?;
        let going: BTreeSet<String> = tasks.into_iter().filter(is_to_go).filter_map(|task| task.id).collect();
        for container in &ended {
            let has =
                |name: &str, among: &BTreeSet<String>| label(container, name).is_some_and(|id| among.contains(&id));
            if has(SERVICE_ID, &there) || has(TASK_ID, &going) {
                continue;
            }
            // With the volumes that have no name, as a Swarm itself does it.
            let options = RemoveContainerOptionsBuilder::default().v(true).build();
            let id = container.id.as_deref().unwrap_or_default();
            self.engine.remove("removing what is left of a task", docker.remove_container(id, Some(options))).await?;
        }
        Ok(())
    }

    /// The containers of this stack's tasks that have ended, or were ended before they began.
    async fn ended(
        &self,
        stack: &StackName,
        ours: &BTreeSet<String>,
        was_adopted: bool,
    ) -> Result<Vec<ContainerSummary>, TargetError> {
        let docker = self.engine.docker().await?;
        let filter = HashMap::from([("label".to_owned(), vec![TASK_ID.to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let mut found = self.engine.ask("listing containers", docker.list_containers(Some(options))).await?;
        found.retain(|container| {
            let is = |name: &str, value: &str| label(container, name).as_deref() == Some(value);
            let is_marked = is(mark::OWNER, self.config.owner.as_str()) && is(mark::STACK, stack.as_str());
            // What was taken over has no marks in its containers.
            let is_of_adopted = was_adopted && is(NAMESPACE, stack.as_str());
            let is_ours =
                is_marked || is_of_adopted || label(container, SERVICE_ID).is_some_and(|id| ours.contains(&id));
            is_ours && matches!(container.state, Some(State::CREATED | State::EXITED | State::DEAD))
        });
        Ok(found)
    }
}

fn label(container: &ContainerSummary, name: &str) -> Option<String> {
    container.labels.as_ref()?.get(name).cloned()
}

fn ids(services: &[Service]) -> BTreeSet<String> {
    services.iter().filter_map(|service| service.id.clone()).collect()
}

/// What is told of jobs that go: what has ended on other nodes is out of reach.
pub(super) fn told<'a>(look: &'a Look, gone: impl Iterator<Item = &'a Service>) -> Vec<String> {
    let elsewhere = |service: &&Service| {
        let has_left =
            |task: &Task| is_over(task) && task.node_id.as_ref().is_some_and(|node| *node != look.manager.node);
        is_job(service) && look.tasks_of(service).any(has_left)
    };
    let told = gone.filter(elsewhere).filter_map(super::look::name_of).map(|name| {
        format!(
            "services.{name}: a Swarm keeps the containers of jobs that are done; those on other nodes than {} stay",
            look.host(&look.manager.node)
        )
    });
    told.collect()
}
