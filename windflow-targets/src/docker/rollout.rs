//! One service: from the containers there are to those there should be.
//!
//! Where both can run beside each other the new container is started first, without the service's name in its networks; it
//! gets the name when it is ready, and only then the old one goes. Where they cannot (a published port, a volume both would
//! write to, a name, an address), the old one is stopped first and kept until the new one is ready.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ContainerStateStatusEnum;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;
use windflow_core::ServiceName;
use windflow_core::target::{Mode, MountKind, Order, Service, Stack, Strategy, TargetError};

use super::blue_green::{is_staged_by, is_standing, raise, settle, take_the_name};
use super::look::{Found, Seen, again};
use super::observe::is_as_made;
use super::removal::Nameless;
use super::render::keeping_restart;
use super::work::{Verdict, Work};
use crate::engine::identity;

/// How far a service has come, for those that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Waiting,
    Started,
    Ready,
    Completed,
}

/// The service a container was made of says the same as the one that is wanted.
pub(super) fn is_right(work: &Work<'_>, seen: &Seen, found: &Found, wanted: &Service) -> bool {
    is_made_of(work, seen, found, wanted) && is_as_made(seen, work.stack, &work.config.owner, found)
}

/// A whole container was made of the service that is wanted, whatever has become of it.
pub(super) fn is_made_of(work: &Work<'_>, seen: &Seen, found: &Found, wanted: &Service) -> bool {
    let state = found.inspect.state.as_ref().and_then(|state| state.status);
    // One that was never started may lack files and networks.
    let is_whole = state != Some(ContainerStateStatusEnum::CREATED);
    is_whole
        && seen.made_as(found) == Some(identity(work.stack, wanted))
        && work.meaning.is_up_to_date(work.stack, found, wanted)
}

/// How many instances are wanted.
pub(super) fn count(service: &Service) -> u32 {
    if matches!(service.mode, Mode::Global | Mode::GlobalJob) { 1 } else { service.replicas.0 }
}

/// What is wanted of a service, restarts that were asked for earlier included.
pub(super) fn wanted(seen: &Seen, stack: &Stack, name: &ServiceName, service: &Service) -> Service {
    // Of two sets beside each other only one was made of this.
    if seen.two_sets().is_some() {
        let of_each = seen.of(name).map(|found| keeping_restart(service, Some(&found.spec)));
        let mut both = std::iter::once(service.clone()).chain(of_each);
        if let Some(made_of) = both.find(|asked| seen.of(name).any(|f| f.identity == Some(identity(stack, asked)))) {
            return made_of;
        }
    }
    let before = seen
        .of(name)
        .map(|found| &found.spec)
        .find(|spec| spec.labels.contains_key(windflow_core::target::RESTART_LABEL));
    keeping_restart(service, before)
}

/// Whether old and new can run beside each other.
pub(super) fn beside(service: &Service) -> bool {
    let fixed_port = service.ports.iter().any(|port| port.published.is_some());
    let fixed_address = service.networks.values().any(|to| to.ipv4_address.is_some() || to.ipv6_address.is_some());
    !fixed_port && !fixed_address && service.container_name.is_none() && service.network_mode.as_deref() != Some("host")
}

/// Whether the new container is started before the old one is stopped.
fn starts_first(service: &Service) -> bool {
    if service.rollout.as_ref().and_then(|rollout| rollout.strategy) == Some(Strategy::Recreate) || !beside(service) {
        return false;
    }
    let asked = service.update_config.as_ref().and_then(|update| update.order);
    let writes = |kind| matches!(kind, MountKind::Volume | MountKind::Bind);
    // Two databases on one volume would destroy it: that must be asked for.
    let shares = service.volumes.iter().any(|mount| writes(mount.kind) && mount.source.is_some() && !mount.read_only);
    match asked {
        Some(order) => order == Order::StartFirst,
        None => !shares,
    }
}

