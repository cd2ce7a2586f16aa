//! How a program becomes a supervisor.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::Mode;

use super::super::config::SUPERVISE;
use super::super::layout::StackDir;
use super::super::state::{MARK, SUPERVISOR_MARK};
use super::hold::Hold;
use super::{crew, orphans};

/// Added by the first stage when it starts the second.
const DETACHED: &str = "--detached";

/// Serves as supervisor when the command line says so: `PROGRAM supervise --dir DIR`. The first thing a `main` calls.
///
/// `arguments` is the whole command line, the program's name included. Returns the exit code when this was a
/// supervisor, and `None` when the program should go on with its own work. It must be called outside of an
/// asynchronous runtime: the supervisor brings its own.
///
/// ```
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(code) = windflow_targets::host::supervise_if_child(std::env::args_os()) {
///         return code;
///     }
///     // … the program's own work …
///     ExitCode::SUCCESS
/// }
/// ```
pub fn supervise_if_child(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_none_or(|word| word != SUPERVISE) {
        return None;
    }
    let at = arguments.iter().position(|word| word == "--dir")?;
    let dir = StackDir::at(arguments.get(at + 1)?);
    let done = match arguments.last().is_some_and(|last| last == DETACHED) {
        true => serve(&dir),
        false => detach(&arguments, &dir),
    };
    match done {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            complain(dir.path(), &error.to_string());
            Some(ExitCode::FAILURE)
        }
    }
}

/// Lets a program outlive the service it is started from: it goes neither with the service nor with its stack, even when
/// it is the one to take that down. The program must also leave its session.
///
/// ```
/// let mut command = std::process::Command::new("deploy-the-next-version");
/// windflow_targets::host::leave_service(&mut command);
/// ```
pub fn leave_service(command: &mut Command) {
    command.env_remove(MARK).env(SUPERVISOR_MARK, "");
}

/// Writes to the supervisor's own log; when that cannot be written there is nobody left to tell.
pub(super) fn complain(dir: &Path, what: &str) {
    let log = StackDir::at(dir).supervisor_log();
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).mode(0o600).open(log) {
        let _ = writeln!(file, "supervisor {}: {what}", std::process::id());
    }
}

/// The first stage: leaves the caller's session and terminal, starts the second stage there, and ends; so the second
/// is nobody's child, and no key press of the caller's terminal reaches it.
fn detach(arguments: &[OsString], dir: &StackDir) -> io::Result<()> {
    // Fails only for a leader of a process group, which has left the caller's group already.
    let _ = rustix::process::setsid();
    start(arguments.iter().chain([&OsString::from(DETACHED)]), dir)
}

/// Starts a supervisor like this one, which takes over when this one ends.
pub(super) fn follow(dir: &StackDir) -> io::Result<()> {
    start(&std::env::args_os().collect::<Vec<_>>(), dir)
}

fn start<'a>(arguments: impl IntoIterator<Item = &'a OsString>, dir: &StackDir) -> io::Result<()> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
    // This very program, even if the file it was started from has been replaced.
    Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env_clear()
        .env(SUPERVISOR_MARK, dir.path())
        .stdin(Stdio::null())
        .spawn()
        .map(|_| ())
}

/// The second stage: the supervisor.
fn serve(dir: &StackDir) -> io::Result<()> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let Some(hold) = Hold::take(dir)? else {
        return Ok(()); // another one is in place
    };
    orphans::take_in();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(crew::supervise(dir, &hold))
}
