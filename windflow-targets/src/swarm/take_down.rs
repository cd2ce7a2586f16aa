//! Taking things away: a whole stack, or what it no longer has.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{Service, Task};
use bollard::query_parameters::InspectNetworkOptions;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::time::Instant;
use windflow_core::target::{Context, Stack, TargetError, TargetErrorKind, diff};
use windflow_core::{ServiceName, StackName};

use super::SwarmTarget;
use super::health::is_over;
use super::jobs::is_job;
use super::look::Look;
use super::parts;
use super::services::superfluous;
use crate::engine::{is_missing, listing};

/// How long what has been stopped may hold on to its networks, beside the grace period of its services.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it takes until a removal that has not come about is asked for again; longer each time.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// How long that is at most.
pub(super) const SELDOM: Duration = Duration::from_secs(8);

impl SwarmTarget {
    pub(super) async fn remove_service(
        &self,
        cx: &Context,
        name: &ServiceName,
        service: &Service,
    ) -> Result<(), TargetError> {
        if is_job(service) {
            self.end_job(cx, name, service).await?;
        }
        let docker = self.engine.docker().await?;
        let what = format!("removing the service {name}");
        cx.progress(&what);
        self.engine.remove(&what, docker.delete_service(service.id.as_deref().unwrap_or_default())).await
    }

    /// Removes these, in this order, without waiting for the answer to one before the next: a Swarm ends their tasks at the
    /// same moment anyway.
    async fn remove_services(&self, cx: &Context, services: Vec<(ServiceName, &Service)>) -> Result<(), TargetError> {
        let mut each = FuturesOrdered::new();
        for (name, service) in &services {
            each.push_back(self.remove_service(cx, name, service));
        }
        // What was begun is waited for, so that nothing goes unseen.
        let done: Vec<Result<(), TargetError>> = each.collect().await;
        done.into_iter().collect()
    }

    /// Removes everything of the stack. The records go last: a removal that is cut is seen, and finished by the next.
    pub(super) async fn take_down(&self, cx: &Context, stack: &StackName, volumes: bool) -> Result<(), TargetError> {
        let look = self.look(stack).await?;
        let patience = look.services.iter().chain(&look.beside).map(grace).fold(PATIENCE, Duration::saturating_add);
        self.remove_services(cx, superfluous(&look, None)).await?;
        let all = look.our_networks().into_iter().filter_map(|(part, network)| Some((part, network.id.clone()?)));
        self.remove_networks(cx, stack, all.collect(), patience).await?;
        self.remove_files(cx, &look, &BTreeSet::new()).await?;
        self.remove_remains(stack, &look).await?;
        // Volumes cannot be labelled: of those that are kept a record says whose they are.
        let keeps = !volumes && keeps_adopted(&look);
        if volumes {
            self.remove_volumes(cx, stack, look, patience).await?;
        }
        let docker = self.engine.docker().await?;
        let records = self.records(stack).await?;
        // What is being done is known until there is nothing else.
        let doing = records.doing.as_ref().map(|(id, _)| id);
        let kept = records.adopted_id.as_ref().filter(|_| keeps);
        for id in records.ids.iter().filter(|id| Some(*id) != doing && Some(*id) != kept).chain(doing) {
            self.engine.remove("removing a record", docker.delete_config(id)).await?;
        }
        Ok(())
    }

    /// Removes what the stack, which runs now, no longer has; with `kept` it is what is kept beside what is staged.
    pub(super) async fn tidy(&self, cx: &Context, stack: &Stack, kept: bool) -> Result<(), TargetError> {
        let mut look = self.look(&stack.name).await?;
        if kept {
            look = look.seen_from_kept();
        }
        let gone = superfluous(&look, Some(stack));
        let patience = gone.iter().map(|(_, service)| grace(service)).fold(PATIENCE, Duration::saturating_add);
        let ids: BTreeSet<Option<String>> = gone.iter().map(|(_, service)| service.id.clone()).collect();
        self.remove_services(cx, gone).await?;
        // What they had is used by nobody any more.
        look.services.retain(|service| !ids.contains(&service.id));
        look.beside.clear();
        let wanted = diff::owned_parts(stack, &self.capabilities);
        let mut networks = Vec::new();
        for (name, found) in parts::networks(&look) {
            // The first is the one that services are on.
            let kept = usize::from(wanted.contains_key(&format!("networks.{name}")));
            networks
                .extend(found.into_iter().skip(kept).filter_map(|network| Some((name.clone(), network.id.clone()?))));
        }
        self.remove_networks(cx, &stack.name, networks, patience).await?;
        self.remove_remains(&stack.name, &look).await?;
        let mut kept: BTreeSet<String> = BTreeSet::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for file in parts::files(&look) {
            if wanted.contains_key(&file.path) && seen.insert(file.path) {
                kept.insert(file.id);
            }
        }
        self.remove_files(cx, &look, &kept).await
    }

