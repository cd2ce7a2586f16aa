//! Services: made, and brought to what they should be, one call each.

use std::future::ready;

use bollard::errors::Error;
use bollard::models::{Service as Theirs, ServiceSpec};
use bollard::query_parameters::UpdateServiceOptionsBuilder;
use serde_json::json;
use windflow_core::target::{Context, Health, RESTART_LABEL, Service, Stack, TargetError, TargetErrorKind};
use windflow_core::{ContentHash, ServiceName};

use super::SwarmTarget;
use super::health::judge;
use super::look::{Look, label};
use super::names;
use super::observe::settle;
use super::parts::volume_names;
use super::read::{Names, service as read};
use super::records::is_taken;
use super::render::{Bound, service as render};
use super::sides::{Raised, is_named};
use crate::engine::values::{Fingerprint, Values};
use crate::engine::{self, credentials, mark};

/// How often an update is tried again when only the Swarm's own counter has moved.
pub(super) const TRIES: usize = 5;

impl SwarmTarget {
    /// The service as it should be, beside what is there. Raised beside another, it may have no names
    /// yet.
    #[expect(clippy::too_many_arguments, reason = "all of them are what a service is made of")]
    fn wanted(
        &self,
        stack: &Stack,
        name: &ServiceName,
        service: &Service,
        bound: &Bound,
        values: &Values,
        live: Option<&ServiceSpec>,
        raised: Option<Raised<'_>>,
    ) -> ServiceSpec {
        let mut bound = bound.clone();
        bound.values = values.variables(name);
        let before = Fingerprint::read(label(live.and_then(|live| live.labels.as_ref()), mark::IDENTITY));
        bound.fingerprint = (!bound.values.is_empty()).then(|| {
            let values = bound.values.iter().map(|(variable, value)| (variable, value.as_bytes()));
            Fingerprint::of(values, &before).label()
        });
        let usual = || match raised {
            Some(raised) => names::version(stack.name.as_str(), name.as_str(), raised.mark),
            None => names::object(stack.name.as_str(), name.as_str()),
        };
        bound.name = live.and_then(|live| live.name.clone()).unwrap_or_else(usual);
        let before = label(live.and_then(|live| live.labels.as_ref()), mark::STAGED);
        bound.staged = raised.map(|raised| raised.mark).or(before).map(str::to_owned);
        bound.nameless = raised.is_some_and(|raised| raised.nameless);
        bound.force_update = forced(service, live);
        bound.restarts_with = restarts_with(stack, service);
        let mut wanted = render(&self.config.owner, &stack.name, name, service, &bound);
        if let Some(live) = live {
            settle(&mut wanted, live);
            let adopted = label(live.labels.as_ref(), mark::ADOPTED).map(str::to_owned);
            if let (Some(adopted), Some(labels)) = (adopted, &mut wanted.labels) {
                labels.insert(mark::ADOPTED.to_owned(), adopted);
            }
        }
        wanted
    }

    /// Makes a service, or brings it to what it should be. Says whether anything was changed.
    pub(super) async fn ensure_service(
        &self,
        cx: &Context,
        stack: &Stack,
        name: &ServiceName,
        bound: &Bound,
        values: &Values,
        look: &Look,
    ) -> Result<bool, TargetError> {
        let Some(service) = stack.services.get(name) else { return Ok(false) };
        let Some(found) = look.service(name) else {
            return self.make_service(cx, stack, name, bound, values, look.raises(name)).await.map(|()| true);
        };
        let seen = found.spec.clone().unwrap_or_default();
        let mut wanted = self.wanted(stack, name, service, bound, values, Some(&seen), look.raises(name));
        let is_same = is_same(stack, name, &wanted, &seen);
        // It is as it should be and does not run: the Swarm has given up on it, and is asked to try again.
        if is_same && !matches!(judge(found, look).health, Health::Failed { .. } | Health::Stopped) {
            return Ok(false);
        }
        if is_same || has_another_way(&wanted, &seen) {
            replace_tasks(&mut wanted);
        }
        self.update_service(cx, stack, name, service, wanted, found).await.map(|()| true)
    }

