//! The process table, read from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::super::state::{MARK, ProcessId, SUPERVISOR_MARK};
use super::Listener;

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub id: ProcessId,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Dead, and not yet collected by its parent.
    pub zombie: bool,
}

/// Reads the text of `/proc/PID/stat`. The name of the program may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let pid = text.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // Field 3, the state, is the first after the name.
    let started = fields.get(22 - 3)?.parse().ok()?;
    let zombie = matches!(*fields.first()?, "Z" | "X" | "x");
    let number = |field: usize| fields.get(field - 3)?.parse().ok();
    Some(Stat { id: ProcessId { pid, started }, parent: number(4)?, group: number(5)?, session: number(6)?, zombie })
}

/// A process by its number, if there is one.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// Whether this very process lives.
pub(crate) fn is_alive(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|found| found.id == id && !found.zombie)
}

/// Which boot this is.
pub(crate) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The folder that a process carries in this variable.
fn folder_in(pid: i32, variable: &str) -> Option<PathBuf> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let folder = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"="))?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(folder)))
}

/// The folder of the instance a process belongs to, if it carries our mark.
fn instance_of(pid: i32) -> Option<PathBuf> {
    folder_in(pid, MARK)
}

/// Whether a process may be of the instance with this folder: it carries no mark that says otherwise. A folder may have
/// several names, and may have been moved.
pub(crate) fn may_be_of(pid: i32, instance: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    instance_of(pid).is_none_or(|mark| mark == instance || id(&mark).is_none_or(|mark| Some(mark) == id(instance)))
}

/// The living processes that carry the mark of such an instance, the oldest first.
pub(crate) fn marked(is_wanted: impl Fn(&Path) -> bool) -> Vec<Stat> {
    let mut found: Vec<Stat> = pids()
        .filter(|pid| instance_of(*pid).is_some_and(|instance| is_wanted(&instance)))
        .filter_map(stat)
        .filter(|found| !found.zombie)
        .collect();
    found.sort_by_key(|found| (found.id.started, found.id.pid));
    found
}

/// The children of a process, the dead ones too.
pub(crate) fn children(of: i32) -> Vec<Stat> {
    pids().filter_map(stat).filter(|found| found.parent == of).collect()
}

/// The living processes below this one. What a service has deployed is passed over with all below it: supervisors, and
/// what carries the mark of an instance that is not ours.
pub(crate) fn descendants(of: i32, is_ours: impl Fn(&Path) -> bool) -> Vec<Stat> {
    let is_foreign = |found: &&Stat| {
        let pid = found.id.pid;
        instance_of(pid).is_some_and(|instance| !is_ours(&instance)) || folder_in(pid, SUPERVISOR_MARK).is_some()
    };
    let all: Vec<Stat> = pids().filter_map(stat).collect();
    let (mut below, mut next) = (Vec::new(), vec![of]);
    while let Some(parent) = next.pop() {
        let children = all.iter().filter(|found| found.parent == parent);
        for child in children.filter(|child| !is_foreign(child)) {
            below.push(*child);
            next.push(child.id.pid);
        }
    }
    below.retain(|found| !found.zombie);
    below
}

/// The sockets that listen on TCP ports, by their inode.
fn listening(text: &str) -> impl Iterator<Item = (u64, u16)> + '_ {
    text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (*state == "0A").then_some((inode.parse().ok()?, port))
    })
}

/// Who listens on these ports.
pub(crate) fn listeners(ports: &BTreeSet<u16>) -> Vec<Listener> {
    let mut sockets: BTreeMap<u64, u16> = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        sockets.extend(listening(&text).filter(|(_, port)| ports.contains(port)));
    }
    if sockets.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for pid in pids() {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for file in files.flatten() {
            let link = fs::read_link(file.path()).unwrap_or_default();
            let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(port) = inode.and_then(|inode: u64| sockets.get(&inode).copied()) {
                let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
                let group = stat(pid).map(|stat| stat.group);
                found.push(Listener { port, pid: Some(pid), group, program, instance: instance_of(pid) });
            }
        }
    }
    let known: BTreeSet<u16> = found.iter().map(|listener| listener.port).collect();
    let hidden: BTreeSet<u16> = sockets.into_values().filter(|port| !known.contains(port)).collect();
    let unknown = |port| Listener { port, pid: None, group: None, program: None, instance: None };
    found.extend(hidden.into_iter().map(unknown));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "42 (a) R (b c) S 1 7 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 1";
        let found = parse_stat(line).unwrap();
        let id = ProcessId { pid: 42, started: 98765 };
        assert_eq!(found, Stat { id, parent: 1, group: 7, session: 42, zombie: false });
        assert!(parse_stat("42 (x) Z 1 7 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1 1").unwrap().zombie);
        assert!(parse_stat("nonsense").is_none());
    }

    #[test]
    fn this_process_lives_and_one_with_its_number_and_another_start_does_not() {
        let own = stat(std::process::id().cast_signed()).unwrap().id;
        assert!(is_alive(own));
        assert!(!is_alive(ProcessId { started: own.started + 1, ..own }));
    }

    #[test]
    fn a_listening_socket_is_found() {
        let table = "  sl  local_address\n 0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 777 1\n 1: 0100007F:1F91 0:0 01 0:0 0:0 0 0 0 778 1";
        assert_eq!(listening(table).collect::<Vec<_>>(), [(777, 8080)]);
    }
}
