//! What a target needs from the machine, and nothing else.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use windflow_core::TargetName;
use windflow_core::target::Session;

use super::super::SupervisorCommand;
use super::super::state::ProcessId;

/// A lock that is held until this is dropped.
pub(crate) type Lock = Box<dyn Any + Send>;

/// A connection to a supervisor.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A piece of a file that grows and is rotated.
pub(crate) struct Piece {
    /// Which file it is: changes when another takes its name.
    pub file: u64,
    pub bytes: Vec<u8>,
}

/// A process that listens on a TCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub port: u16,
    /// Unknown when it belongs to another user.
    pub pid: Option<i32>,
    pub group: Option<i32>,
    pub program: Option<String>,
    /// The folder of the instance it belongs to, if it carries a mark.
    pub instance: Option<PathBuf>,
}

/// A command to run beside a service.
pub(crate) struct RunCommand {
    pub argv: Vec<String>,
    pub dir: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub stdin: bool,
    pub target: TargetName,
}

/// Files, locks and processes of one machine.
#[async_trait]
pub(crate) trait Machine: fmt::Debug + Send + Sync + 'static {
    /// A whole file; `None` when it is not there.
    async fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// A file from an offset on, a few megabytes at most; `None` when it is not there.
    async fn read_from(&self, path: &Path, offset: u64) -> io::Result<Option<Piece>>;
    /// Replaces a file, wholly and durably or not at all. Mode 0600.
    async fn write(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()>;
    /// Makes a file, wholly and durably; `false` when one of that name is there.
    async fn create_new(&self, path: &Path, bytes: Vec<u8>) -> io::Result<bool>;
    /// The names in a folder; none when it is not there.
    async fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it. Mode 0700.
    async fn make_dirs(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file or a folder with all in it, following no links; what is not there is fine.
    async fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder if it is empty.
    async fn remove_empty(&self, dir: &Path) -> io::Result<()>;
    /// Takes a lock, waiting so long at most; `None` when another holds it.
    async fn lock(&self, path: &Path, patience: Duration) -> io::Result<Option<Lock>>;
    /// Whether anybody holds a lock.
    async fn is_locked(&self, path: &Path) -> io::Result<bool>;
    /// Which boot this is.
    async fn boot(&self) -> io::Result<String>;
    /// Which of these processes live, each of the instance with this folder. In a copy of a folder, the processes that run
    /// are of the original.
    async fn alive(&self, of: Vec<(ProcessId, PathBuf)>) -> io::Result<BTreeSet<ProcessId>>;
    /// The user this folder belongs to, if that is another than ours.
    async fn foreign_owner(&self, dir: &Path) -> io::Result<Option<u32>>;
    /// Who listens on these ports.
    async fn listeners(&self, ports: BTreeSet<u16>) -> io::Result<Vec<Listener>>;
    /// A program that can be run: itself when absolute, else the first found in these folders.
    async fn find_program(&self, program: &str, folders: Vec<PathBuf>) -> io::Result<Option<PathBuf>>;
    /// Whether this is a folder.
    async fn is_dir(&self, path: &Path) -> io::Result<bool>;
    /// Starts a supervisor of this folder, which outlives the caller. One that finds another in place ends at once; one
    /// that was killed before it was there is `Interrupted`, and can be started again.
    async fn start_supervisor(&self, command: &SupervisorCommand, dir: &Path) -> io::Result<()>;
    /// Reaches the supervisor of this folder.
    async fn connect(&self, dir: &Path) -> io::Result<Box<dyn Wire>>;
    /// Runs a command; dropping the session ends it and all it started.
    async fn run(&self, command: RunCommand) -> io::Result<Session>;
}
