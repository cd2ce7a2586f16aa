//! How a service is, from its tasks. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    EndpointPortConfigPublishModeEnum as Publish, EndpointSpecModeEnum, Service,
    ServiceUpdateStatusStateEnum as Update, Task, TaskSpec, TaskSpecRestartPolicyConditionEnum as On, TaskState,
};
use windflow_core::target::{Health, Mode, ObservedInstance, Service as Ours};

use super::look::Look;
use super::read::{Names, service as read};
use crate::engine::parse_moment;

/// So many ends of a service that is to be started again without end, and it is known to end again and again.
const ENOUGH: usize = 2;

/// Why a service is not ready, and how sure that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Waiting longer cannot help.
    Now(String),
    /// It has ended once, and is started again.
    Soon(String),
    /// It cannot begin; what is in its way may go.
    Stuck(String),
}

/// How a service is.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub health: Health,
    pub instances: Vec<ObservedInstance>,
    pub trouble: Option<Trouble>,
    /// The task that tells most about the trouble.
    pub task: Option<String>,
    /// Whether there are places for which the Swarm has made no task, and nothing that could be why.
    pub lacks_tasks: bool,
    /// Whether a task that is not started again has ended only because another was still in its way, and none is now.
    pub ended_in_vain: bool,
}

/// The tasks whose end tells nothing, or little, to whoever has begun something.
#[derive(Clone, Debug, Default)]
pub(super) struct Excused {
    /// Those that had ended before it began. One that is the last of its place tells how that is all the same.
    pub before: BTreeSet<String>,
    /// Those that ended while others of their service were still ending.
    pub beside: BTreeSet<String>,
}

impl Excused {
    fn holds(&self, task: &Task) -> bool {
        task.id.as_ref().is_some_and(|id| self.before.contains(id) || self.beside.contains(id))
    }
}

/// Whether a task runs what the service says now. Where tasks may be placed does not matter to one that is placed.
pub(super) fn is_current(task: &Task, service: &Service) -> bool {
    let bare = |spec: Option<&TaskSpec>| {
        let mut spec = spec.cloned().unwrap_or_default();
        (spec.runtime, spec.placement) = (None, None);
        // Nothing said and an empty object are the same to the engine.
        spec.resources = spec.resources.filter(|found| {
            let limits = found.limits.clone().unwrap_or_default();
            let reservations = found.reservations.clone().unwrap_or_default();
            limits != Default::default() || reservations != Default::default()
        });
        spec
    };
    let wanted = service.spec.as_ref().and_then(|spec| spec.task_template.as_ref());
    let iteration = service.job_status.as_ref().and_then(|status| status.job_iteration.as_ref()?.index);
    let of_iteration = iteration.is_none() || task.job_iteration.as_ref().and_then(|it| it.index) == iteration;
    of_iteration && bare(task.spec.as_ref()) == bare(wanted)
}

pub(super) fn judge(service: &Service, look: &Look) -> Judged {
    judge_since(service, look, &Excused::default())
}

