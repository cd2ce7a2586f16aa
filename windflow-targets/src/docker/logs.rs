//! What the services of a stack wrote.

use std::collections::BTreeSet;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, SelectAll};
use tokio::sync::mpsc;
use windflow_core::ServiceName;
use windflow_core::target::{Context, LogLine, LogOptions, ServiceRef, TargetError, TargetErrorKind};

use super::events::{AT_THE_LATEST, News};
use super::look::{Found, Seen};
use super::target::DockerTarget;

/// How many lines may wait for whoever reads them.
const AHEAD: usize = 256;

type Lines = BoxStream<'static, Result<LogLine, TargetError>>;

/// The lines of all services that are asked for, in the order they were written in.
pub(super) fn logs(target: DockerTarget, cx: Context, of: ServiceRef, options: LogOptions) -> Lines {
    if options.follow {
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(follow(target, cx, of, options, sender));
        return stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).boxed();
    }
    stream::once(async move {
        let seen = match target.look(&of.stack).await {
            Ok(seen) => seen,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        if let Some(error) = unknown(&target, &seen, &of) {
            return stream::iter([Err(error)]).boxed();
        }
        let each = wanted(&seen, &of).map(|found| lines(&target, &cx, found, &options)).collect();
        merged(each).boxed()
    })
    .flatten()
    .boxed()
}

/// That a service is not there at all is no silence of its own.
pub(super) fn unknown(target: &DockerTarget, seen: &Seen, of: &ServiceRef) -> Option<TargetError> {
    let asked = of.service.as_ref()?;
    let recorded = seen.current().into_iter().flat_map(|current| current.stack.services.keys());
    let there: BTreeSet<&ServiceName> = seen.containers.iter().map(|found| &found.service).chain(recorded).collect();
    if there.contains(asked) {
        return None;
    }
    let names: Vec<&str> = there.into_iter().map(ServiceName::as_str).collect();
    let hint =
        if names.is_empty() { "the stack is not there".to_owned() } else { format!("known: {}", names.join(", ")) };
    let what = format!("there is no service '{asked}'");
    Some(TargetError::new(&target.config.name, TargetErrorKind::NotFound, what).in_stack(&of.stack).with_hint(hint))
}

fn wanted<'a>(seen: &'a Seen, of: &'a ServiceRef) -> impl Iterator<Item = &'a Found> {
    seen.containers.iter().filter(|found| {
        of.service.as_ref().is_none_or(|service| *service == found.service)
            && of.instance.is_none_or(|instance| instance.checked_add(1) == Some(found.instance))
    })
}

/// The lines of one container.
fn lines(target: &DockerTarget, cx: &Context, found: &Found, options: &LogOptions) -> Lines {
    let (target, cx, found, options) = (target.clone(), cx.clone(), found.clone(), options.clone());
    stream::once(async move {
        let docker = match target.engine.docker().await {
            Ok(docker) => docker.clone(),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let tail = options.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string());
        let asked = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true);
        let asked = asked.follow(options.follow).tail(&tail);
        let asked = match options.since {
            Some(since) => {
                let from =
                    cx.clock().now().0.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)) / 1000;
                asked.since(i32::try_from(from).unwrap_or(i32::MAX)).build()
            }
            None => asked.build(),
        };
        let what = format!("reading the log of {}", found.service);
        let engine = target.engine.clone();
        crate::engine::lines(docker.logs(&found.id, Some(asked)))
            .map(move |line| match line {
                Ok(line) => Ok(LogLine {
                    at: line.at,
                    service: found.service.clone(),
                    instance: found.instance.saturating_sub(1),
                    stream: line.stream,
                    text: cx.masker().mask(&line.text),
                }),
                Err(error) => Err(engine.failed(&what, &error)),
            })
            .boxed()
    })
    .flatten()
    .boxed()
}

/// Several streams, each in order, as one in order.
fn merged(each: Vec<Lines>) -> impl futures_util::Stream<Item = Result<LogLine, TargetError>> {
    let heads: Vec<(Option<Result<LogLine, TargetError>>, Lines)> =
        each.into_iter().map(|lines| (None, lines)).collect();
    stream::unfold((heads, true), |(mut heads, first)| async move {
        if first {
            for (head, lines) in &mut heads {
                *head = lines.next().await;
            }
        }
        let at = |head: &Option<Result<LogLine, TargetError>>| match head {
            Some(Ok(line)) => Some(line.at),
            Some(Err(_)) => Some(None),
            None => None,
        };
        let (next, _) =
            heads.iter().enumerate().filter_map(|(n, (head, _))| Some((n, at(head)?))).min_by_key(|(_, at)| *at)?;
        let (head, lines) = heads.get_mut(next)?;
        let item = head.take()?;
        *head = lines.next().await;
        Some((item, (heads, false)))
    })
}

/// Goes on with new lines, also of containers that take the place of others, until the stack is gone.
async fn follow(
    target: DockerTarget,
    cx: Context,
    of: ServiceRef,
    options: LogOptions,
    to: mpsc::Sender<Result<LogLine, TargetError>>,
) {
    let news = News::of(&target.engine, &target.config.owner, &of.stack);
    let mut ear = news.listen();
    let mut known: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    let mut all: SelectAll<Lines> = SelectAll::new();
    let mut first = true;
    loop {
        let seen = match target.look(&of.stack).await {
            Ok(seen) => seen,
            Err(error) => {
                // Nobody may be reading any more.
                let _ = to.send(Err(error)).await;
                return;
            }
        };
        if let Some(error) = unknown(&target, &seen, &of).filter(|_| first) {
            let _ = to.send(Err(error)).await;
            return;
        }
        if !seen.is_alive() {
            break;
        }
        for found in wanted(&seen, &of) {
            let started = found.inspect.state.as_ref().and_then(|state| state.started_at.clone());
            if known.insert((found.id.clone(), started.clone())) {
                // One that was restarted has told its earlier lines already.
                let again = known.iter().any(|(id, at)| *id == found.id && *at != started);
                let options =
                    if first || !again { options.clone() } else { LogOptions { tail: Some(0), ..options.clone() } };
                all.push(lines(&target, &cx, found, &options));
            }
        }
        first = false;
        loop {
            tokio::select! {
                line = all.next(), if !all.is_empty() => {
                    if let Some(line) = line && to.send(line).await.is_err() {
                        return;
                    }
                    // A container that ended may be followed by another.
                    if all.is_empty() {
                        break;
                    }
                }
                () = ear.any(AT_THE_LATEST) => break,
                () = to.closed() => return,
            }
        }
    }
    while let Some(line) = all.next().await {
        if to.send(line).await.is_err() {
            return;
        }
    }
}
