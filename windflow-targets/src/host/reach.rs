//! Reaching the supervisor of a stack, which is started when it is not there.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::HostTarget;
use super::layout::StackDir;
use super::link::Link;
use super::state::{Order, StackState};

/// How long a supervisor may take to come up.
pub(super) const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may take that is only looked at.
const ANSWER: Duration = Duration::from_secs(2);

impl HostTarget {
    /// Gives an order to the supervisor, which is started when it is not there.
    pub(super) async fn reach(&self, dir: &StackDir, order: &Order) -> io::Result<Link> {
        let until = Instant::now() + SUPERVISOR_PATIENCE;
        let mut started: Option<Instant> = None;
        let before = self.said(dir).await?.len();
        loop {
            let refused = match Link::open(&*self.machine, dir, order).await {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            // In this order: one that has said something and goes on still holds the lock after that.
            let said_more = self.said(dir).await?.len() > before;
            let locked = self.machine.is_locked(&dir.supervisor_lock()).await?;
            // One that is gone again, and has said why, needs no more patience.
            let gone = started.is_some() && said_more && !locked;
            if gone || Instant::now() >= until {
                return Err(self.no_supervisor(dir, &refused).await);
            }
            let patience = started.is_none_or(|at| at.elapsed() > Duration::from_secs(3));
            if patience && !locked {
                match self.machine.start_supervisor(&self.config.supervisor, dir.path()).await {
                    Ok(()) => started = Some(Instant::now()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the supervisor that is there tells, if it does so at once.
    pub(super) async fn told(&self, dir: &StackDir) -> Option<StackState> {
        let asked = async { Link::open(&*self.machine, dir, &Order::Watch).await?.state().await };
        timeout(ANSWER, asked).await.ok()?.ok()
    }

    /// What supervisors of this stack had to say.
    async fn said(&self, dir: &StackDir) -> io::Result<String> {
        let log = self.machine.read(&dir.supervisor_log()).await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Why no supervisor comes up.
    async fn no_supervisor(&self, dir: &StackDir, refused: &io::Error) -> io::Error {
        let said = self.said(dir).await.unwrap_or_default();
        let said = said.lines().next_back().map(|line| format!("; it said: {line}")).unwrap_or_default();
        // Most of what keeps one from its work keeps everybody from writing there.
        let probe = dir.path().join(".probe");
        let wrote = self.machine.write(&probe, b"?".to_vec()).await;
        let _ = self.machine.remove(&probe).await;
        match wrote {
            Ok(()) => io::Error::other(format!("the supervisor does not come up: {refused}{said}")),
            Err(error) => io::Error::new(error.kind(), format!("the supervisor does not come up: {error}{said}")),
        }
    }

    /// Who looks after the stack now, and the process that is, as far as it is known.
    pub(super) async fn supervisor(&self, dir: &StackDir) -> (String, Option<i32>) {
        let state = self.seen(dir).await.map(|seen| seen.state).unwrap_or_default();
        let known = state.supervisor.into_iter().map(|id| (id, dir.path().to_owned())).collect();
        let alive = self.machine.alive(known).await.unwrap_or_default();
        let pid = alive.first().map(|id| id.pid);
        (pid.map_or_else(|| "supervisor".to_owned(), |pid| format!("supervisor (process {pid})")), pid)
    }
}