    async fn remove_networks(
        &self,
        cx: &Context,
        stack: &StackName,
        networks: Vec<(String, String)>,
        patience: Duration,
    ) -> Result<(), TargetError> {
        if networks.is_empty() {
            return Ok(());
        }
        let docker = self.engine.docker().await?;
        let until = Instant::now() + patience;
        let mut pulse = self.pulse().await?;
        for (name, id) in networks {
            let what = format!("removing the network {name}");
            let (mut late, mut next, mut pause) = (None, Instant::now(), AGAIN);
            loop {
                let now = Instant::now();
                let is_last = now >= until;
                // Tasks that are ending are still on it: nothing is asked of the Swarm that it would refuse.
                if is_last || (now >= next && !self.has_tasks(&id).await?) {
                    late = match self.engine.call(docker.remove_network(&id)).await {
                        Ok(()) => None,
                        Err(error) if is_missing(&error) || is_in_use(&error) || is_unknown(&error) => Some(error),
                        Err(error) => return Err(self.engine.failed(&what, &error).in_stack(stack)),
                    };
                    // The node that is talked to may have it a little longer than the Swarm.
                    (next, pause) = (Instant::now() + pause, (pause * 2).min(SELDOM));
                }
                let there = docker.inspect_network(&id, None::<InspectNetworkOptions>);
                if self.engine.find(&what, there).await?.is_none() {
                    break;
                }
                if is_last {
                    let hint = "what is on it is not ours, or does not end: remove it, then do this again";
                    return Err(match late {
                        Some(error) => self.engine.failed(&what, &error).in_stack(stack).with_hint(hint),
                        None => self.error(stack, TargetErrorKind::Transient, format!("{what} takes too long")),
                    });
                }
                tokio::select! {
                    biased;
                    () = cx.cancel().cancelled() => {
                        let what = format!("stopped {what}");
                        return Err(self.error(stack, TargetErrorKind::Cancelled, what));
                    }
                    () = pulse.beat(Duration::from_millis(300)) => {}
                }
            }
        }
        Ok(())
    }

    /// Whether tasks, of whomever, are on a network and have not ended.
    async fn has_tasks(&self, network: &str) -> Result<bool, TargetError> {
        let docker = self.engine.docker().await?;
        let all = self.engine.ask("listing tasks", listing::tasks(docker, &HashMap::new())).await?;
        let is_on = |task: &Task| {
            let asked = task.spec.iter().flat_map(|spec| spec.networks.iter().flatten());
            asked.into_iter().any(|asked| asked.target.as_deref() == Some(network))
        };
        Ok(all.iter().any(|task| is_on(task) && !is_over(task)))
    }

    async fn remove_files(&self, _: &Context, look: &Look, kept: &BTreeSet<String>) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        for file in parts::files(look).into_iter().filter(|file| !kept.contains(&file.id)) {
            let what = format!("removing {}", file.name);
            match file.path.starts_with("configs.") {
                true => self.engine.remove(&what, docker.delete_config(&file.id)).await?,
                false => self.engine.remove(&what, docker.delete_secret(&file.id)).await?,
            }
        }
        Ok(())
    }
}

/// Whether volumes are there that were taken over, as far as that can be seen: other nodes may have them, too.
fn keeps_adopted(look: &Look) -> bool {
    let is_here = |real: &String| look.volumes.iter().any(|volume| volume.name == *real);
    look.records.adopted.volumes.values().any(|real| look.nodes.len() > 1 || is_here(real))
}

pub(super) fn grace(service: &Service) -> Duration {
    let task = service.spec.as_ref().and_then(|spec| spec.task_template.as_ref());
    let nanos = task.and_then(|task| task.container_spec.as_ref()?.stop_grace_period);
    nanos.and_then(|nanos| u64::try_from(nanos).ok()).map_or(Duration::from_secs(10), Duration::from_nanos)
}

/// The Swarm's own way to say that a network is not there.
fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. } if message.contains("not found"))
}

pub(super) fn is_in_use(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            *status_code == 409 || message.contains("in use") || message.contains("active endpoints")
        }
        _ => false,
    }
}
