//! Waiting until something may have changed, without asking again and again.
//!
//! A Swarm tells of its services, nodes, networks, configs and secrets as they change, and of the containers of the one
//! node that is talked to. Of tasks on other nodes it tells nothing: now and then one looks without being told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::time::{sleep, timeout};
use windflow_core::target::TargetError;

use super::SwarmTarget;

/// Several things change together: after the first, so long is waited for the others.
const TOGETHER: Duration = Duration::from_millis(50);

/// How soon after a change one looks again.
const SOON: Duration = Duration::from_millis(100);

pub(super) struct Pulse {
    events: Option<BoxStream<'static, Result<EventMessage, Error>>>,
    /// How many nodes there are, as was told last: where it is one, the containers that are told of are all there are.
    nodes: Arc<AtomicI64>,
    /// How often nothing was told since something was.
    silent: u32,
}

impl SwarmTarget {
    /// Listens from now on.
    pub(super) async fn pulse(&self) -> Result<Pulse, TargetError> {
        // The connection of the stream is its own, and it is silent for as long as nothing happens.
        let docker = self.engine.patient(Duration::from_secs(24 * 60 * 60)).await?;
        let kinds = ["service", "node", "container", "network", "config", "secret"].map(str::to_owned);
        // Each health check of each container is an event too: those are not wanted.
        let moves =
            ["create", "update", "remove", "start", "die", "destroy", "health_status", "oom"].map(str::to_owned);
        let filters = HashMap::from([("type".to_owned(), kinds.to_vec()), ("event".to_owned(), moves.to_vec())]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        Ok(Pulse { events: Some(docker.events(Some(options)).boxed()), nodes: self.nodes.clone(), silent: 0 })
    }
}

impl Pulse {
    /// Returns when something may have changed, at the latest after this time.
    pub async fn beat(&mut self, at_most: Duration) {
        // A container is told of before the Swarm has heard of it: one looks soon after, then ever later. Where other
        // nodes have tasks, nothing tells of them.
        let soon = SOON.saturating_mul(1 << self.silent.min(10));
        let alone = self.nodes.load(Ordering::Relaxed) == 1;
        let at_most = if alone { at_most.min(soon) } else { at_most.min(soon).min(Duration::from_millis(500)) };
        self.silent = self.silent.saturating_add(1);
        let Some(events) = &mut self.events else { return sleep(at_most).await };
        match timeout(at_most, events.next()).await {
            Err(_) => {}
            Ok(Some(Ok(_))) => {
                self.silent = 0;
                // Whatever comes with it is one change.
                let until = tokio::time::Instant::now() + TOGETHER;
                while let Ok(Some(Ok(_))) = tokio::time::timeout_at(until, events.next()).await {}
            }
            Ok(None | Some(Err(_))) => {
                self.events = None;
                sleep(at_most.min(Duration::from_millis(500))).await;
            }
        }
    }
}
