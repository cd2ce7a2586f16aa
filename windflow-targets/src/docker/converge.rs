//! A stack: what services share first, then the services, each as soon as what it waits for is there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use windflow_core::ServiceName;
use windflow_core::target::{Condition, Service, TargetError};

use super::look::{Found, Seen};
use super::removal::Nameless;
use super::rollout::{Stage, go_down, roll_out};
use super::work::Work;

/// Makes what runs this stack; the reason when it does not become ready.
pub(super) async fn converge(work: &Work<'_>, seen: &Seen) -> Result<Option<String>, TargetError> {
    if !work.beside {
        remove_services(work, seen).await?;
    }
    let stages: BTreeMap<&ServiceName, watch::Sender<Stage>> =
        work.stack.services.keys().map(|name| (name, watch::Sender::new(Stage::Waiting))).collect();
    let awaited_to_end: BTreeSet<&ServiceName> = work
        .stack
        .services
        .values()
        .flat_map(|service| &service.depends_on)
        .filter(|(_, need)| need.condition == Condition::ServiceCompletedSuccessfully)
        .map(|(name, _)| name)
        .collect();
    let mut services: FuturesUnordered<_> = work
        .stack
        .services
        .iter()
        .map(|(name, service)| {
            let stages = &stages;
            let must_complete = awaited_to_end.contains(name) || service.mode.is_job();
            async move {
                tokio::select! {
                    biased;
                    () = work.stopping.cancelled() => return Ok(None),
                    () = wait_for_needs(service, stages) => {}
                }
                roll_out(work, seen, name, &stages[name], must_complete).await
            }
        })
        .collect();
    // The first that fails decides. What the others have asked for is waited for, so that nothing comes about unseen.
    while let Some(done) = services.next().await {
        if !matches!(done, Ok(None)) {
            work.stopping.cancel();
            while services.next().await.is_some() {}
            return done;
        }
    }
    Ok(None)
}

async fn wait_for_needs(service: &Service, stages: &BTreeMap<&ServiceName, watch::Sender<Stage>>) {
    for (need, dependency) in &service.depends_on {
        // One that need not be there, and is not.
        let Some(stage) = stages.get(need) else { continue };
        let enough = match dependency.condition {
            Condition::ServiceStarted => Stage::Started,
            Condition::ServiceHealthy => Stage::Ready,
            Condition::ServiceCompletedSuccessfully => Stage::Completed,
        };
        // The senders outlive this: it can only end because it has come so far.
        let _ = stage.subscribe().wait_for(|stage| *stage >= enough).await;
    }
}

/// Removes the containers of services that are no longer wanted.
async fn remove_services(work: &Work<'_>, seen: &Seen) -> Result<(), TargetError> {
    let gone: Vec<&Found> =
        seen.containers.iter().filter(|found| !work.stack.services.contains_key(&found.service)).collect();
    for wave in down_order(gone) {
        work.go_on()?;
        go_down(work, &wave, Nameless::GoIfAgreed).await?;
    }
    Ok(())
}

/// Those that others wait for come last, as far as containers tell; what is in one wave may go at the same moment.
pub(super) fn down_order(mut containers: Vec<&Found>) -> Vec<Vec<&Found>> {
    let mut order = Vec::new();
    while !containers.is_empty() {
        let needed: BTreeSet<ServiceName> =
            containers.iter().flat_map(|found| found.spec.depends_on.keys().cloned()).collect();
        let (stay, go): (Vec<&Found>, Vec<&Found>) =
            containers.iter().partition(|found| needed.contains(&found.service));
        if go.is_empty() {
            order.push(stay);
            return order;
        }
        order.push(go);
        containers = stay;
    }
    order
}
