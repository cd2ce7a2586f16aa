//! What is there of a stack, whenever it changes.

use std::time::Duration;

use futures_util::stream::{self, Stream};
use windflow_core::StackName;
use windflow_core::target::{Context, Health, Observed, TargetError};

use super::events::{AT_THE_LATEST, Ear, News};
use super::target::DockerTarget;

/// Nothing may change for as long as this without anybody looking.
const QUIET: Duration = Duration::from_secs(60);

/// The first item comes at once; the next ones when the engine tells of a change that is one.
pub(super) fn watch(
    target: DockerTarget,
    cx: Context,
    stack: StackName,
) -> impl Stream<Item = Result<Observed, TargetError>> {
    struct Watching {
        news: News,
        ear: Ear,
        last: Option<Observed>,
    }
    let state: Option<Watching> = None;
    stream::unfold((target, cx, stack, state), |(target, cx, stack, state)| async move {
        let mut watching = match state {
            Some(watching) => watching,
            None => {
                let news = News::of(&target.engine, &target.config.owner, &stack);
                let ear = news.listen();
                Watching { news, ear, last: None }
            }
        };
        loop {
            if let Some(last) = &watching.last {
                let patience = match last.services.values().any(|service| matches!(service.health, Health::Starting)) {
                    // One without a health check becomes healthy without any news.
                    true => target.config.settle.clamp(Duration::from_millis(100), AT_THE_LATEST),
                    false => QUIET,
                };
                watching.ear.any(patience).await;
            }
            let looked = target.look(&stack).await.map(|seen| target.observed(&cx, &seen));
            match &looked {
                Ok(now) if watching.last.as_ref() == Some(now) => continue,
                Ok(now) => watching.last = Some(now.clone()),
                // Whoever watches decides whether to go on.
                Err(_) => watching.last = None,
            }
            let _ = &watching.news;
            return Some((looked, (target, cx, stack, Some(watching))));
        }
    })
}