/// The same for whoever has begun something.
pub(super) fn judge_since(service: &Service, look: &Look, excused: &Excused) -> Judged {
    let spec = service.spec.clone().unwrap_or_default();
    let wanted = read(&spec, &Names::default());
    let restart = spec.task_template.as_ref().and_then(|task| task.restart_policy.clone()).unwrap_or_default();
    let policy = restart.condition;
    let once = policy == Some(On::NONE);
    let is_global = matches!(wanted.mode, Mode::Global | Mode::GlobalJob);
    let most = restart.max_attempts.and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0);
    // A task that says the same may be of a time before the service said something else.
    let begun = service.update_status.as_ref().and_then(|status| parse_moment(status.started_at.as_deref()?));
    let is_old = |task: &Task| {
        let made = task.created_at.as_deref().and_then(parse_moment);
        excused.holds(task) || begun.is_some_and(|begun| made < Some(begun))
    };
    let mut slots: BTreeMap<(i64, String), Vec<&Task>> = BTreeMap::new();
    for task in look.tasks_of(service).filter(|task| is_current(task, service)) {
        if task.desired_state == Some(TaskState::REMOVE) {
            continue;
        }
        // The first slot of a job has no number either, and its tasks may be on one node after the other.
        let node = if is_global { task.node_id.clone().unwrap_or_default() } else { String::new() };
        slots.entry((task.slot.unwrap_or(0), node)).or_default().push(task);
    }
    if wanted.mode == Mode::Replicated {
        // Where there are to be fewer now, those that go leave the tasks that had ended before.
        let too_many = slots.len().saturating_sub(wanted.replicas.0 as usize);
        let left = slots.iter().rev().filter(|(_, tasks)| !tasks.iter().any(|task| is_wanted(task)));
        let left: Vec<(i64, String)> = left.map(|(slot, _)| slot.clone()).take(too_many).collect();
        slots.retain(|slot, _| !left.contains(slot));
    }
    let makes_way = makes_way(service, look);
    let mut ended_in_vain = false;
    let mut instances = Vec::new();
    let mut troubles: Vec<(Trouble, Option<String>)> = Vec::new();
    for tasks in slots.values_mut() {
        // When the Swarm changes its mind about an update, an earlier task may stay and a later one go.
        tasks.sort_by_key(|task| {
            std::cmp::Reverse((is_wanted(task), task.created_at.as_deref().and_then(parse_moment)))
        });
        let ended = |task: &&&Task| match state(task) {
            TaskState::FAILED | TaskState::REJECTED => true,
            TaskState::COMPLETE => !once && policy != Some(On::ON_FAILURE) && !wanted.mode.is_job(),
            _ => false,
        };
        let newest = tasks[0];
        // The Swarm will not start it again, and it may run when nothing is in its way any more.
        let is_in_vain = once
            && wanted.mode == Mode::Replicated
            && ended(&&newest)
            && newest.id.as_ref().is_some_and(|id| excused.beside.contains(id));
        let counts = |task: &&&Task| ended(task) && (task.id == newest.id && !is_in_vain || !is_old(task));
        let ends = tasks.iter().filter(counts).count();
        // Its node is drained, or the service is not for it any more: the Swarm wants nothing of it there.
        let is_over = newest.desired_state == Some(TaskState::SHUTDOWN) && state(newest) == TaskState::SHUTDOWN;
        if newest.slot.is_none() && is_over {
            continue;
        }
        let runs = state(newest) == TaskState::RUNNING;
        // One that runs, or is done, has got over the ends before it.
        let is_well = runs || (state(newest) == TaskState::COMPLETE && !ended(&&newest));
        let last_end = tasks.iter().find(counts).copied().filter(|_| !is_well);
        let is_final = match most {
            _ if once => true,
            // A Swarm runs a job again for ever, however often it was to be tried.
            most if wanted.mode.is_job() => most.is_some_and(|most| ends > most),
            Some(_) => ended(&&newest) && !is_wanted(newest),
            None => ends >= ENOUGH,
        };
        let (mut health, mut trouble) = of_task(newest, last_end, is_final, look);
        let has_no_place = matches!(state(newest), TaskState::NEW | TaskState::ALLOCATED | TaskState::PENDING);
        if has_no_place && last_end.is_none() && makes_way {
            (health, trouble) = (Health::Starting, None);
        }
        if is_in_vain {
            (health, trouble) = (Health::Starting, None);
            ended_in_vain |= !makes_way;
        }
        // A job is ready when it is done.
        if wanted.mode.is_job() && health == Health::Healthy {
            health = Health::Starting;
        }
        let id = newest.status.as_ref().and_then(|status| status.container_status.as_ref()?.container_id.clone());
        let mut instance = ObservedInstance::new(id.or(newest.id.clone()).unwrap_or_default(), health);
        let since = newest.status.as_ref().and_then(|status| parse_moment(status.timestamp.as_deref()?));
        instance.since = since.filter(|_| runs);
        instance.restarts = u32::try_from(tasks.len() - 1).unwrap_or(u32::MAX);
        instances.push(instance);
        let told = last_end.unwrap_or(newest).id.clone();
        troubles.extend(trouble.map(|trouble| (trouble, told)));
    }
    let count = match wanted.mode {
        Mode::Replicated | Mode::ReplicatedJob => wanted.replicas.0 as usize,
        Mode::Global | Mode::GlobalJob => {
            let status = service.service_status.clone().unwrap_or_default();
            usize::try_from(status.desired_tasks.unwrap_or(0)).unwrap_or(0).max(1)
        }
    };
    let update = service.update_status.as_ref().and_then(|status| status.state);
    let message = service.update_status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
    let paused = match update {
        Some(Update::PAUSED) => Some("the Swarm has paused its update"),
        Some(Update::ROLLBACK_PAUSED) => Some("the Swarm has paused going back"),
        _ => None,
    };
    if let Some(paused) = paused {
        let (why, task) = with_reason(format!("{paused}: {message}"), service, look, excused);
        troubles.push((Trouble::Now(why), task));
    }
    instances.resize(instances.len().max(count), ObservedInstance::new("", Health::Starting));
    let missing = instances.iter().any(|instance| instance.id.is_empty());
    let mut health = worst(&instances, missing, wanted.mode);
    let monitored = spec.update_config.as_ref().is_some_and(|config| config.monitor.unwrap_or(0) > 0);
    let under_way =
        matches!(update, Some(Update::ROLLBACK_STARTED)) || (monitored && matches!(update, Some(Update::UPDATING)));
    if under_way && health == Health::Healthy {
        health = Health::Starting;
    }
    if health.is_ready()
        && health == Health::Healthy
        && !instances.is_empty()
        && let Some(why) = without_way(service, look)
    {
        troubles.push((Trouble::Now(why), None));
    }
    troubles.sort_by_key(|(trouble, task)| (!matches!(trouble, Trouble::Now(_)), task.is_none()));
    // An end that is told comes before a pause that follows from it.
    let (trouble, task) = troubles.into_iter().next().map_or((None, None), |(trouble, task)| (Some(trouble), task));
    match &trouble {
        Some(Trouble::Now(why)) => health = Health::Failed { why: why.clone() },
        Some(Trouble::Soon(why) | Trouble::Stuck(why)) => health = Health::Unhealthy { why: why.clone() },
        None => {}
    }
    Judged { health, instances, trouble, task, lacks_tasks: lacks_tasks(service, &wanted, look), ended_in_vain }
}

