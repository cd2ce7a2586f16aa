//! Taking a stack down: everything is stopped, then what is on disk goes, last of it what shows that the stack is there.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use windflow_core::target::Context;

use super::HostTarget;
use super::layout::StackDir;
use super::observe::Seen;
use super::reach::SUPERVISOR_PATIENCE;
use super::state::Order;

/// How long it may take to stop everything, beside the grace periods of the services: others may still be ending that an
/// earlier order has removed.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// After so long without an answer, whoever waits is told for what.
const SILENCE: Duration = Duration::from_secs(5);

impl HostTarget {
    /// Stops everything of the stack.
    async fn stop(&self, cx: &Context, dir: &StackDir, seen: &Seen) -> io::Result<()> {
        let mut tries = 0;
        // Services end one after the other, each within its grace period.
        let graces = seen.spec.iter().flat_map(|spec| spec.services.values()).map(|run| run.stop_grace);
        let patience = graces.fold(STOP_PATIENCE, Duration::saturating_add);
        loop {
            tries += 1;
            let mut link = self.reach(dir, &Order::Stop).await?;
            let late = async {
                sleep(SILENCE).await;
                cx.progress(format_args!("still waiting for the {} to stop everything", self.supervisor(dir).await.0));
                std::future::pending::<std::convert::Infallible>().await
            };
            let stopped = tokio::select! {
                stopped = timeout(patience, link.stopped()) => stopped,
                never = late => match never {},
            };
            let Ok(stopped) = stopped else {
                let (supervisor, pid) = self.supervisor(dir).await;
                let kill = pid.map(|pid| format!("; if it hangs, end it: kill -9 {pid}")).unwrap_or_default();
                let what = format!("the {supervisor} has not stopped everything in {} s{kill}", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            };
            match stopped {
                // It was ending already, by an order that was cut, or was killed: another makes sure.
                Err(error) if tries < 3 && error.kind() == io::ErrorKind::UnexpectedEof => {}
                done => return done,
            }
        }
    }

    /// Whether anything of the stack may ever have been started: whatever a supervisor has written tells.
    async fn ever_ran(&self, dir: &StackDir) -> io::Result<bool> {
        let traces = [dir.spec(), dir.state(), dir.services(), dir.supervisor_lock()];
        let found = self.machine.list(dir.path()).await?;
        Ok(found.iter().any(|name| traces.contains(&dir.path().join(name))))
    }

    /// Stops everything of the stack and removes it.
    pub(super) async fn take_down(&self, cx: &Context, dir: &StackDir, seen: &Seen) -> io::Result<()> {
        // One that died may have left processes nobody recorded, and its records may be lost: a new one finds them by their
        // mark.
        if seen.supervised || self.ever_ran(dir).await? {
            self.stop(cx, dir, seen).await?;
            let until = Instant::now() + SUPERVISOR_PATIENCE;
            while self.machine.is_locked(&dir.supervisor_lock()).await? {
                if Instant::now() >= until {
                    return Err(io::Error::other("the supervisor has stopped everything and does not end"));
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        // What shows that the stack is there goes last: a removal that is cut is seen, and finished by the next.
        let last = [dir.spec(), dir.apply_lock()];
        for entry in self.machine.list(dir.path()).await? {
            let path = dir.path().join(entry);
            if !last.contains(&path) {
                self.machine.remove(&path).await?;
            }
        }
        self.machine.remove(&dir.spec()).await?;
        self.machine.remove(dir.path()).await?;
        self.machine.remove_empty(dir.owner_dir()).await
    }
}
