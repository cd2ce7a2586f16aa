//! Many short tasks on few workers: the reason why a step that does nothing costs next to nothing, and one that computes uses every core.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mailbox::{Mailbox, Message};
use super::stop::Cut;
use super::task::Task;
use crate::run::Input;

/// How long one worker may go on with a chunk before the rest is offered to the others.
const SLICE: Duration = Duration::from_micros(100);
/// The most tasks in one chunk.
const CHUNK: usize = 64;

type Work = Pin<Box<dyn Future<Output = Input> + Send>>;

/// Starts tasks. What ends at once, where it is worth trying, is put to the news.
///
/// A single task is tried in place: a chain of steps then needs no other worker at all. Several are dealt out in chunks,
/// each task of a chunk being tried in turn; what does not end at the first try gets a task of its own.
pub(super) async fn start(
    tasks: &mut Vec<Task>,
    alone: bool,
    mailbox: &Arc<Mailbox>,
    cut: &Cut,
    news: &mut Vec<Input>,
) {
    if alone && tasks.len() == 1 {
        for task in tasks.drain(..) {
            let kill = cut.of(&task);
            let mut work: Work = Box::pin(task.run());
            match poll_once(&mut work).await {
                Some(input) => news.push(input),
                None => detach(work, Arc::clone(mailbox), kill.clone()),
            }
        }
        return;
    }
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let each = tasks.len().div_ceil(workers * 2).clamp(1, CHUNK);
    let mut tasks = tasks.drain(..);
    loop {
        let chunk: Vec<Task> = tasks.by_ref().take(each).collect();
        if chunk.is_empty() {
            return;
        }
        spawn_chunk(chunk, Arc::clone(mailbox), cut.clone());
    }
}

fn spawn_chunk(chunk: Vec<Task>, mailbox: Arc<Mailbox>, cut: Cut) {
    tokio::spawn(async move {
        let began = Instant::now();
        let mut ended = Vec::with_capacity(chunk.len());
        let mut tasks = chunk.into_iter();
        while let Some(task) = tasks.next() {
            let kill = cut.of(&task);
            if kill.is_cancelled() {
                continue;
            }
            let mut work: Work = Box::pin(task.run());
            match poll_once(&mut work).await {
                Some(input) => ended.push(input),
                None => detach(work, Arc::clone(&mailbox), kill.clone()),
            }
            if tasks.len() > 0 && began.elapsed() > SLICE {
                spawn_chunk(tasks.collect(), Arc::clone(&mailbox), cut.clone());
                break;
            }
        }
        if cut.questions.is_cancelled() {
            // They may have been asked again meanwhile.
            ended.retain(|input| !matches!(input, Input::Observed { .. } | Input::Evaluated { .. }));
        }
        if !ended.is_empty() && !cut.all.is_cancelled() {
            mailbox.push(Message::Inputs(ended));
        }
    });
}

/// Gives a task that waits for something its own place. Killed, it ends without a word, like a crash.
fn detach(work: Work, mailbox: Arc<Mailbox>, kill: CancellationToken) {
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = kill.cancelled() => {}
            input = work => mailbox.push(Message::Input(input)),
        }
    });
}

async fn poll_once(work: &mut Work) -> Option<Input> {
    poll_fn(|cx| {
        Poll::Ready(match work.as_mut().poll(cx) {
            Poll::Ready(input) => Some(input),
            Poll::Pending => None,
        })
    })
    .await
}
