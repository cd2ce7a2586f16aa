//! Work on one stack: what every step of it needs, and the calls it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::models::{ContainerStateStatusEnum, EndpointIpamConfig, HealthStatusEnum, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, LogsOptionsBuilder, RenameContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windflow_core::target::{Context, Health, Service, Stack, TargetError, TargetErrorKind};
use windflow_core::{ContentHash, RunId, ServiceName};

use super::called;
use super::config::DockerConfig;
use super::events::{Ear, News};
use super::handed::{Handed, archive};
use super::look::{Found, again};
use super::meaning::Meaning;
use super::nameless::{self, Carried};
use super::names;
use super::observe::{CRASH_LOOP, health};
use super::records;
use super::render::{self, Rendered, Surroundings};
use crate::engine::doing::{Doing, overtaken};
use crate::engine::{Engine, Image, is_missing, local, mark};

/// How many of its last lines are told of a container that failed.
const LAST_LINES: usize = 5;

/// How often a start is tried again while a network's name is not clear.
const AMBIGUOUS: usize = 50;

/// What every step of the work on a stack needs.
pub(super) struct Work<'a> {
    pub engine: &'a Engine,
    pub cx: &'a Context,
    pub config: &'a DockerConfig,
    pub stack: &'a Stack,
    /// The engine's names of networks and volumes, by the stack's.
    pub networks: BTreeMap<String, String>,
    pub volumes: BTreeMap<String, String>,
    pub handed: BTreeMap<ServiceName, Handed>,
    pub meaning: &'a Meaning,
    pub news: News,
    pub start_interval: bool,
    /// Whether what is replaced is kept beside, where the stack says so.
    pub beside: bool,
    /// What is on record as being done, as long as somebody else may begin something else.
    pub mine: Option<&'a Doing>,
    pub until: Instant,
    /// The ids of containers that were this stack's before.
    pub ours: BTreeSet<String>,
    /// Volumes without a name that the next containers take over.
    pub carried: Carried,
    /// Set when one service has failed: nobody begins anything new.
    pub stopping: CancellationToken,
}

/// What came of waiting, or of a start.
pub(super) enum Verdict {
    Good,
    Bad(String),
}