/// Brings one service about, and tells how far it has come. The reason when it does not become ready.
pub(super) async fn roll_out(
    work: &Work<'_>,
    seen: &Seen,
    name: &ServiceName,
    stage: &watch::Sender<Stage>,
    must_complete: bool,
) -> Result<Option<String>, TargetError> {
    let Some(asked) = work.stack.services.get(name) else { return Ok(None) };
    let service = wanted(seen, work.stack, name, asked);
    if work.beside && is_staged_by(work.stack, seen, name) {
        return raise(work, seen, name, &service, stage).await;
    }
    // What stands beside another may lack its names only.
    let settles = seen.two_sets().is_some();
    let mut right: BTreeMap<u32, Found> = BTreeMap::new();
    let mut wrong: Vec<Found> = Vec::new();
    for found in seen.of(name) {
        let fits = found.instance >= 1 && found.instance <= count(&service) && !right.contains_key(&found.instance);
        let stands = || settles && is_standing(work, seen, found, &service);
        if fits && (is_right(work, seen, found, &service) || stands()) {
            right.insert(found.instance, found.clone());
        } else {
            wrong.push(found.clone());
        }
    }
    let missing: Vec<u32> = (1..=count(&service)).filter(|instance| !right.contains_key(instance)).collect();
    // What both would write to goes over to the new one: the old one must have let go of it.
    let first = starts_first(&service) && !work.takes_over(name);
    // What had to make way comes back: whoever took its place makes way first.
    if !first && !settles {
        let resting: BTreeSet<u32> =
            right.values().filter(|found| rests(found, must_complete)).map(|found| found.instance).collect();
        let (in_place, others): (Vec<Found>, Vec<Found>) =
            wrong.drain(..).partition(|found| resting.contains(&found.instance));
        take_away(work, &in_place).await?;
        wrong = others;
    }
    // What runs and is right, and what does not run any more and should.
    if let Some(why) = wake(work, right.values(), must_complete).await? {
        return Ok(Some(why));
    }
    if missing.is_empty() {
        stage.send_replace(Stage::Started);
    }
    let all_new = wrong.is_empty();
    let batch = match service.rollout.as_ref() {
        _ if all_new => missing.len(),
        Some(rollout) if rollout.strategy == Some(Strategy::Recreate) => missing.len(),
        rollout => usize::try_from(rollout.and_then(|rollout| rollout.batch).unwrap_or(1)).unwrap_or(1),
    };
    for chunk in missing.chunks(batch.max(1)) {
        let (these, others): (Vec<Found>, Vec<Found>) =
            wrong.drain(..).partition(|found| chunk.contains(&found.instance));
        wrong = others;
        if let Some(why) = replace(work, name, &service, chunk, &these, first, must_complete, stage).await? {
            return Ok(Some(why));
        }
    }
    stage.send_replace(Stage::Started);
    if settles {
        if let Some(why) = all_ready(work, right.values(), &service, must_complete).await? {
            return Ok(Some(why));
        }
        let right: Vec<&Found> = right.values().collect();
        settle(work, &service, &right, &wrong).await?;
    }
    // Instances that are too many, and what a cut has left.
    take_away(work, &wrong).await?;
    if settles {
        for found in right.values() {
            call(work, &service, found).await?;
        }
    }
    let verdict = all_ready(work, right.values(), &service, must_complete).await?;
    if verdict.is_none() {
        stage.send_replace(if must_complete { Stage::Completed } else { Stage::Ready });
    }
    Ok(verdict)
}

/// Whether a container does not run, and should.
fn rests(found: &Found, must_complete: bool) -> bool {
    let state = found.inspect.state.clone().unwrap_or_default();
    let ended_well = state.status == Some(ContainerStateStatusEnum::EXITED) && state.exit_code == Some(0);
    let is_over = ended_well && (must_complete || !super::observe::comes_back(found));
    matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)) && !is_over
}

/// Starts what is right and does not run.
async fn wake(
    work: &Work<'_>,
    right: impl Iterator<Item = &Found>,
    must_complete: bool,
) -> Result<Option<String>, TargetError> {
    for found in right {
        let status = found.inspect.state.as_ref().and_then(|state| state.status);
        if status == Some(ContainerStateStatusEnum::PAUSED) {
            let docker = work.engine.docker().await?;
            work.engine.tell(&format!("waking {}", found.service), docker.unpause_container(&found.id)).await?;
        } else if rests(found, must_complete) {
            work.still_ours().await?;
            work.cx.progress(format_args!("starting {} again", found.service));
            if let Verdict::Bad(why) = work.start(found).await? {
                return Ok(Some(format!("{}: {why}", found.service)));
            }
        }
    }
    Ok(None)
}

