//! Containers that go, and what becomes of their volumes.

use std::time::Duration;

use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use windflow_core::target::TargetError;

use super::look::Found;
use super::nameless;
use super::work::Work;

/// What becomes of the volumes without a name of a container that goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nameless {
    /// They are there for the next container.
    Stay,
    /// Nothing takes its place: they go if that was agreed to.
    GoIfAgreed,
    /// Nobody could miss what is in them.
    Go,
}

impl Work<'_> {
    /// Stops a container within its own grace.
    pub async fn stop(&self, found: &Found) -> Result<(), TargetError> {
        let grace = found.inspect.config.as_ref().and_then(|config| config.stop_timeout).unwrap_or(10);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(10));
        let patience = grace.saturating_add(Duration::from_secs(30));
        let docker = self.engine.patient(patience).await?;
        let what = format!("stopping {}", found.service);
        self.engine.remove_within(patience, &what, docker.stop_container(&found.id, None)).await
    }

    /// Removes a container. What lies in its volumes stays for the next one.
    pub async fn remove(&self, found: &Found) -> Result<(), TargetError> {
        // One that was never started has only such volumes of its own as are empty.
        let state = found.inspect.state.as_ref().and_then(|state| state.status);
        self.remove_container(found, state == Some(ContainerStateStatusEnum::CREATED)).await
    }

    /// Removes a container, and does so with its volumes.
    pub async fn remove_as(&self, found: &Found, volumes: Nameless) -> Result<(), TargetError> {
        match volumes {
            Nameless::Stay => self.remove(found).await,
            Nameless::GoIfAgreed => self.remove_for_good(found).await,
            Nameless::Go => self.remove_with_volumes(found).await,
        }
    }

    /// Removes a container that nothing takes the place of. A volume without a name may hold what somebody misses: it
    /// goes with its container only where that was agreed to.
    pub async fn remove_for_good(&self, found: &Found) -> Result<(), TargetError> {
        if self.cx.consents().allows_destroy("volume") {
            return self.remove_with_volumes(found).await;
        }
        for target in nameless::of(found).keys() {
            self.cx.progress(format_args!("the volume of {} at {target} is kept", found.service));
        }
        self.remove(found).await
    }

    /// Removes a container, and the volumes without a name that it has.
    pub async fn remove_with_volumes(&self, found: &Found) -> Result<(), TargetError> {
        self.remove_container(found, true).await?;
        nameless::remove(self.engine, found).await
    }

    async fn remove_container(&self, found: &Found, volumes: bool) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(volumes).build();
        let what = format!("removing {}", found.service);
        self.engine.remove(&what, docker.remove_container(&found.id, Some(options))).await
    }
}