/// Whether one of its tasks is ending, which may take its whole grace: what another waits for may be its port, its place,
/// or what it holds in a volume.
fn makes_way(service: &Service, look: &Look) -> bool {
    look.tasks_of(service).any(|task| {
        let hears = task.node_id.as_ref().is_some_and(|node| look.is_reached(node));
        !is_wanted(task) && !is_over(task) && hears
    })
}

/// The tasks that have ended while others of their service were still ending: they tell nothing of what comes after. Of
/// what ended between two looks, after these tasks were there, nobody knows in which order. A Swarm that carries out an
/// update judges its tasks itself, and has judged them where it took the update back.
pub(super) fn ended_beside_leavers(look: &Look, earlier: &[Task]) -> Vec<String> {
    let updates = |service: &Service| {
        let state = service.update_status.as_ref().and_then(|status| status.state);
        !matches!(state, None | Some(Update::EMPTY | Update::COMPLETED))
    };
    let ran: BTreeMap<&str, &Task> =
        earlier.iter().filter(|task| !is_over(task)).filter_map(|task| Some((task.id.as_deref()?, task))).collect();
    let over: BTreeSet<&str> =
        earlier.iter().filter(|task| is_over(task)).filter_map(|task| task.id.as_deref()).collect();
    let mut excused = Vec::new();
    for service in look.services.iter().filter(|service| !updates(service)) {
        let leaves = makes_way(service, look);
        let now: BTreeMap<&str, &Task> =
            look.tasks_of(service).filter_map(|task| Some((task.id.as_deref()?, task))).collect();
        // A Swarm forgets what it takes away.
        let has_left = ran.iter().any(|(id, task)| {
            task.service_id == service.id && now.get(id).is_none_or(|now| state(now) == TaskState::SHUTDOWN)
        });
        let ends = now.iter().filter(|(id, task)| is_over(task) && (leaves || has_left && !over.contains(*id)));
        excused.extend(ends.map(|(id, _)| (*id).to_owned()));
    }
    excused
}

