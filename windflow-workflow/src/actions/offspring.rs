//! Everything a step has started on this machine, found again when its engine was killed, and beyond the process group
//! and session it was started in.
//!
//! Each program is given a [`MARK`] of its own, which whatever it starts inherits; the mark is durable before the
//! program is there. What cleared its environment is found by the program itself, by its group and by its parents.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::process::Child;

/// The variable that marks a program and what it starts.
pub(super) const MARK: &str = "WINDFLOW_STEP";

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is durable of a program: its mark before it starts, itself right after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    /// Of this program alone, whichever engine started it.
    pub mark: String,
    pub leader: Option<Leader>,
}

/// A process that leads a group, safe against the reuse of its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leader {
    pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    started: u64,
    /// Where the number counts: this boot and this pid namespace.
    place: String,
}

impl Leader {
    /// A process that is there now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.started, place: place()? })
    }
}

/// A line of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    started: u64,
    /// Dead, and not yet collected by its parent.
    zombie: bool,
}

/// Reads the text of `/proc/PID/stat`. The name of the program may hold spaces and parentheses.
fn parse(text: &str) -> Option<Process> {
    let pid = text.split_once(' ')?.0.parse().ok()?;
    // Field 3, the state, is the first after the name.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<i32>().ok();
    let zombie = matches!(*fields.first()?, "Z" | "X" | "x");
    Some(Process { pid, parent: number(4)?, group: number(5)?, started: fields.get(22 - 3)?.parse().ok()?, zombie })
}

