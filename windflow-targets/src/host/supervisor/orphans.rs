//! What services leave behind: processes that left their group and session, and processes that lost their parent.
//!
//! A mark in the environment says which instance a process belongs to, wherever it went. What has cleared its environment
//! comes to the supervisor when its parent ends, and goes with the stack.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, getpid};
use rustix::process::{PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, set_child_subreaper, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::super::layout::StackDir;
use super::super::state::ProcessId;
use super::super::transport::procfs::{self, Stat};
use super::board::Board;
use super::hold::Hold;

/// How long killed processes may take to go. What still does not is left: it waits for a device.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes this process the parent of all that is left behind below it.
pub(super) fn take_in() {
    // Where it cannot be, they become children of the machine's first process, and only marks find them.
    let _ = set_child_subreaper(Some(getpid()));
}

/// The mark of an instance, by which its processes are found wherever they went.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub instance: PathBuf,
    pub hold: Hold,
}

impl Mark {
    /// Kills what carries it, and waits until it is gone.
    pub async fn end(&self) {
        end(|| marked(&self.hold, |mark| mark == self.instance)).await;
    }
}

/// Kills what is left of a stack, and waits until it is gone.
pub(super) async fn end_stack(dir: &StackDir, hold: &Hold) -> Vec<ProcessId> {
    let services = dir.services();
    let is_ours = |mark: &Path| mark.starts_with(&services);
    end(|| {
        let mut left = marked(hold, is_ours);
        left.extend(procfs::descendants(own(), is_ours));
        left
    })
    .await
}

/// Kills what carries the mark of an instance of this stack that nobody knows of, and waits until it is gone.
pub(super) async fn end_unknown(dir: &StackDir, hold: &Hold, is_known: impl Fn(&Path) -> bool) {
    let services = dir.services();
    // The folder of an instance, and of none in a stack that a service has deployed below its own.
    let is_ours = |mark: &Path| mark.parent().and_then(Path::parent) == Some(services.as_path());
    end(|| marked(hold, |mark| is_ours(mark) && !is_known(mark))).await;
}

/// What carries such a mark. Nothing, once another may have started it.
fn marked(hold: &Hold, is_wanted: impl Fn(&Path) -> bool) -> Vec<Stat> {
    let found = procfs::marked(is_wanted);
    if hold.is_anothers() { Vec::new() } else { found }
}

/// Kills these processes, and waits until they are gone.
pub(super) async fn end_known(known: &[ProcessId]) {
    end(|| known.iter().filter_map(|id| procfs::stat(id.pid).filter(|now| now.id == *id && !now.zombie)).collect())
        .await;
}

/// Kills what is found, looking again and again until there is nothing more; what did not go.
async fn end(look: impl Fn() -> Vec<Stat>) -> Vec<ProcessId> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left: Vec<ProcessId> = look().into_iter().map(|found| found.id).collect();
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        left.iter().copied().for_each(kill);
        sleep(Duration::from_millis(5)).await;
    }
}

/// Kills this very process, and no other that has its number by now.
fn kill(id: ProcessId) {
    // Asked after the handle was opened: from here on the handle is of this process and no other.
    if let Some(Ok(handle)) = Pid::from_raw(id.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        && procfs::is_alive(id)
    {
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

fn own() -> i32 {
    getpid().as_raw_pid()
}

/// Collects what was taken in when it ends; runs until it is dropped.
pub(super) async fn collect(board: Board) {
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    while ended.recv().await.is_some() {
        let mut before = BTreeSet::new();
        // Our own children are collected at once by whoever started them. What is still there at the second look has
        // nobody else.
        loop {
            let dead: BTreeSet<ProcessId> = ended_children(&board);
            dead.intersection(&before).for_each(|id| {
                let _ = waitpid(Pid::from_raw(id.pid), WaitOptions::NOHANG);
            });
            if dead.is_empty() {
                break;
            }
            before = dead;
            sleep(Duration::from_secs(1)).await;
        }
    }
}

fn ended_children(board: &Board) -> BTreeSet<ProcessId> {
    let kept: BTreeSet<ProcessId> = board.read(|state| {
        state.services.values().flat_map(|instances| instances.values().filter_map(|one| one.process)).collect()
    });
    let children = procfs::children(own()).into_iter();
    children.filter(|found| found.zombie && !kept.contains(&found.id)).map(|found| found.id).collect()
}
