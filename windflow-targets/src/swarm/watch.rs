//! A stack as it is, now and whenever the Swarm tells of a change.

use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::time::sleep;
use windflow_core::StackName;
use windflow_core::target::{Context, Observed, Target as _, TargetError};

use super::SwarmTarget;
use super::pulse::Pulse;

/// While something is under way, and while nothing is, one looks again this often without being told.
const BUSY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(15);

struct Watch {
    target: SwarmTarget,
    cx: Context,
    stack: StackName,
    pulse: Option<Pulse>,
    last: Option<Observed>,
}

pub(super) fn watch(
    target: SwarmTarget,
    cx: Context,
    stack: StackName,
) -> impl Stream<Item = Result<Observed, TargetError>> + Send + 'static {
    let watch = Watch { target, cx, stack, pulse: None, last: None };
    stream::unfold(watch, |mut watch| async move {
        loop {
            if watch.pulse.is_none() {
                // Before the first look: what changes in between is told.
                watch.pulse = watch.target.pulse().await.ok();
            }
            if let Some(last) = &watch.last {
                let settled = last.services.values().all(|service| service.health.is_ready());
                let pause = if settled { IDLE } else { BUSY };
                match &mut watch.pulse {
                    Some(pulse) => pulse.beat(pause).await,
                    None => sleep(BUSY).await,
                }
            }
            match watch.target.observe(&watch.cx, &watch.stack).await {
                Ok(observed) if watch.last.as_ref() == Some(&observed) => {}
                Ok(observed) => {
                    watch.last = Some(observed.clone());
                    return Some((Ok(observed), watch));
                }
                Err(error) => {
                    watch.pulse = None;
                    sleep(BUSY).await;
                    return Some((Err(error), watch));
                }
            }
        }
    })
}