fn stat(pid: i32) -> Option<Process> {
    parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

fn carries(pid: i32, mark: &str) -> bool {
    let environment = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).unwrap_or_default();
    let wanted = format!("{MARK}={mark}");
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

/// The whole table; empty where there is no `/proc`.
fn table() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// From those that are known to what belongs to them: what they started, and the groups they lead.
fn family(table: &[Process], known: BTreeSet<i32>) -> Vec<Process> {
    // This very process may be a child of what it looks for, if a program resumes the run that started it.
    let mut ancestors = BTreeSet::new();
    let mut at = i32::try_from(std::process::id()).unwrap_or_default();
    while ancestors.insert(at) {
        at = table.iter().find(|process| process.pid == at).map_or(0, |process| process.parent);
    }
    let mut found = known;
    found.retain(|pid| !ancestors.contains(pid));
    loop {
        let before = found.len();
        for process in table.iter().filter(|process| !ancestors.contains(&process.pid)) {
            if found.contains(&process.parent) || found.contains(&process.group) {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            return table.iter().filter(|process| found.contains(&process.pid)).copied().collect();
        }
    }
}

impl Trace {
    /// What lives of it now.
    fn living(&self) -> Vec<Process> {
        let table = table();
        let here = self.leader.as_ref().filter(|leader| place().as_deref() == Some(leader.place.as_str()));
        // What carries the mark was started after the program, so of most processes the environment is not read.
        let since = here.map_or(0, |leader| leader.started);
        let marked = |process: &&Process| process.started >= since && carries(process.pid, &self.mark);
        let leads = |process: &&Process| {
            here.is_some_and(|leader| (leader.pid, leader.started) == (process.pid, process.started))
        };
        let known = table.iter().filter(|process| leads(process) || marked(process)).map(|process| process.pid);
        let mut found = family(&table, known.collect());
        found.retain(|process| !process.zombie);
        found
    }

    /// Sends a signal to the program's group, if the program is there, and be it dead: from when it is collected on, its
    /// number may be another's. Answers which group that is.
    fn signal_group(&self, signal: Signal) -> Option<i32> {
        let leader = self.leader.as_ref()?;
        let there = stat(leader.pid).filter(|now| now.started == leader.started && now.group == leader.pid)?;
        // What is left of it may have ended by itself.
        let _ = kill_process_group(Pid::from_raw(there.group)?, signal);
        Some(there.group)
    }

    /// Kills all that lives of it and waits until it is gone; otherwise, what does not go.
    pub async fn end(&self) -> Result<(), Vec<i32>> {
        end(self.clone(), BTreeSet::new()).await
    }
}

/// Kills all that lives of a program, and of what else belonged to it.
async fn end(trace: Trace, mut known: BTreeSet<Process>) -> Result<(), Vec<i32>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let trace = trace.clone();
        let look = tokio::task::spawn_blocking(move || {
            known.extend(trace.living());
            known.retain(|process| is_alive(*process));
            known.iter().for_each(|process| send(*process, Signal::KILL));
            known
        });
        // Not reached: what is done there does not panic, and nobody takes it back.
        known = look.await.unwrap_or_default();
        if known.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(known.iter().map(|process| process.pid).collect());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(process: Process) -> bool {
    stat(process.pid).is_some_and(|now| now.started == process.started && !now.zombie)
}

/// Sends a signal to this very process, and to no other that has its number by now.
#[cfg(target_os = "linux")]
fn send(process: Process, signal: Signal) {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let handle = Pid::from_raw(process.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // Asked after the handle was opened: from here on the handle is of this process and no other.
    if let Some(handle) = handle
        && stat(process.pid).is_some_and(|now| now.started == process.started)
    {
        let _ = pidfd_send_signal(&handle, signal);
    }
}

/// Not reached: the table is empty here.
#[cfg(not(target_os = "linux"))]
fn send(_: Process, _: Signal) {}

/// What an attempt has started and not yet ended. Ends when it goes, so that a dropped attempt leaves nothing running.
pub(super) struct Offspring {
    pub trace: Trace,
    /// What was found of it. Whoever loses its parent after that is still known.
    known: BTreeSet<Process>,
    /// The group of a program of which the process table says nothing, as long as its number is its own.
    group: Option<Pid>,
    over: bool,
}

impl Offspring {
    pub fn new(trace: Trace, child: &Child) -> Self {
        let group = child.id().filter(|_| trace.leader.is_none()).and_then(|id| Pid::from_raw(id.cast_signed()));
        Self { trace, known: BTreeSet::new(), group, over: false }
    }

    /// Waits until the program has ended, and does not collect it: what is left of its group can still be told by its
    /// number. Collects it where that cannot be done.
    pub async fn ended(&mut self, child: &mut Child) {
        let program = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if !matches!(program, Some(program) if exit(program).await) {
            let _ = child.wait().await;
            self.group = None;
        }
    }

    /// Asks all of it to end, and kills it after the grace period.
    pub async fn stop(&mut self, child: &mut Child, grace: Duration) {
        self.signal(Signal::TERM).await;
        if tokio::time::timeout(grace, self.ended(child)).await.is_err() {
            self.signal(Signal::KILL).await;
            let _ = tokio::time::timeout(grace, self.ended(child)).await;
        }
    }

    /// Sends a signal to all of it, once to each.
    async fn signal(&mut self, signal: Signal) {
        let (trace, group, known) = (self.trace.clone(), self.group, self.known.clone());
        let sent = tokio::task::spawn_blocking(move || signal_all(&trace, group, known, signal));
        // Not reached: what is done there does not panic, and nobody takes it back.
        self.known = sent.await.unwrap_or_default();
    }

    /// Ends what the program has left running; otherwise, what does not go.
    pub async fn end(mut self) -> Result<(), Vec<i32>> {
        self.trace.signal_group(Signal::KILL);
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let ended = end(self.trace.clone(), std::mem::take(&mut self.known)).await;
        self.over = true;
        ended
    }
}

/// Sends a signal to all that is known of a program and all that is found of it, and answers what that is.
fn signal_all(trace: &Trace, group: Option<Pid>, mut known: BTreeSet<Process>, signal: Signal) -> BTreeSet<Process> {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }

    // Looked for first: a parent that ends takes the trace of its children with it.
    known.extend(trace.living());
    let group = trace.signal_group(signal);
    known.iter().filter(|process| Some(process.group) != group).for_each(|process| send(*process, signal));
    known
}

/// Waits for the end of a child of ours that nobody collects meanwhile; whether that can be done here.
#[cfg(target_os = "linux")]
#[expect(deprecated, reason = "what replaces it is unsafe, for handles that are closed under it: this one is owned")]
async fn exit(child: Pid) -> bool {
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    let Ok(handle) = pidfd_open(child, PidfdFlags::empty()) else { return false };
    let Ok(handle) = AsyncFd::with_interest(handle, Interest::READABLE) else { return false };
    handle.readable().await.is_ok()
}

#[cfg(not(target_os = "linux"))]
async fn exit(_: Pid) -> bool {
    false
}

impl Drop for Offspring {
    /// At once and here, on whatever thread that is: the process may be about to end.
    fn drop(&mut self) {
        // What is started while the table is read shows in the next reading.
        for _ in 0..3 {
            if self.over {
                return;
            }
            let known = std::mem::take(&mut self.known);
            self.known = signal_all(&self.trace, self.group, known, Signal::KILL);
            self.over = !self.known.iter().any(|process| is_alive(*process));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) R (b c) S 1 7 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
        let found = Process { pid: 42, parent: 1, group: 7, started: 98765, zombie: false };
        assert_eq!(parse(line), Some(found));
        assert!(parse("42 (x) Z 1 7 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1 1").unwrap().zombie);
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn children_and_groups_belong_to_what_is_known_and_whoever_looks_never_does() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = |pid, parent, group| Process { pid, parent, group, started: 1, zombie: false };
        let table = [
            process(10, 1, 10),
            process(11, 10, 10),  // in the group
            process(12, 11, 12),  // left the group, and has a parent
            process(13, 1, 10),   // lost its parent, and is in the group
            process(14, 1, 14),   // a stranger
            process(own, 10, 10), // whoever looks, started by it
            process(15, own, 15),
        ];
        let found: Vec<i32> = family(&table, [10].into()).iter().map(|process| process.pid).collect();
        assert_eq!(found, Vec::<i32>::new(), "an ancestor of whoever looks is passed over, and what it leads with it");
        let found: Vec<i32> = family(&table[..5], [10].into()).iter().map(|process| process.pid).collect();
        assert_eq!(found, [10, 11, 12, 13]);
    }
}