/// Of what the Swarm has ended by itself: the same with the reason of the task that it was ended for, and that task.
pub(super) fn with_reason(what: String, service: &Service, look: &Look, excused: &Excused) -> (String, Option<String>) {
    let message = service.update_status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
    let ends = look.tasks_of(service).filter(|task| matches!(state(task), TaskState::FAILED | TaskState::REJECTED));
    let ends = ends.filter(|task| !excused.holds(task));
    // The Swarm names it as long as it does nothing else.
    let is_named = |task: &Task| task.id.as_ref().is_some_and(|id| message.contains(id.as_str()));
    let made = |task: &&Task| (is_named(task), task.created_at.as_deref().and_then(parse_moment));
    match ends.max_by_key(made) {
        Some(task) => (format!("{what}: {}", told(task, look)), task.id.clone()),
        None => (what, None),
    }
}

pub(super) fn state(task: &Task) -> TaskState {
    task.status.as_ref().and_then(|status| status.state).unwrap_or(TaskState::NEW)
}

/// A Swarm that is asked for more instances while it still takes away tasks that were not to be started again counts them
/// as there, and makes no others when they are gone. They may stay on its list as tasks that it has ended itself.
fn lacks_tasks(service: &Service, wanted: &Ours, look: &Look) -> bool {
    let goes = |task: &&Task| task.desired_state == Some(TaskState::REMOVE);
    // One that has ended by itself may have done so for good: it is not asked for again.
    let was_ended = |task: &Task| !is_wanted(task) && state(task) == TaskState::SHUTDOWN;
    let mut newest: BTreeMap<i64, &Task> = BTreeMap::new();
    let made = |task: &Task| task.created_at.as_deref().and_then(parse_moment);
    for task in look.tasks_of(service) {
        let Some(slot) = task.slot else { continue };
        let there = newest.entry(slot).or_insert(task);
        if made(task) > made(there) {
            *there = task;
        }
    }
    let slots: BTreeSet<i64> = newest.into_iter().filter(|(_, task)| !was_ended(task)).map(|(slot, _)| slot).collect();
    wanted.mode == Mode::Replicated
        && slots.len() < wanted.replicas.0 as usize
        && look.tasks_of(service).find(goes).is_none()
}

/// Whether the Swarm wants a task to run, or to have run.
pub(super) fn is_wanted(task: &Task) -> bool {
    !matches!(task.desired_state, Some(TaskState::SHUTDOWN | TaskState::REMOVE | TaskState::ORPHANED))
}

/// Whether a task has come to its end, whatever that is.
pub(super) fn is_over(task: &Task) -> bool {
    use TaskState::{COMPLETE, FAILED, ORPHANED, REJECTED, REMOVE, SHUTDOWN};
    matches!(state(task), COMPLETE | SHUTDOWN | FAILED | REJECTED | REMOVE | ORPHANED)
}

