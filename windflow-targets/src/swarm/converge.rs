//! Waiting for services to be as they should, and knowing early when they will not.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{
    EndpointPortConfigPublishModeEnum as Publish, ServiceUpdateStatusStateEnum as Update, TaskState,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use windflow_core::ServiceName;
use windflow_core::target::{Condition, Context, Health, Stack, TargetError, TargetErrorKind};

use super::SwarmTarget;
use super::health::{Excused, Judged, Trouble, ended_beside_leavers, is_over, judge, judge_since, state, with_reason};
use super::look::{Look, name_of};
use super::pulse::Pulse;
use super::services::replace_tasks;
use crate::engine::doing::overtaken;

/// How long a task may find no place before that is taken for final: what is in its way may be about to go.
const STUCK: Duration = Duration::from_secs(5);
/// How long a published port may not answer after its service runs.
const SILENT: Duration = Duration::from_secs(10);
/// While nothing is told one looks again this often.
const LOOK: Duration = Duration::from_secs(1);

/// What is timed of a service that was there.
const GONE: &str = " is gone";

/// How often a Swarm is asked for tasks that it does not make.
const ASKED: u32 = 3;

/// What one apply has seen so far.
pub(super) struct Track {
    /// What was made or changed, and when.
    pub touched: BTreeMap<ServiceName, Instant>,
    pub until: Instant,
    pub pulse: Pulse,
    excused: Excused,
    since: BTreeMap<String, Instant>,
    told: BTreeMap<ServiceName, Health>,
    /// How often the Swarm was asked for tasks that it does not make by itself.
    asked: BTreeMap<ServiceName, u32>,
}

