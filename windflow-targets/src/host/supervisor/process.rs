//! One process: started or adopted, watched through a handle that is safe against the reuse of its number.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;
use windflow_core::ContentHash;

use super::super::state::ProcessId;
use super::super::transport::procfs;
use super::orphans::{self, Mark};
use super::policy::Ending;

/// A living process of ours.
#[derive(Debug)]
pub(super) struct Process {
    pub id: ProcessId,
    /// The identity of the spec it was started with, as far as it is known.
    pub identity: Option<ContentHash>,
    pub started: Instant,
    mark: Mark,
    /// What was below it when it was asked to end.
    below: Vec<ProcessId>,
    child: Option<Child>,
    handle: AsyncFd<OwnedFd>,
}

#[expect(deprecated, reason = "its successor is unsafe; a handle that is owned here meets what it asks for")]
fn handle_of(pid: i32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    AsyncFd::with_interest(handle, Interest::READABLE)
}

impl Process {
    /// Starts one, in a process group of its own.
    pub fn start(mut command: Command, identity: ContentHash, mark: Mark) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let pid = child.id().cast_signed();
        // It is not collected before we ask, so the number is still its own.
        let found = procfs::stat(pid).ok_or_else(|| io::Error::other("the process cannot be found"));
        match found.and_then(|found| Ok((found.id, handle_of(pid)?))) {
            Ok((id, handle)) => Ok(Self {
                id,
                identity: Some(identity),
                started: Instant::now(),
                mark,
                below: Vec::new(),
                child: Some(child),
                handle,
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Takes over one that another supervisor started; `None` when it lives no more, or is of another stack whose records
    /// were copied here.
    pub fn adopt(id: ProcessId, identity: Option<ContentHash>, mark: Mark) -> Option<Self> {
        let handle = handle_of(id.pid).ok()?;
        // Asked after the handle was opened: from here on the handle is of this process and no other.
        (procfs::is_alive(id) && procfs::may_be_of(id.pid, &mark.instance)).then(|| Self {
            id,
            identity,
            started: Instant::now(),
            mark,
            below: Vec::new(),
            child: None,
            handle,
        })
    }

    /// Returns when it has ended, with all it left behind ended too. May be dropped and called again.
    pub async fn ended(&mut self) -> Ending {
        // A handle becomes readable when its process ends, and stays so.
        let _ = self.handle.readable().await;
        // Of a child that is not collected yet the number, and its group's, are its own. One that was adopted is collected
        // by someone else, and its number may be another's by now: only what is known, or carries its mark, is ours.
        if self.child.is_some()
            && let Some(group) = Pid::from_raw(self.id.pid)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        orphans::end_known(&self.below).await;
        self.mark.end().await;
        let Some(child) = &mut self.child else { return Ending::Unseen };
        match child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Ending::Code(code),
                (None, Some(signal)) => Ending::Signal(signal),
                (None, None) => Ending::Unseen,
            },
            Err(_) => Ending::Unseen,
        }
    }

    /// Sends a signal to its whole group, if it is still the process we know.
    pub fn signal(&mut self, signal: Signal) {
        if !procfs::is_alive(self.id) {
            return;
        }
        // What left the group and cleared its environment is known by its parents, as long as they live.
        let below = procfs::descendants(self.id.pid, |mark| mark == self.mark.instance);
        self.below.extend(below.iter().map(|found| found.id));
        let group = Pid::from_raw(self.id.pid);
        if group.is_none_or(|group| kill_process_group(group, signal).is_err()) {
            let _ = pidfd_send_signal(&self.handle, signal);
        }
    }
}