fn of_task(task: &Task, last_end: Option<&Task>, is_final: bool, look: &Look) -> (Health, Option<Trouble>) {
    if let Some(end) = last_end {
        let why = told(end, look);
        let is_known = is_final || why.contains("No such image");
        let trouble = if is_known { Trouble::Now(why.clone()) } else { Trouble::Soon(why.clone()) };
        let health = if is_known { Health::Failed { why } } else { Health::Unhealthy { why } };
        return (health, Some(trouble));
    }
    let error = task.status.as_ref().and_then(|status| status.err.clone()).filter(|error| !error.is_empty());
    match (state(task), error) {
        (TaskState::RUNNING, _) => (Health::Healthy, None),
        (TaskState::COMPLETE, _) => (Health::Completed, None),
        (TaskState::NEW | TaskState::ALLOCATED | TaskState::PENDING, Some(error)) => {
            (Health::Unhealthy { why: error.clone() }, Some(Trouble::Stuck(error)))
        }
        (TaskState::ORPHANED, _) => {
            let why = format!("its node {} is lost", look.host(task.node_id.as_deref().unwrap_or_default()));
            (Health::Unhealthy { why: why.clone() }, Some(Trouble::Stuck(why)))
        }
        (TaskState::SHUTDOWN | TaskState::REMOVE, _) => (Health::Stopped, None),
        _ => (Health::Starting, None),
    }
}

/// The reason of a task that has ended, and where.
fn told(task: &Task, look: &Look) -> String {
    let status = task.status.clone().unwrap_or_default();
    let error = status.err.filter(|error| !error.is_empty()).unwrap_or_else(|| "it ended".to_owned());
    // An engine kills a container whose check fails, too.
    let code = status.container_status.and_then(|container| container.exit_code).unwrap_or(0);
    let hint = if code == 137 && !error.contains("unhealthy") {
        "; it was killed, perhaps because memory ran out"
    } else if error.contains("No such image") {
        " (it is in no registry, or the node may not fetch it: see `registries`)"
    } else {
        ""
    };
    match task.node_id.as_deref() {
        Some(node) => format!("on node {}: {}{hint}", look.host(node), error.trim_start_matches("task: ")),
        None => error,
    }
}

fn worst(instances: &[ObservedInstance], missing: bool, mode: Mode) -> Health {
    let badness = |health: &Health| match health {
        Health::Completed => 0,
        Health::Healthy => 1,
        Health::Starting => 2,
        Health::Stopped => 3,
        Health::Unhealthy { .. } => 4,
        _ => 5,
    };
    let worst = instances.iter().map(|instance| &instance.health).max_by_key(|health| badness(health));
    match worst {
        Some(health) => health.clone(),
        None if missing => Health::Starting,
        // No instance is wanted: that is as it should be.
        None if mode.is_job() => Health::Completed,
        None => Health::Healthy,
    }
}

/// Why nobody can reach a service that runs, if that is known: its address, or the ingress, leads nowhere.
fn without_way(service: &Service, look: &Look) -> Option<String> {
    if look.manager.ipvs != Some(false) {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let endpoint = spec.endpoint_spec.clone().unwrap_or_default();
    if endpoint.mode == Some(EndpointSpecModeEnum::DNSRR) {
        return None;
    }
    let kernel = "the kernel of this machine has no IPVS, which a Swarm needs for it";
    let ingress = endpoint.ports.iter().flatten().find(|port| port.publish_mode != Some(Publish::HOST));
    if let Some(port) = ingress {
        let port = port.published_port.or(port.target_port).unwrap_or(0);
        return Some(format!(
            "it runs, and port {port} answers nobody: {kernel}; publish it with 'mode: host' and say 'endpoint_mode: dnsrr'"
        ));
    }
    let networks = |service: &Service| -> Vec<String> {
        let task = service.spec.as_ref().and_then(|spec| spec.task_template.clone()).unwrap_or_default();
        task.networks.unwrap_or_default().into_iter().filter_map(|network| network.target).collect()
    };
    let own = networks(service);
    let has_company = look
        .services
        .iter()
        .any(|other| other.id != service.id && networks(other).iter().any(|network| own.contains(network)));
    has_company.then(|| {
        format!("it runs, and other services cannot reach it by its name: {kernel}; say 'endpoint_mode: dnsrr'")
    })
}

#[cfg(test)]
mod tests;
