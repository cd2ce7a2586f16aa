//! This machine.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use windflow_core::target::{ExecEvent, Session, TargetError, TargetErrorKind};

use super::super::SupervisorCommand;
use super::super::layout::StackDir;
use super::super::state::ProcessId;
use super::{Listener, Lock, Machine, Piece, RunCommand, Wire, files, procfs};

/// The most that is read of a growing file at once.
const PIECE: u64 = 4 << 20;

/// The machine this program runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalMachine;

/// The path of a supervisor's socket that is short enough whatever the folder is called: it goes through an open
/// handle of the folder, which must be kept until the path has been used.
pub(crate) fn socket_in(dir: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    use rustix::fs::{Mode, OFlags, open};
    let handle = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/supervisor.sock", handle.as_raw_fd()));
    Ok((handle, path))
}

/// For work that reads or waits. What writes is done on the spot: handed to another thread, it would go on after its
/// caller was dropped and its lock released.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An error that names the file it is about.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

#[async_trait]
impl Machine for LocalMachine {
    async fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        if_there(fs::read(path)).map_err(named(path))
    }

    async fn read_from(&self, path: &Path, offset: u64) -> io::Result<Option<Piece>> {
        let Some(mut file) = if_there(File::open(path))? else { return Ok(None) };
        let found = file.metadata()?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        file.take(PIECE).read_to_end(&mut bytes)?;
        Ok(Some(Piece { file: found.ino(), bytes }))
    }

    async fn write(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        files::write_file(path, &bytes, true).map_err(named(path))
    }

    async fn create_new(&self, path: &Path, bytes: Vec<u8>) -> io::Result<bool> {
        files::create_new_file(path, &bytes).map_err(named(path))
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let Some(entries) = if_there(fs::read_dir(dir)).map_err(named(dir))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    async fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        files::make_dirs(dir).map_err(named(dir))
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        files::remove(path).map_err(named(path))
    }

    async fn remove_empty(&self, dir: &Path) -> io::Result<()> {
        match fs::remove_dir(dir) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
            done => done,
        }
    }

    async fn lock(&self, path: &Path, patience: Duration) -> io::Result<Option<Lock>> {
        let until = Instant::now() + patience;
        loop {
            // The folder goes with the stack; whoever takes the lock next makes it again.
            if let Some(dir) = path.parent() {
                files::make_dirs(dir).map_err(named(dir))?;
            }
            if let Some(Some(file)) = if_there(files::try_lock(path)).map_err(named(path))? {
                return Ok(Some(Box::new(file)));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_locked(&self, path: &Path) -> io::Result<bool> {
        files::is_locked(path).map_err(named(path))
    }

    async fn boot(&self) -> io::Result<String> {
        procfs::boot()
    }

    async fn alive(&self, of: Vec<(ProcessId, PathBuf)>) -> io::Result<BTreeSet<ProcessId>> {
        let lives =
            |(id, instance): &(ProcessId, PathBuf)| procfs::is_alive(*id) && procfs::may_be_of(id.pid, instance);
        Ok(of.into_iter().filter(lives).map(|(id, _)| id).collect())
    }

    async fn foreign_owner(&self, dir: &Path) -> io::Result<Option<u32>> {
        let found = if_there(fs::metadata(dir)).map_err(named(dir))?;
        Ok(found.map(|found| found.uid()).filter(|owner| *owner != rustix::process::geteuid().as_raw()))
    }

    async fn listeners(&self, ports: BTreeSet<u16>) -> io::Result<Vec<Listener>> {
        if ports.is_empty() {
            return Ok(Vec::new());
        }
        blocking(move || Ok(procfs::listeners(&ports))).await
    }

    async fn find_program(&self, program: &str, folders: Vec<PathBuf>) -> io::Result<Option<PathBuf>> {
        let candidates = match Path::new(program).is_absolute() {
            true => vec![PathBuf::from(program)],
            false => folders.into_iter().map(|folder| folder.join(program)).collect(),
        };
        Ok(candidates.into_iter().find(|path| is_program(path)))
    }

    async fn is_dir(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path).is_ok_and(|found| found.is_dir()))
    }

    async fn start_supervisor(&self, command: &SupervisorCommand, dir: &Path) -> io::Result<()> {
        let log = StackDir::at(dir).supervisor_log();
        let errors = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        let mut child = std::process::Command::new(&command.program)
            .args(&command.arguments)
            .arg("--dir")
            .arg(dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()?;
        // It starts the real one in a session of its own and ends, so that the caller is left with no child.
        let status = blocking(move || detached(&mut child)).await?;
        let killed = std::os::unix::process::ExitStatusExt::signal(&status).is_some();
        let kind = if killed { io::ErrorKind::Interrupted } else { io::ErrorKind::Other };
        match status.success() {
            true => Ok(()),
            false => {
                Err(io::Error::new(kind, format!("the supervisor {} ended with {status}", command.program.display())))
            }
        }
    }

    async fn connect(&self, dir: &Path) -> io::Result<Box<dyn Wire>> {
        let (_handle, path) = socket_in(dir)?;
        Ok(Box::new(UnixStream::connect(path).await?))
    }

    async fn run(&self, command: RunCommand) -> io::Result<Session> {
        run(command)
    }
}

/// How long a program may take to become a supervisor.
const DETACH_PATIENCE: Duration = Duration::from_secs(5);

/// Waits for the first stage of a supervisor. A program that does something else instead is ended.
fn detached(child: &mut std::process::Child) -> io::Result<std::process::ExitStatus> {
    let until = std::time::Instant::now() + DETACH_PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if std::time::Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            let why = "the program did not become a supervisor: its main must call supervise_if_child first";
            return Err(io::Error::other(why));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn run(command: RunCommand) -> io::Result<Session> {
    let [program, arguments @ ..] = &command.argv[..] else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
    };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&command.environment)
        .current_dir(&command.dir)
        .stdin(if command.stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let (events, mut received) = mpsc::channel(16);
    let out = child.stdout.take().map(|pipe| tokio::spawn(pump(pipe, events.clone(), ExecEvent::Stdout)));
    let err = child.stderr.take().map(|pipe| tokio::spawn(pump(pipe, events.clone(), ExecEvent::Stderr)));
    let stdin = child.stdin.take().map(|mut pipe| {
        let (sender, mut bytes) = mpsc::channel::<Vec<u8>>(16);
        tokio::spawn(async move {
            while let Some(bytes) = bytes.recv().await {
                if pipe.write_all(&bytes).await.is_err() {
                    return; // it reads no more
                }
            }
        });
        sender
    });
    tokio::spawn(async move {
        let status = tokio::select! {
            () = events.closed() => None,
            status = child.wait() => Some(status),
        };
        let Some(status) = status else {
            // Nobody listens any more. The child is not collected yet, so its number is still its own.
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            return;
        };
        // What it wrote comes before its end; what it left running may hold the pipes open, and is not waited for.
        let rest = async {
            for pump in [out, err].into_iter().flatten() {
                let _ = pump.await;
            }
        };
        let _ = timeout(Duration::from_millis(500), rest).await;
        let last = match status {
            Ok(status) => {
                use std::os::unix::process::ExitStatusExt as _;
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
                Ok(ExecEvent::Exit(code.unwrap_or(-1)))
            }
            Err(error) => Err(TargetError::new(&command.target, TargetErrorKind::Unknown, error)),
        };
        let _ = events.send(last).await;
    });
    // Nothing follows the end, even if something it left running still writes.
    let events = stream::poll_fn(move |cx| received.poll_recv(cx));
    let events = stream::unfold((events, false), |(mut events, ended)| async move {
        if ended {
            return None;
        }
        let event = events.next().await?;
        let ended = !matches!(event, Ok(ExecEvent::Stdout(_) | ExecEvent::Stderr(_)));
        Some((event, (events, ended)))
    });
    Ok(Session { events: events.boxed(), stdin, resize: None })
}

async fn pump(
    mut pipe: impl AsyncRead + Unpin,
    events: mpsc::Sender<Result<ExecEvent, TargetError>>,
    event: fn(Vec<u8>) -> ExecEvent,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        if events.send(Ok(event(buffer[..read].to_vec()))).await.is_err() {
            return;
        }
    }
}
