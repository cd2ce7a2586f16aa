//! What a host target is told. It reads no environment and guesses nothing.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use windflow_core::{OwnerId, TargetName};

/// The word on the command line that makes a program serve as a supervisor.
pub const SUPERVISE: &str = "supervise";

/// The program that serves as supervisor: its `main` calls [`supervise_if_child`](super::supervise_if_child) first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorCommand {
    /// The program, absolute.
    pub program: PathBuf,
    /// What stands before `--dir DIR`; [`SUPERVISE`] unless the program wants something else there.
    pub arguments: Vec<OsString>,
}

impl SupervisorCommand {
    /// This program, called `PROGRAM supervise --dir DIR`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: vec![SUPERVISE.into()] }
    }
}

/// What a host target is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostConfig {
    /// The name it is registered under.
    pub name: TargetName,
    /// Whose stacks these are.
    pub owner: OwnerId,
    /// The folder that holds everything, absolute. Made when it is not there, readable by its user only.
    pub root: PathBuf,
    /// The program that serves as supervisor.
    pub supervisor: SupervisorCommand,
    /// Where relative programs are looked up, and the `PATH` of every service.
    pub search_path: Vec<PathBuf>,
    /// How long an apply waits for health before it takes the stack back; ten minutes unless set. A call whose own time is
    /// up before that ends with what it waited for and leaves the stack as it is, to be gone on with or taken back.
    pub health_timeout: Duration,
    /// How long an apply waits for another one of the same stack; ten seconds unless set.
    pub lock_patience: Duration,
}

impl HostConfig {
    /// A host target with the usual times.
    #[must_use]
    pub fn new(
        name: TargetName,
        owner: OwnerId,
        root: impl Into<PathBuf>,
        supervisor: SupervisorCommand,
        search_path: Vec<PathBuf>,
    ) -> Self {
        Self {
            name,
            owner,
            root: root.into(),
            supervisor,
            search_path,
            health_timeout: Duration::from_secs(600),
            lock_patience: Duration::from_secs(10),
        }
    }
}