/// Replaces these instances, or makes them when there are none.
#[expect(clippy::too_many_arguments, reason = "one step of a rollout, with all that it stands on")]
async fn replace(
    work: &Work<'_>,
    name: &ServiceName,
    service: &Service,
    instances: &[u32],
    old: &[Found],
    first: bool,
    must_complete: bool,
    stage: &watch::Sender<Stage>,
) -> Result<Option<String>, TargetError> {
    work.still_ours().await?;
    // What was never started is no container anybody could miss.
    let (half_made, old): (Vec<&Found>, Vec<&Found>) = old.iter().partition(|found| {
        found.inspect.state.as_ref().and_then(|state| state.status) == Some(ContainerStateStatusEnum::CREATED)
    });
    for found in half_made {
        work.remove(found).await?;
    }
    let quietly = first && !old.is_empty();
    if !quietly {
        for found in &old {
            work.cx.progress(format_args!("stopping {name}"));
            work.stop(found).await?;
        }
    }
    work.cx.progress(format_args!("starting {name}"));
    let new = match start_all(work, name, service, instances, quietly).await? {
        Ok(new) => new,
        Err(why) => return Ok(Some(why)),
    };
    stage.send_replace(Stage::Started);
    if let Some(why) = all_ready(work, new.iter(), service, must_complete).await? {
        return Ok(Some(why));
    }
    if quietly {
        work.still_ours().await?;
        for found in &new {
            take_the_name(work, service, found).await?;
        }
    }
    let old: Vec<Found> = old.into_iter().cloned().collect();
    take_away(work, &old).await?;
    for found in &new {
        call(work, service, found).await?;
    }
    Ok(None)
}

/// Starts these instances at once; the reason when one cannot be started.
pub(super) async fn start_all(
    work: &Work<'_>,
    name: &ServiceName,
    service: &Service,
    instances: &[u32],
    quietly: bool,
) -> Result<Result<Vec<Found>, String>, TargetError> {
    work.still_ours().await?;
    let mut new = Vec::new();
    let started = join_all(instances.iter().map(|instance| work.start_new(name, service, *instance, quietly))).await;
    for (instance, started) in instances.iter().zip(started) {
        match started? {
            Ok(id) => new.push(Found {
                id,
                service: name.clone(),
                instance: *instance,
                spec: service.clone(),
                identity: None,
                inspect: Default::default(),
            }),
            Err(why) => return Ok(Err(format!("{name}: {why}"))),
        }
    }
    Ok(Ok(new))
}

/// Gives a container the name it should have, if it could not have it before.
pub(super) async fn call(work: &Work<'_>, service: &Service, found: &Found) -> Result<(), TargetError> {
    let wanted = work.called(&found.service, service, found.instance);
    let Some(now) = Box::pin(again(work.engine, found)).await? else { return Ok(()) };
    if now.inspect.name.as_deref().is_some_and(|name| name.trim_start_matches('/') != wanted) {
        work.rename(found, &wanted).await?;
    }
    Ok(())
}

/// Stops and removes these, all at the same moment: each may take its whole grace to end. What was begun is waited for, so that
/// nothing comes about unseen.
async fn away(work: &Work<'_>, old: impl IntoIterator<Item = &Found>, volumes: Nameless) -> Result<(), TargetError> {
    let gone = join_all(old.into_iter().map(|found| async move {
        work.still_ours().await?;
        work.stop(found).await?;
        // It may have taken its whole grace.
        work.still_ours().await?;
        work.remove_as(found, volumes).await
    }));
    gone.await.into_iter().collect()
}

/// Takes away what others take the place of.
pub(super) async fn take_away(work: &Work<'_>, old: impl IntoIterator<Item = &Found>) -> Result<(), TargetError> {
    away(work, old, Nameless::Stay).await
}

/// Takes services down, and tells so. Some engines kill what is stopped when nobody waits for it any more: what was begun is
/// waited for, also by whoever was asked to stop.
pub(super) async fn go_down(work: &Work<'_>, wave: &[&Found], volumes: Nameless) -> Result<(), TargetError> {
    work.go_on()?;
    for found in wave {
        work.cx.progress(format_args!("stopping {}", found.service));
    }
    away(work, wave.iter().copied(), volumes).await
}

pub(super) async fn all_ready(
    work: &Work<'_>,
    containers: impl Iterator<Item = &Found>,
    service: &Service,
    must_complete: bool,
) -> Result<Option<String>, TargetError> {
    let until = work.deadline(service);
    let each = containers.map(|found| async move {
        let mut ear = work.news.listen();
        work.ready(found, &mut ear, must_complete, until).await
    });
    for verdict in try_join_all(each).await? {
        if let Verdict::Bad(why) = verdict {
            return Ok(Some(why));
        }
    }
    Ok(None)
}