impl Track {
    pub fn new(pulse: Pulse, until: Instant, look: &Look) -> Self {
        let before = look.tasks.iter().filter(|task| is_over(task)).filter_map(|task| task.id.clone()).collect();
        Self {
            touched: BTreeMap::new(),
            until,
            pulse,
            excused: Excused { before, ..Excused::default() },
            since: BTreeMap::new(),
            told: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// How long something has been so without a break.
    fn lasts(&mut self, what: String) -> Duration {
        self.since.entry(what).or_insert_with(Instant::now).elapsed()
    }
}

/// What is timed of a task that cannot begin: another of the same service may have waited before, in its turn.
fn stuck(name: &ServiceName, found: &Judged, why: &str) -> String {
    format!("{name} {} {why}", found.task.as_deref().unwrap_or_default())
}

/// Whether all of a stack is ready and stays so.
enum Whole {
    Yes,
    /// To be looked at again after this.
    Later(Duration),
    Never(String),
}

impl SwarmTarget {
    /// Waits until these services are as far as these conditions ask; all of the stack when none is named. The reason
    /// when that will not come.
    pub(super) async fn wait_for(
        &self,
        cx: &Context,
        stack: &Stack,
        needs: Option<&[(ServiceName, Condition)]>,
        look: &mut Look,
        track: &mut Track,
    ) -> Result<Option<String>, TargetError> {
        loop {
            let earlier = look.tasks.clone();
            self.look_again(&stack.name, look).await?;
            track.excused.beside.extend(ended_beside_leavers(look, &earlier));
            let is_gone = |name: &&ServiceName| stack.services.contains_key(*name) && look.service(name).is_none();
            track.since.retain(|what, _| match what.strip_suffix(GONE) {
                Some(name) => {
                    look.services.iter().all(|service| name_of(service).is_none_or(|there| there.as_str() != name))
                }
                None => true,
            });
            let gone: Vec<ServiceName> = track.touched.keys().filter(is_gone).cloned().collect();
            if gone.into_iter().any(|name| track.lasts(format!("{name}{GONE}")) >= LOOK) {
                // Another who changes this stack, or somebody by hand: whoever that is does not want it back just now.
                return Err(overtaken(&self.config.name, &stack.name));
            }
            let judged: BTreeMap<ServiceName, Judged> = look
                .services
                .iter()
                .filter_map(|service| Some((name_of(service)?, service)))
                .filter(|(name, _)| stack.services.contains_key(name))
                .map(|(name, service)| match track.asked.get(&name) {
                    // It was asked for often enough: what there is now is what it comes to.
                    Some(&ASKED) => (name, judge(service, look)),
                    _ => (name, judge_since(service, look, &track.excused)),
                })
                .collect();
            let running = judged.values().flat_map(|found| &found.instances);
            for instance in running.filter(|instance| instance.health == Health::Healthy) {
                track.lasts(instance.id.clone());
            }
            for (name, found) in &judged {
                if track.told.get(name) != Some(&found.health) {
                    cx.progress(format_args!("{name} is {}", word(&found.health)));
                    track.told.insert(name.clone(), found.health.clone());
                }
            }
            // What has not had its turn yet is as it was before, and tells nothing.
            let is_due = |name: &ServiceName, track: &Track| {
                needs.is_none_or(|needs| needs.iter().any(|(need, _)| need == name)) || track.touched.contains_key(name)
            };
            let due: BTreeMap<&ServiceName, &Judged> = judged.iter().filter(|(name, _)| is_due(name, track)).collect();
            if let Some(why) = self.verdict(cx, stack, &due, look, track).await {
                return Ok(Some(why));
            }
            let soon = match needs {
                Some(needs) => match needs.iter().all(|(name, condition)| met(judged.get(name), *condition)) {
                    true => return Ok(None),
                    false => LOOK,
                },
                None => match self.is_whole(stack, &judged, look, track).await {
                    Whole::Yes => return Ok(None),
                    Whole::Later(soon) => soon,
                    Whole::Never(why) => return Ok(Some(why)),
                },
            };
            self.ask_for_tasks(cx, stack, &judged, look, track).await?;
            if Instant::now() >= track.until {
                let seconds = self.config.health_timeout.as_secs();
                return Ok(Some(format!("not healthy within {seconds} s: {}", waiting(stack, &judged))));
            }
            tokio::select! {
                biased;
                () = stopped(cx) => {
                    let (kind, what) = match cx.deadline().is_some_and(|deadline| deadline <= cx.clock().now()) {
                        true => (TargetErrorKind::Unhealthy, "not healthy when time was up"),
                        false => (TargetErrorKind::Cancelled, "stopped while waiting for health"),
                    };
                    let what = format!("{what}: {}", cx.masker().mask(&waiting(stack, &judged)));
                    return Err(self.error(&stack.name, kind, what).with_hint("the same again goes on"));
                }
                () = track.pulse.beat(soon) => {}
            }
        }
    }

    /// Has the Swarm look again at services for which it makes no tasks, and begin anew what has ended in vain. Never while
    /// it tells of an update: that would make it forget what it tells.
    async fn ask_for_tasks(
        &self,
        cx: &Context,
        stack: &Stack,
        judged: &BTreeMap<ServiceName, Judged>,
        look: &Look,
        track: &mut Track,
    ) -> Result<(), TargetError> {
        for (name, is) in judged.iter().filter(|(_, found)| found.lacks_tasks || found.ended_in_vain) {
            let (Some(found), Some(service)) = (look.service(name), stack.services.get(name)) else { continue };
            let version = found.version.as_ref().and_then(|version| version.index).unwrap_or(0);
            let asked = track.asked.get(name).copied().unwrap_or(0);
            let state = found.update_status.as_ref().and_then(|status| status.state);
            if !matches!(state, None | Some(Update::EMPTY | Update::COMPLETED)) {
                continue;
            }
            if asked < ASKED && track.lasts(format!("{name} lacks tasks at {version}")) >= LOOK {
                let mut same = found.spec.clone().unwrap_or_default();
                if is.ended_in_vain {
                    replace_tasks(&mut same);
                }
                match self.update_service(cx, stack, name, service, same, found).await {
                    // It has moved since, by itself or by somebody's hand: that is seen with the next look.
                    Err(error) if error.kind == TargetErrorKind::Conflict => {}
                    done => done?,
                }
                track.asked.insert(name.clone(), asked + 1);
            }
        }
        Ok(())
    }

    /// Why it will not come, if that is known.
    async fn verdict(
        &self,
        cx: &Context,
        stack: &Stack,
        judged: &BTreeMap<&ServiceName, &Judged>,
        look: &Look,
        track: &mut Track,
    ) -> Option<String> {
        for (name, found) in judged {
            let service = look.service(name)?;
            let status = service.update_status.clone().unwrap_or_default();
            let went_back = matches!(
                status.state,
                Some(Update::ROLLBACK_STARTED | Update::ROLLBACK_COMPLETED | Update::ROLLBACK_PAUSED)
            );
            if went_back && track.touched.contains_key(*name) {
                let message = status.message.unwrap_or_default();
                let what = format!("the Swarm has taken it back by itself: {message}");
                let (why, task) = with_reason(what, service, look, &track.excused);
                let said = self.last_words(cx, task.as_deref(), look).await;
                return Some(format!("{name}: {why}{said}"));
            }
            let why = match &found.trouble {
                Some(Trouble::Now(why)) => Some(why),
                Some(Trouble::Stuck(why)) if track.lasts(stuck(name, found, why)) >= STUCK => Some(why),
                _ => None,
            };
            if let Some(why) = why {
                let said = self.last_words(cx, found.task.as_deref(), look).await;
                return Some(format!("{name}: {why}{said}"));
            }
            let rollout = stack.services.get(*name).and_then(|service| service.rollout.as_ref());
            let late = rollout.and_then(|rollout| rollout.progress_deadline);
            let begun = track.touched.get(*name);
            if let (Some(late), Some(begun), false) = (late, begun, found.health.is_ready())
                && begun.elapsed() >= late
            {
                return Some(format!("{name} is {} after {} s", word(&found.health), late.as_secs()));
            }
        }
        None
    }

    /// Whether everything is ready and stays so.
    async fn is_whole(
        &self,
        stack: &Stack,
        judged: &BTreeMap<ServiceName, Judged>,
        look: &Look,
        track: &mut Track,
    ) -> Whole {
        let all = stack.services.keys().all(|name| judged.get(name).is_some_and(|found| found.health.is_ready()));
        if !all {
            return Whole::Later(LOOK);
        }
        let mut soon = Duration::ZERO;
        let touched: Vec<ServiceName> = track.touched.keys().cloned().collect();
        for (name, service) in touched.iter().filter_map(|name| Some((name, stack.services.get(name)?))) {
            let least = service.rollout.as_ref().and_then(|rollout| rollout.min_healthy).unwrap_or_default();
            let steady = if service.check().is_some() { Duration::ZERO } else { self.config.settle };
            let wanted = least.max(steady);
            for instance in &judged[name].instances {
                if instance.health == Health::Healthy {
                    let lasts = track.lasts(instance.id.clone());
                    soon = soon.max(wanted.saturating_sub(lasts));
                }
            }
        }
        if soon > Duration::ZERO {
            return Whole::Later(soon);
        }
        match self.silent_port(look).await {
            None => Whole::Yes,
            Some((name, port)) if track.lasts(format!("silent {port}")) >= SILENT => Whole::Never(format!(
                "{name}: it runs, and port {port} answers on none of the nodes, as far as it can be reached from here \
                 (`probe_ports: false` where it cannot)"
            )),
            Some(_) => Whole::Later(Duration::from_millis(200)),
        }
    }

    /// A port that is published through the ingress, and answers on none of the nodes.
    async fn silent_port(&self, look: &Look) -> Option<(ServiceName, u16)> {
        if !self.config.probe_ports {
            return None;
        }
        let addresses: Vec<String> = look
            .nodes
            .iter()
            .filter_map(|node| node.status.as_ref()?.addr.clone())
            .filter(|address| !address.is_empty() && address != "0.0.0.0")
            .collect();
        for service in &look.services {
            let has_tasks = look.tasks_of(service).any(|task| state(task) == TaskState::RUNNING);
            let ports = service.endpoint.iter().flat_map(|endpoint| endpoint.ports.iter().flatten());
            for port in ports.filter(|port| has_tasks && port.publish_mode != Some(Publish::HOST)) {
                let is_tcp = port.protocol.is_none_or(|protocol| protocol.to_string() == "tcp");
                let Some(number) = port.published_port.and_then(|port| u16::try_from(port).ok()) else { continue };
                if !is_tcp || addresses.is_empty() {
                    continue;
                }
                let tries = addresses.iter().map(|address| answers(address, number));
                if !futures_util::future::join_all(tries).await.contains(&true) {
                    return Some((name_of(service)?, number));
                }
            }
        }
        None
    }

    /// What a task wrote last, and whether memory ran out for it, as far as that can be told from here.
    async fn last_words(&self, cx: &Context, task: Option<&str>, look: &Look) -> String {
        let Some(task) = task else { return String::new() };
        let found = look.tasks.iter().find(|found| found.id.as_deref() == Some(task));
        let container = found.and_then(|task| task.status.as_ref()?.container_status.as_ref()?.container_id.clone());
        // What never had a container has written nothing.
        let Some(container) = container.filter(|container| !container.is_empty()) else { return String::new() };
        let mut said = String::new();
        if let Ok(docker) = self.engine.docker().await
            && let Ok(found) = self
                .engine
                .call(docker.inspect_container(&container, None::<bollard::query_parameters::InspectContainerOptions>))
                .await
            && found.state.is_some_and(|state| state.oom_killed == Some(true))
        {
            said.push_str("; out of memory");
        }
        let lines = self.last_lines(task).await;
        if !lines.is_empty() {
            said.push_str(&format!("; last lines: {}", lines.join(" | ")));
        }
        cx.masker().mask(&said)
    }
}

async fn answers(address: &str, port: u16) -> bool {
    let address = if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    matches!(timeout(Duration::from_secs(1), TcpStream::connect(address)).await, Ok(Ok(_)))
}

fn met(found: Option<&Judged>, condition: Condition) -> bool {
    let Some(found) = found else { return false };
    match condition {
        Condition::ServiceStarted => {
            found.health.is_ready() || found.instances.iter().any(|instance| instance.health.is_ready())
        }
        Condition::ServiceHealthy => found.health.is_ready(),
        Condition::ServiceCompletedSuccessfully => found.health == Health::Completed,
    }
}

fn waiting(stack: &Stack, judged: &BTreeMap<ServiceName, Judged>) -> String {
    let late = stack.services.keys().filter_map(|name| match judged.get(name) {
        None => Some(format!("{name} is not made yet")),
        Some(found) if found.health.is_ready() => None,
        Some(found) => match &found.health {
            Health::Unhealthy { why } | Health::Failed { why } => Some(format!("{name}: {why}")),
            health => Some(format!("{name} is {}", word(health))),
        },
    });
    let late: Vec<String> = late.collect();
    if late.is_empty() { "what is published does not answer".to_owned() } else { late.join(", ") }
}

/// Returns when the call should come to its end: it was cancelled, or its time is up.
pub(super) async fn stopped(cx: &Context) {
    let deadline = async {
        match cx.deadline() {
            Some(deadline) => cx.clock().sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = cx.cancel().cancelled() => {}
        () = deadline => {}
    }
}

pub(super) fn word(health: &Health) -> &'static str {
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy { .. } => "unhealthy",
        Health::Completed => "done",
        Health::Failed { .. } => "failed",
        _ => "stopped",
    }
}
