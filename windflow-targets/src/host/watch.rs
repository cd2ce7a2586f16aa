//! A stack as it is, now and whenever its supervisor tells of a change.

use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::time::{sleep, timeout};
use windflow_core::StackName;
use windflow_core::target::{Context, Observed, Target as _, TargetError};

use super::HostTarget;
use super::link::Link;
use super::state::Order;

/// While no supervisor is there to tell, one looks again this often.
const PAUSE: Duration = Duration::from_secs(1);

struct Watch {
    target: HostTarget,
    cx: Context,
    stack: StackName,
    link: Option<Link>,
    last: Option<Observed>,
}

pub(super) fn watch(
    target: HostTarget,
    cx: Context,
    stack: StackName,
) -> impl Stream<Item = Result<Observed, TargetError>> + Send + 'static {
    let watch = Watch { target, cx, stack, link: None, last: None };
    stream::unfold(watch, |mut watch| async move {
        loop {
            if watch.last.is_some() {
                watch.wait().await;
            }
            match watch.target.observe(&watch.cx, &watch.stack).await {
                Ok(observed) if watch.last.as_ref() == Some(&observed) => {}
                Ok(observed) => {
                    watch.last = Some(observed.clone());
                    return Some((Ok(observed), watch));
                }
                Err(error) => {
                    sleep(PAUSE).await;
                    return Some((Err(error), watch));
                }
            }
        }
    })
}

impl Watch {
    /// Waits until something may have changed.
    async fn wait(&mut self) {
        if self.link.is_none() {
            let dir = self.target.dir(&self.stack);
            self.link = Link::open(&*self.target.machine, &dir, &Order::Watch).await.ok();
        }
        match &mut self.link {
            // Now and then one looks without being told: the supervisor may have been killed and its socket remain.
            Some(link) => match timeout(Duration::from_secs(10), link.state()).await {
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => self.link = None,
            },
            None => sleep(PAUSE).await,
        }
    }
}