impl Work<'_> {
    pub fn rendered(&self, name: &ServiceName, service: &Service, instance: u32) -> Rendered {
        let around = Surroundings {
            owner: &self.config.owner,
            stack: self.stack,
            networks: &self.networks,
            volumes: &self.volumes,
            start_interval: self.start_interval,
        };
        let mut rendered = render::container(&around, name, service, instance);
        match self.handed.get(name) {
            Some(handed) => {
                let labels = rendered.body.labels.get_or_insert_default();
                labels.extend(handed.label.iter().map(|label| (mark::VALUES.to_owned(), label.clone())));
                render::with_values(rendered, service, &handed.values)
            }
            None => rendered,
        }
    }

    pub fn error(&self, kind: TargetErrorKind, message: impl std::fmt::Display) -> TargetError {
        TargetError::new(&self.config.name, kind, message).in_stack(&self.stack.name)
    }

    /// Refuses to go on once that was asked.
    pub fn go_on(&self) -> Result<(), TargetError> {
        if self.cx.cancel().is_cancelled() || self.stopping.is_cancelled() {
            let stopped = self.error(TargetErrorKind::Cancelled, "stopped between two steps");
            return Err(stopped.with_hint("the same again goes on"));
        }
        Ok(())
    }

    /// Refuses to touch anything that runs once somebody else has begun.
    pub async fn still_ours(&self) -> Result<(), TargetError> {
        let (owner, stack) = (&self.config.owner, &self.stack.name);
        match self.mine {
            Some(mine) if !records::is_doing(self.engine, owner, stack, mine).await? => {
                Err(overtaken(&self.config.name, stack))
            }
            _ => Ok(()),
        }
    }

    /// Makes a container, hands it its files, has it join its networks, and starts it: what was started is complete.
    /// `quietly` keeps the service's name from it, as long as another answers to that.
    pub async fn start_new(
        &self,
        name: &ServiceName,
        service: &Service,
        instance: u32,
        quietly: bool,
    ) -> Result<Result<String, String>, TargetError> {
        self.go_on()?;
        let mut rendered = self.rendered(name, service, instance);
        let made = format!("{:016x}", fastrand::u64(..));
        rendered.body.labels.get_or_insert_default().insert(mark::MADE.to_owned(), made);
        if quietly
            && let Some(joined) = rendered.body.networking_config.as_mut().and_then(|c| c.endpoints_config.as_mut())
        {
            joined.values_mut().for_each(|to| to.aliases = None);
        }
        if let Some(volumes) = self.carried.get(&(name.clone(), instance)) {
            let image = self.image(service).await?;
            nameless::give(&mut rendered, service, &image.config, volumes);
        }
        let id = match self.create(name, service, instance, &rendered).await {
            Ok(id) => id,
            Err(error) => return refused_by_the_engine(error).map(Err),
        };
        let finished = self.complete(name, service, &id, &rendered, quietly).await;
        match finished {
            Ok(()) => Ok(Ok(id)),
            Err(error) => refused_by_the_engine(error).map(Err),
        }
    }

    async fn create(
        &self,
        name: &ServiceName,
        service: &Service,
        instance: u32,
        rendered: &Rendered,
    ) -> Result<String, TargetError> {
        let docker = self.engine.docker().await?;
        let what = format!("making {name}");
        let mut body = rendered.body.clone();
        if let (Some(image), Some(wanted)) = (&service.image, self.meaning.images.get(name)) {
            let now = local(self.engine, image, service.platform.as_deref()).await?;
            // The name leads elsewhere since it was looked at, or one goes back.
            if now.is_none_or(|now| now.id != wanted.id) {
                body.image = Some(wanted.id.clone());
            }
        }
        let first = self.called(name, service, instance);
        let second = format!("{first}-{}", &rendered.identity.short()[..6]);
        let third = names::instead(&self.config.owner, &second);
        // Even that may be taken, by one that an apply which was cut had asked for and that came about only now.
        let last = format!("{third}-{}", ContentHash::of(RunId::generate().as_str().as_bytes()).short());
        let mut taken = None;
        for name_of_it in [first, second, third, last] {
            let options = CreateContainerOptionsBuilder::default().name(&name_of_it);
            let options = match service.platform.as_deref() {
                Some(platform) => options.platform(platform).build(),
                None => options.build(),
            };
            match self.engine.call(docker.create_container(Some(options), body.clone())).await {
                Ok(made) => return Ok(made.id),
                // The name of one that is to go, or of somebody else's.
                Err(error) if is_name_taken(&error) => {
                    taken = Some(self.engine.failed(&what, &error));
                    if let Some(why) = self.in_the_way(service).await? {
                        let message = format!("{}: {why}", called::path(name));
                        return Err(self.error(TargetErrorKind::Conflict, message));
                    }
                }
                Err(error) => return Err(self.engine.failed(&what, &error)),
            }
        }
        Err(taken.unwrap_or_else(|| self.error(TargetErrorKind::Conflict, format_args!("{what}: no name is free"))))
    }

    /// Who else has the name this service asks for.
    async fn in_the_way(&self, service: &Service) -> Result<Option<String>, TargetError> {
        let Some(called) = service.container_name.as_deref() else { return Ok(None) };
        let ours = |id: &str| self.ours.contains(id);
        called::stranger(self.engine, &self.config.owner, &self.stack.name, called, ours).await
    }

    /// What the image says that containers of this service are made of.
    async fn image(&self, service: &Service) -> Result<Image, TargetError> {
        let docker = self.engine.docker().await?;
        let called = service.image.as_deref().unwrap_or_default();
        let found = self.engine.find("looking at an image", docker.inspect_image(called)).await?;
        Ok(found.map(Image::new).unwrap_or_default())
    }

    /// Whether an instance of this service takes over what the one before may still write to.
    pub fn takes_over(&self, name: &ServiceName) -> bool {
        self.carried.keys().any(|(service, _)| service == name)
    }

    pub fn called(&self, name: &ServiceName, service: &Service, instance: u32) -> String {
        service.container_name.clone().unwrap_or_else(|| names::container(&self.stack.name, name, instance))
    }

    async fn complete(
        &self,
        name: &ServiceName,
        service: &Service,
        id: &str,
        rendered: &Rendered,
        quietly: bool,
    ) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let files = self.handed.get(name).map(|handed| handed.files.as_slice()).unwrap_or_default();
        if !files.is_empty() {
            let what = format!("handing {name} its files");
            let archive = archive(files)
                .map_err(|error| self.error(TargetErrorKind::Refused, format_args!("{what}: {error}")))?;
            let options = UploadToContainerOptionsBuilder::default().path("/").copy_uidgid("true").build();
            let body = bollard::body_full(archive.into());
            self.engine.tell(&what, docker.upload_to_container(id, Some(options), body)).await?;
        }
        for real in &rendered.joins {
            self.join(name, service, id, real, quietly).await?;
        }
        let what = format!("starting {name}");
        for _ in 0..AMBIGUOUS {
            match self.engine.call(docker.start_container(id, None)).await {
                // Somebody has made a network of the same name at the same moment, and gives way.
                Err(error) if is_ambiguous(&error) => tokio::time::sleep(Duration::from_millis(200)).await,
                done => return self.engine.tell(&what, std::future::ready(done)).await,
            }
        }
        self.engine.tell(&what, docker.start_container(id, None)).await
    }

    /// Has a container join a network, under the service's name unless quietly.
    pub async fn join(
        &self,
        name: &ServiceName,
        service: &Service,
        id: &str,
        real: &str,
        quietly: bool,
    ) -> Result<(), TargetError> {
        self.join_at(name, service, id, real, quietly, None).await
    }

    /// The same at this address, where the network allows that.
    pub async fn join_at(
        &self,
        name: &ServiceName,
        service: &Service,
        id: &str,
        real: &str,
        quietly: bool,
        address: Option<&str>,
    ) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let known = self.networks.iter().find(|(_, called)| *called == real).map(|(known, _)| known);
        let mut settings = render::endpoint(name, known.and_then(|known| service.networks.get(known)));
        if quietly {
            settings.aliases = None;
        }
        if let Some(address) = address {
            let ipam = EndpointIpamConfig { ipv4_address: Some(address.to_owned()), ..EndpointIpamConfig::default() };
            settings.ipam_config = Some(ipam);
        }
        let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(settings) };
        self.engine.tell(&format!("joining {name} to {real}"), docker.connect_network(real, request)).await
    }

    pub async fn leave(&self, name: &ServiceName, id: &str, real: &str) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let request = bollard::models::NetworkDisconnectRequest { container: id.to_owned(), force: None };
        self.engine.tell(&format!("taking {name} out of {real}"), docker.disconnect_network(real, request)).await
    }

    pub async fn start(&self, found: &Found) -> Result<Verdict, TargetError> {
        self.go_on()?;
        let docker = self.engine.docker().await?;
        let started =
            self.engine.tell(&format!("starting {}", found.service), docker.start_container(&found.id, None)).await;
        match started {
            Ok(()) => Ok(Verdict::Good),
            Err(error) => refused_by_the_engine(error).map(Verdict::Bad),
        }
    }

    pub async fn rename(&self, found: &Found, called: &str) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let options = RenameContainerOptionsBuilder::default().name(called).build();
        match self.engine.call(docker.rename_container(&found.id, options)).await {
            // A name is for people only: where it is taken, the other will do.
            Err(error) if is_name_taken(&error) || is_missing(&error) || is_called_so(&error) => Ok(()),
            done => self.engine.tell(&format!("renaming {}", found.service), std::future::ready(done)).await,
        }
    }

    /// Waits until a container is ready, or known never to be; with `over`, until it has ended well.
    pub async fn ready(
        &self,
        found: &Found,
        ear: &mut Ear,
        over: bool,
        until: Instant,
    ) -> Result<Verdict, TargetError> {
        let settle = self.settle(&found.spec);
        let mut told: Option<Health> = None;
        let mut ready_since: Option<Instant> = None;
        // What ran and was ill before this work began may get well by it: only time tells.
        let mut was_ill = was_ill(found);
        loop {
            let Some(now) = Box::pin(again(self.engine, found)).await? else {
                return Ok(Verdict::Bad(format!("{}: its container was removed by somebody", found.service)));
            };
            let health = health(&now, self.cx.clock().now(), settle);
            if told.as_ref() != Some(&health) {
                self.cx.progress(format_args!("{} is {}", found.service, word(&health)));
            }
            let mut patience = until.saturating_duration_since(Instant::now());
            match &health {
                Health::Completed => return Ok(Verdict::Good),
                Health::Failed { .. } | Health::Unhealthy { .. } if was_ill && !fails_again(found, &now) => {}
                Health::Healthy if over => {}
                Health::Healthy => {
                    // Ready for as long as it was asked to be, in a row.
                    let since = *ready_since.get_or_insert_with(Instant::now);
                    let steady = self.min_healthy(&found.spec);
                    if since.elapsed() >= steady {
                        return Ok(Verdict::Good);
                    }
                    patience = patience.min(steady.saturating_sub(since.elapsed()));
                }
                Health::Failed { why } | Health::Unhealthy { why } => {
                    return Ok(Verdict::Bad(self.told(&now, why).await));
                }
                Health::Stopped => {
                    let state = now.inspect.state.clone().unwrap_or_default();
                    let why = super::observe::exit_reason(&state);
                    return Ok(Verdict::Bad(self.told(&now, &why).await));
                }
                _ => {
                    ready_since = None;
                    // Without a check it is ready when it has run for so long.
                    let has_check = now.inspect.state.as_ref().is_some_and(|state| state.health.is_some());
                    let running = now.inspect.state.as_ref().is_some_and(|state| state.running == Some(true));
                    if running && !has_check {
                        patience = patience.min(settle);
                    }
                }
            }
            was_ill &= !matches!(health, Health::Healthy);
            told = Some(health);
            if Instant::now() >= until {
                let last = told.as_ref().map_or("starting", word);
                let why = match &told {
                    Some(Health::Failed { why } | Health::Unhealthy { why }) => self.told(&now, why).await,
                    _ => found.service.to_string(),
                };
                return Ok(Verdict::Bad(format!("{why}: still {last} when time was up")));
            }
            tokio::select! {
                biased;
                () = self.cx.cancel().cancelled() => {
                    let stopped = self.error(TargetErrorKind::Cancelled, format_args!("stopped while waiting for {}", found.service));
                    return Err(stopped.with_hint("the same again goes on"));
                }
                () = self.stopping.cancelled() => self.go_on()?,
                () = ear.of(&found.id, patience) => {}
            }
        }
    }

    fn settle(&self, service: &Service) -> Duration {
        match service.check() {
            Some(_) => Duration::ZERO,
            None => self.config.settle,
        }
    }

    fn min_healthy(&self, service: &Service) -> Duration {
        service.rollout.as_ref().and_then(|rollout| rollout.min_healthy).unwrap_or(Duration::ZERO)
    }

    /// Until when instances of this service may take to become ready.
    pub fn deadline(&self, service: &Service) -> Instant {
        let own = service.rollout.as_ref().and_then(|rollout| rollout.progress_deadline);
        own.map_or(self.until, |own| self.until.min(Instant::now() + own))
    }

    /// Why a service is not ready, with what it said last.
    async fn told(&self, found: &Found, why: &str) -> String {
        let why = format!("{}: {why}", found.service);
        let lines = self.last_lines(&found.id).await;
        let told = if lines.is_empty() { why } else { format!("{why}; it said last: {}", lines.join(" | ")) };
        self.cx.masker().mask(&told)
    }

    async fn last_lines(&self, id: &str) -> Vec<String> {
        let Ok(docker) = self.engine.docker().await else { return Vec::new() };
        let tail = LAST_LINES.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).tail(&tail).build();
        let mut lines = crate::engine::lines(docker.logs(id, Some(options)));
        let mut last = Vec::new();
        // A container that cannot be asked for its lines has none worth waiting for.
        while let Ok(Some(Ok(line))) = tokio::time::timeout(Duration::from_secs(2), lines.next()).await {
            last.push(line.text);
        }
        last
    }
}