    async fn make_service(
        &self,
        cx: &Context,
        stack: &Stack,
        name: &ServiceName,
        bound: &Bound,
        values: &Values,
        raised: Option<Raised<'_>>,
    ) -> Result<(), TargetError> {
        let Some(service) = stack.services.get(name) else { return Ok(()) };
        let docker = self.engine.docker().await?;
        let mut wanted = self.wanted(stack, name, service, bound, values, None, raised);
        let what = format!("making the service {name}");
        cx.progress(&what);
        let login = self.login(cx, service).await?;
        let beside = match raised {
            Some(raised) => {
                let name = format!("{name}-{}", raised.mark);
                names::beside(stack.name.as_str(), &name, &self.config.owner)
            }
            None => names::beside(stack.name.as_str(), name.as_str(), &self.config.owner),
        };
        let mut made = self.engine.call(docker.create_service(wanted.clone(), login.clone())).await;
        if made.as_ref().is_err_and(is_taken_or_named) {
            // The name is somebody else's: ours is made beside it. Within our networks it has its own name all the same.
            wanted.name = Some(beside);
            made = self.engine.call(docker.create_service(wanted, login)).await;
        }
        self.engine
            .tell(&what, ready(made))
            .await
            .map(|_| ())
            .map_err(|error| error.in_stack(&stack.name).in_service(name))
    }

    pub(super) async fn update_service(
        &self,
        cx: &Context,
        stack: &Stack,
        name: &ServiceName,
        service: &Service,
        wanted: ServiceSpec,
        found: &Theirs,
    ) -> Result<(), TargetError> {
        let docker = self.engine.docker().await?;
        let what = format!("updating the service {name}");
        let seen = found.spec.clone().unwrap_or_default();
        let id = found.id.clone().unwrap_or_default();
        let mut index = found.version.as_ref().and_then(|version| version.index).unwrap_or(0);
        cx.progress(&what);
        let login = self.login(cx, service).await?;
        for _ in 0..TRIES {
            let version = i32::try_from(index).unwrap_or(i32::MAX);
            let options = UpdateServiceOptionsBuilder::default().version(version).registry_auth_from("spec").build();
            match self.engine.call(docker.update_service(&id, wanted.clone(), options, login.clone())).await {
                Err(error) if is_out_of_sequence(&error) => {}
                done => {
                    let done = self.engine.tell(&what, ready(done)).await;
                    return done.map(|_| ()).map_err(|error| error.in_stack(&stack.name).in_service(name));
                }
            }
            let now = self.service_now(&what, &id).await?.unwrap_or_default();
            if now.spec.as_ref() != Some(&seen) {
                let what = "someone else has changed it just now";
                let conflict = self.error(&stack.name, TargetErrorKind::Conflict, what);
                return Err(conflict.in_service(name).with_hint("plan again"));
            }
            index = now.version.and_then(|version| version.index).unwrap_or(index);
        }
        let what = "its version in the Swarm does not come to rest";
        Err(self.error(&stack.name, TargetErrorKind::Transient, what).in_service(name).with_hint("apply again"))
    }

    async fn login(
        &self,
        cx: &Context,
        service: &Service,
    ) -> Result<Option<bollard::auth::DockerCredentials>, TargetError> {
        match &service.image {
            Some(image) => credentials(&self.engine, cx, &self.config.logins, image).await,
            None => Ok(None),
        }
    }
}

/// What a service restarts with, as a mark; none when it restarts with nothing.
pub(super) fn restarts_with(stack: &Stack, service: &Service) -> Option<String> {
    let needs = engine::restarts_with(stack, service);
    (!needs.is_empty()).then(|| ContentHash::of_value(&json!(needs)).short())
}

/// Services that are made anew only because what they restart with is, or is not the same as before; and what that is.
pub(super) fn restarting(stack: &Stack, look: &Look) -> Vec<(ServiceName, String)> {
    let mut found = Vec::new();
    for (name, service) in &stack.services {
        let Some(live) = look.service(name).and_then(|live| live.spec.as_ref()) else { continue };
        let before = label(live.labels.as_ref(), mark::RESTARTS_WITH);
        let now = restarts_with(stack, service);
        if before != now.as_deref() {
            let needs: Vec<String> = engine::restarts_with(stack, service).into_keys().map(|n| n.to_string()).collect();
            found.push((
                name.clone(),
                match needs.is_empty() {
                    true => "it restarts with no other service any more".to_owned(),
                    false => format!("it restarts with {}", needs.join(", ")),
                },
            ));
        }
    }
    found
}

