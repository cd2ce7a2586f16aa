//! News of containers, so that nobody has to ask again and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};
use windflow_core::{OwnerId, StackName};

use crate::engine::{Engine, mark};

/// Events of an engine may be lost with its connection: who waits looks again after this long at the latest.
pub(super) const AT_THE_LATEST: Duration = Duration::from_secs(5);

/// News of a stack's containers, by their ids; they end with this value.
#[derive(Clone, Debug)]
pub(super) struct News {
    sender: broadcast::Sender<String>,
    _until: Arc<DropGuard>,
}

impl News {
    /// Listens from now on.
    pub fn of(engine: &Engine, owner: &OwnerId, stack: &StackName) -> Self {
        let (sender, _) = broadcast::channel(256);
        let until = CancellationToken::new();
        let mut filters: HashMap<String, Vec<String>> = mark::of_stack(owner, stack);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let listening = listen(engine.clone(), filters, sender.clone());
        let stop = until.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listening => {}
            }
        });
        Self { sender, _until: Arc::new(until.drop_guard()) }
    }

    /// News of nothing, for whoever only looks.
    pub fn silent() -> Self {
        Self { sender: broadcast::channel(1).0, _until: Arc::new(CancellationToken::new().drop_guard()) }
    }

    pub fn listen(&self) -> Ear {
        Ear(self.sender.subscribe())
    }
}

async fn listen(engine: Engine, filters: HashMap<String, Vec<String>>, sender: broadcast::Sender<String>) {
    loop {
        if let Ok(docker) = engine.docker().await {
            let mut events = docker.events(Some(EventsOptionsBuilder::default().filters(&filters).build()));
            while let Some(Ok(event)) = events.next().await {
                if let Some(id) = event.actor.and_then(|actor| actor.id) {
                    // Nobody may be listening just now.
                    let _ = sender.send(id);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // What happened meanwhile is known to nobody: everybody looks again.
        let _ = sender.send(String::new());
    }
}

/// Hears of containers.
pub(super) struct Ear(broadcast::Receiver<String>);

impl Ear {
    /// Returns when there is news of this container, or after `patience`.
    pub async fn of(&mut self, id: &str, patience: Duration) {
        let heard = async {
            loop {
                match self.0.recv().await {
                    Ok(of) if of == id || of.is_empty() => return,
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        };
        // After that long it is time to look anyway.
        let _ = tokio::time::timeout(patience.min(AT_THE_LATEST), heard).await;
    }

    /// Returns when there is news of any.
    pub async fn any(&mut self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.0.recv()).await;
        while self.0.try_recv().is_ok() {}
    }
}