/// Whether a container ran, and was ill all the same. One that had ended is started, and judged as any that is.
fn was_ill(found: &Found) -> bool {
    let state = found.inspect.state.as_ref();
    let check = state.and_then(|state| state.health.as_ref()).and_then(|health| health.status);
    match state.and_then(|state| state.status) {
        Some(ContainerStateStatusEnum::RUNNING) => check == Some(HealthStatusEnum::UNHEALTHY),
        // Its last check was made when it was put to sleep.
        Some(ContainerStateStatusEnum::PAUSED | ContainerStateStatusEnum::RESTARTING) => true,
        _ => false,
    }
}

/// Whether a container fails as often since then as makes a crash loop.
fn fails_again(before: &Found, now: &Found) -> bool {
    let restarts = |found: &Found| found.inspect.restart_count.unwrap_or(0);
    now.inspect.state.as_ref().and_then(|state| state.status) == Some(ContainerStateStatusEnum::EXITED)
        || restarts(now) - restarts(before) >= CRASH_LOOP
}

/// What the engine itself would not do is a verdict on what was asked; anything else is a failed call.
pub(super) fn refused_by_the_engine(error: TargetError) -> Result<String, TargetError> {
    match error.kind {
        TargetErrorKind::Refused
        | TargetErrorKind::Conflict
        | TargetErrorKind::NotFound
        | TargetErrorKind::Transient => Ok(error.message),
        _ => Err(error),
    }
}

/// Somebody else has given it that name just now.
fn is_called_so(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { message, .. } if message.contains("same name as its current name"))
}

fn is_name_taken(error: &bollard::errors::Error) -> bool {
    // Podman says 500.
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 409 | 500, message }
        if message.contains("name") && message.contains("in use"))
}

fn is_ambiguous(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { message, .. } if message.contains("is ambiguous"))
}

fn word(health: &Health) -> &'static str {
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy { .. } => "unhealthy",
        Health::Completed => "done",
        Health::Failed { .. } => "failed",
        _ => "stopped",
    }
}