/// Whether it is to be reached otherwise. That stands beside the tasks of a service: a Swarm replaces them for some of it, and
/// for some not, so that a port that nobody asks for any more stays published.
fn has_another_way(wanted: &ServiceSpec, seen: &ServiceSpec) -> bool {
    let way = |spec: &ServiceSpec| {
        let service = read(spec, &Names::default());
        (service.ports, service.endpoint_mode)
    };
    way(wanted) != way(seen)
}

/// Has every task replaced, whatever else has changed.
pub(super) fn replace_tasks(wanted: &mut ServiceSpec) {
    if let Some(task) = &mut wanted.task_template {
        task.force_update = Some(task.force_update.unwrap_or(0) + 1);
    }
}

pub(super) fn force_of(spec: &ServiceSpec) -> u64 {
    spec.task_template.as_ref().and_then(|task| task.force_update).unwrap_or(0)
}

/// The number by which new tasks are asked for when nothing else has changed: another one for a restart that was asked
/// for anew, and else the one that is there.
fn forced(service: &Service, live: Option<&ServiceSpec>) -> u64 {
    let asked = service.labels.get(RESTART_LABEL);
    let before = label(live.and_then(|live| live.labels.as_ref()), mark::SPEC)
        .and_then(|text| serde_json::from_str::<Service>(text).ok())
        .and_then(|before| before.labels.get(RESTART_LABEL).cloned());
    let there = live.map_or(0, force_of);
    match asked {
        Some(nonce) if live.is_some() && before.as_ref() != Some(nonce) => there + 1,
        _ => there,
    }
}

/// Whether a service says already all that is wanted of it.
fn is_same(stack: &Stack, name: &ServiceName, wanted: &ServiceSpec, live: &ServiceSpec) -> bool {
    // What was taken over mounts its volumes without our mark, and has its own name at another place among its names.
    let names = Names { volumes: volume_names(stack), service: name.to_string(), ..Names::default() };
    let sources = |spec: &ServiceSpec| -> Vec<Option<String>> {
        let container = spec.task_template.as_ref().and_then(|task| task.container_spec.as_ref());
        container.iter().flat_map(|found| found.mounts.iter().flatten()).map(|mount| mount.source.clone()).collect()
    };
    let ours = |spec: &ServiceSpec| {
        let labels = spec.labels.iter().flatten().filter(|(label, _)| mark::is_ours(label));
        labels.map(|(label, value)| (label.clone(), value.clone())).collect::<std::collections::BTreeMap<_, _>>()
    };
    json!(read(wanted, &names)) == json!(read(live, &names))
        && sources(wanted) == sources(live)
        && ours(wanted) == ours(live)
        && force_of(wanted) == force_of(live)
        && is_named(wanted) == is_named(live)
}

fn is_taken_or_named(error: &Error) -> bool {
    is_taken(error)
        || matches!(error, Error::DockerResponseServerError { message, .. } if message.contains("name conflicts"))
}

pub(super) fn is_out_of_sequence(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. } if message.contains("out of sequence"))
}

/// The sets beside those that count, and the services of ours that the stack no longer has, those that need others first.
pub(super) fn superfluous<'a>(look: &'a Look, stack: Option<&Stack>) -> Vec<(ServiceName, &'a Theirs)> {
    let mut gone: Vec<(ServiceName, &Theirs)> =
        look.beside.iter().filter_map(|set| Some((super::look::name_of(set)?, set))).collect();
    for service in &look.services {
        let Some(name) = super::look::name_of(service) else { continue };
        if stack.is_none_or(|stack| !stack.services.contains_key(&name)) {
            gone.push((name, service));
        }
    }
    let order = look.records.latest().map(|latest| latest.stack.clone());
    let position = |name: &ServiceName| {
        order.as_ref().and_then(|stack| stack.start_order().iter().position(|found| *found == name)).unwrap_or(0)
    };
    gone.sort_by_key(|(name, _)| std::cmp::Reverse(position(name)));
    gone
}
