//! What services wrote, task by task; and commands run inside of them.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{Task, TaskState};
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, SelectAll};
use windflow_core::ServiceName;
use windflow_core::target::{Context, Exec, LogLine, LogOptions, ServiceRef, Session, TargetError, TargetErrorKind};

use super::SwarmTarget;
use super::health::{is_wanted, state};
use super::look::{Look, name_of};
use super::pulse::Pulse;
use crate::engine::{self, lines};

/// How many lines are quoted of a task that has ended.
const QUOTED: usize = 3;

type Lines = BoxStream<'static, Result<LogLine, TargetError>>;

/// A task whose lines are wanted: its id, its service, and which instance it is.
#[derive(Clone, Debug)]
struct Speaker {
    task: String,
    service: ServiceName,
    instance: u32,
}

fn speakers(look: &Look, of: &ServiceRef) -> Vec<Speaker> {
    let mut all = Vec::new();
    for service in &look.services {
        let Some(name) = name_of(service) else { continue };
        if of.service.as_ref().is_some_and(|wanted| *wanted != name) {
            continue;
        }
        let mut nodes: Vec<&str> = look.tasks_of(service).filter_map(|task| task.node_id.as_deref()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for task in look.tasks_of(service).filter(|task| has_spoken(task)) {
            let slot = task.slot.filter(|slot| *slot > 0).and_then(|slot| u32::try_from(slot - 1).ok());
            let on = || nodes.iter().position(|node| Some(*node) == task.node_id.as_deref()).unwrap_or(0);
            let instance = slot.unwrap_or_else(|| u32::try_from(on()).unwrap_or(0));
            if of.instance.is_none_or(|wanted| wanted == instance) {
                all.extend(task.id.clone().map(|task| Speaker { task, service: name.clone(), instance }));
            }
        }
    }
    all
}

/// That a service is not there at all is no silence of its own.
fn unknown(target: &SwarmTarget, look: &Look, of: &ServiceRef) -> Option<TargetError> {
    let asked = of.service.as_ref()?;
    let recorded = look.records.latest().into_iter().flat_map(|latest| latest.stack.services.keys().cloned());
    let there: BTreeSet<ServiceName> = look.services.iter().filter_map(name_of).chain(recorded).collect();
    if there.contains(asked) {
        return None;
    }
    let names: Vec<&str> = there.iter().map(ServiceName::as_str).collect();
    let hint =
        if names.is_empty() { "the stack is not there".to_owned() } else { format!("known: {}", names.join(", ")) };
    let what = format!("there is no service '{asked}'");
    Some(target.error(&of.stack, TargetErrorKind::NotFound, what).with_hint(hint))
}

/// A task that never had a container has written nothing.
fn has_spoken(task: &Task) -> bool {
    let container = task.status.as_ref().and_then(|status| status.container_status.as_ref()?.container_id.as_deref());
    container.is_some_and(|id| !id.is_empty())
}

fn options(wanted: &LogOptions, follow: bool, now: windflow_core::Timestamp) -> LogsOptions {
    let since = wanted.since.map(|since| now.0.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    let since = since.and_then(|millis| i32::try_from(millis / 1000).ok()).unwrap_or(0);
    let tail = wanted.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string());
    LogsOptionsBuilder::default()
        .follow(follow)
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .since(since)
        .tail(&tail)
        .build()
}

impl SwarmTarget {
    async fn spoken(&self, speaker: Speaker, options: LogsOptions) -> Lines {
        let docker = match self.engine.patient(std::time::Duration::from_secs(24 * 60 * 60)).await {
            Ok(docker) => docker,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let target = self.clone();
        let frames = docker.task_logs(&speaker.task, Some(options));
        lines(frames)
            .filter_map(move |line| {
                let line = match line {
                    Ok(line) => Some(Ok(LogLine {
                        at: line.at,
                        service: speaker.service.clone(),
                        instance: speaker.instance,
                        stream: line.stream,
                        text: line.text,
                    })),
                    // A task that is gone, or whose node is, has nothing more to say.
                    Err(error) if engine::is_missing(&error) => None,
                    Err(error) => {
                        let what = format!("reading what {} wrote", speaker.service);
                        Some(Err(
                            engine::Failure { target: target.engine.target(), what: &what, mutates: false }.of(&error)
                        ))
                    }
                };
                std::future::ready(line)
            })
            .boxed()
    }

    /// What a task wrote last; nothing when that cannot be read.
    pub(super) async fn last_lines(&self, task: &str) -> Vec<String> {
        let Ok(service) = ServiceName::new("task") else { return Vec::new() };
        let speaker = Speaker { task: task.to_owned(), service, instance: 0 };
        let wanted = LogOptions { tail: Some(QUOTED), ..LogOptions::default() };
        let spoken = self.spoken(speaker, options(&wanted, false, windflow_core::Timestamp(0))).await;
        let read = spoken
            .filter_map(|line| std::future::ready(line.ok()))
            .map(|line| line.text.chars().take(200).collect::<String>());
        let patience = std::time::Duration::from_secs(2);
        tokio::time::timeout(patience, read.take(QUOTED).collect()).await.unwrap_or_default()
    }

    /// The container of a running task of this service on the node that is talked to.
    pub(super) async fn run_inside(&self, of: &ServiceRef, command: Exec) -> Result<Session, TargetError> {
        let look = self.look(&of.stack).await?;
        let Some(wanted) = &of.service else {
            let what = "a command runs inside one service: name it";
            return Err(self.error(&of.stack, TargetErrorKind::Refused, what));
        };
        if let Some(unknown) = unknown(self, &look, of) {
            return Err(unknown);
        }
        let absent = |what: String| self.error(&of.stack, TargetErrorKind::NotFound, what).in_service(wanted);
        let service = look.service(wanted).ok_or_else(|| absent("there is no such service".to_owned()))?;
        let slot = of.instance.map(|instance| i64::from(instance) + 1);
        let running: Vec<&Task> = look
            .tasks_of(service)
            // One that is to end may run on for its whole grace.
            .filter(|task| state(task) == TaskState::RUNNING && is_wanted(task))
            .filter(|task| slot.is_none() || task.slot == slot || task.slot.is_none())
            .collect();
        let here = look.manager.node.as_str();
        let Some(task) = running.iter().find(|task| task.node_id.as_deref() == Some(here)) else {
            return Err(match running.first() {
                None => absent("no instance of it is running".to_owned()),
                Some(task) => {
                    let node = look.host(task.node_id.as_deref().unwrap_or_default());
                    let what = format!(
                        "it runs on the node {node}, and commands can be run only on the one that is talked to"
                    );
                    self.error(&of.stack, TargetErrorKind::Unsupported, what)
                        .in_service(wanted)
                        .with_hint(format!("reach {node} as a target of its own"))
                }
            });
        };
        let container = task.status.as_ref().and_then(|status| status.container_status.as_ref()?.container_id.clone());
        let container = container.ok_or_else(|| absent("it has no container yet".to_owned()))?;
        engine::exec(&self.engine, &container, command).await
    }
}

pub(super) fn logs(target: SwarmTarget, cx: Context, of: ServiceRef, wanted: LogOptions) -> Lines {
    match wanted.follow {
        true => followed(target, cx, of, wanted),
        false => stream::once(kept(target, cx, of, wanted)).flatten().boxed(),
    }
}

/// The lines that are there, in the order in which they were written.
async fn kept(target: SwarmTarget, cx: Context, of: ServiceRef, wanted: LogOptions) -> Lines {
    let look = match target.look(&of.stack).await {
        Ok(look) => look,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    if let Some(error) = unknown(&target, &look, &of) {
        return stream::iter([Err(error)]).boxed();
    }
    let now = cx.clock().now();
    let all = speakers(&look, &of).into_iter().map(|speaker| target.spoken(speaker, options(&wanted, false, now)));
    let all = futures_util::future::join_all(all).await;
    let mut by_service: BTreeMap<ServiceName, Vec<LogLine>> = BTreeMap::new();
    let mut errors = Vec::new();
    let mut spoken = stream::iter(all).flatten();
    while let Some(line) = spoken.next().await {
        match line {
            Ok(line) => by_service.entry(line.service.clone()).or_default().push(line),
            Err(error) => errors.push(Err(error)),
        }
    }
    let mut lines: Vec<LogLine> = Vec::new();
    for mut of_one in by_service.into_values() {
        of_one.sort_by_key(|line| line.at);
        if let Some(tail) = wanted.tail {
            of_one.drain(..of_one.len().saturating_sub(tail));
        }
        lines.append(&mut of_one);
    }
    lines.sort_by_key(|line| line.at);
    stream::iter(lines.into_iter().map(Ok).chain(errors)).boxed()
}

struct Follow {
    target: SwarmTarget,
    cx: Context,
    of: ServiceRef,
    wanted: LogOptions,
    pulse: Option<Pulse>,
    heard: BTreeSet<String>,
    spoken: SelectAll<Lines>,
    over: bool,
}

/// The lines as they come, of tasks that are there and of those that come to be; until the stack is gone.
fn followed(target: SwarmTarget, cx: Context, of: ServiceRef, wanted: LogOptions) -> Lines {
    let follow =
        Follow { target, cx, of, wanted, pulse: None, heard: BTreeSet::new(), spoken: SelectAll::new(), over: false };
    stream::unfold(follow, |mut follow| async move {
        loop {
            if follow.over {
                return None;
            }
            let Some(pulse) = &mut follow.pulse else {
                match follow.begin().await {
                    Ok(()) => continue,
                    Err(error) => {
                        follow.over = true;
                        return Some((Err(error), follow));
                    }
                }
            };
            let quiet = follow.spoken.is_empty();
            tokio::select! {
                biased;
                line = follow.spoken.next(), if !quiet => {
                    if let Some(line) = line {
                        return Some((line, follow));
                    }
                }
                () = pulse.beat(std::time::Duration::from_secs(5)) => {
                    if let Err(error) = follow.listen(None).await {
                        follow.over = true;
                        return Some((Err(error), follow));
                    }
                }
            }
        }
    })
    .boxed()
}

impl Follow {
    async fn begin(&mut self) -> Result<(), TargetError> {
        self.pulse = Some(self.target.pulse().await?);
        let wanted = self.wanted.clone();
        self.listen(Some(&wanted)).await
    }

    /// Hears tasks that are new. Those that come to be later are heard from their first line on.
    async fn listen(&mut self, wanted: Option<&LogOptions>) -> Result<(), TargetError> {
        let look = self.target.look(&self.of.stack).await?;
        if let Some(error) = unknown(&self.target, &look, &self.of).filter(|_| wanted.is_some()) {
            return Err(error);
        }
        // Those that have ended say nothing new to whoever comes later.
        self.over = look.is_empty();
        let all = LogOptions::default();
        for speaker in speakers(&look, &self.of) {
            if self.heard.insert(speaker.task.clone()) {
                let options = options(wanted.unwrap_or(&all), true, self.cx.clock().now());
                self.spoken.push(self.target.spoken(speaker, options).await);
            }
        }
        Ok(())
    }
}
