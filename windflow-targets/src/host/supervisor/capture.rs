//! What a service writes: read from its pipes, stamped, kept within bounds.
//!
//! The pipes are named ones, which the service holds open for reading and writing itself: so it is never told that its
//! reader died, and goes on. While no supervisor lives, the pipe holds up to a megabyte.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use windflow_core::target::LogStream;
use windflow_core::{Clock as _, Masker, SystemClock, Timestamp};

use super::super::layout::InstanceDir;
use super::super::state::ProcessId;

/// A longer line is cut.
const LONGEST_LINE: usize = 16 << 10;
/// A log that grew to this becomes the older one; two are kept.
const LONGEST_LOG: u64 = 8 << 20;
/// How many lines a verdict may quote.
const QUOTED: usize = 5;
const PIPE: usize = 1 << 20;

/// One captured line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub at: Timestamp,
    pub stream: LogStream,
    pub text: String,
}

/// The capture of one instance, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Capture {
    dir: InstanceDir,
    /// Which pipes are read: device and inode of the one for standard output, and of the one for standard error.
    pipes: [(u64, u64); 2],
    last: Arc<Mutex<VecDeque<String>>>,
    flush: mpsc::Sender<oneshot::Sender<()>>,
}

impl Capture {
    /// Makes the pipes if they are not there, and reads them from now on.
    pub fn start(dir: InstanceDir, masker: Masker) -> io::Result<Self> {
        let pipes = [dir.stdout(), dir.stderr()];
        Self::of(dir, masker, pipes)
    }

    /// Goes on with what a process writes that another supervisor has started: its own pipes, which are others than those
    /// that have their names when the folder is a copy of the one it was started in.
    pub fn resume(dir: InstanceDir, masker: Masker, process: ProcessId) -> io::Result<Self> {
        let own = |number: u32, named: PathBuf| {
            let handle = PathBuf::from(format!("/proc/{}/fd/{number}", process.pid));
            let wanted = named.file_name().map(OsStr::as_bytes).unwrap_or_default();
            let is_ours = std::fs::read_link(&handle).is_ok_and(|link| {
                let link = link.as_os_str().as_bytes();
                link.strip_suffix(b" (deleted)").unwrap_or(link).rsplit(|byte| *byte == b'/').next() == Some(wanted)
            });
            let is_pipe = std::fs::metadata(&handle).is_ok_and(|found| found.file_type().is_fifo());
            if is_ours && is_pipe { handle } else { named }
        };
        let pipes = [own(1, dir.stdout()), own(2, dir.stderr())];
        Self::of(dir, masker, pipes)
    }

    fn of(dir: InstanceDir, masker: Masker, pipes: [PathBuf; 2]) -> io::Result<Self> {
        for path in [dir.stdout(), dir.stderr()] {
            match mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let open = |path| {
            let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(path)?;
            // A smaller pipe does as well, only sooner full.
            let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE);
            io::Result::Ok(pipe)
        };
        let [out, err] = pipes;
        let (out, err) = (open(out)?, open(err)?);
        let id = |pipe: &pipe::Receiver| rustix::fs::fstat(pipe).map(|found| (found.st_dev, found.st_ino));
        let pipes = [id(&out)?, id(&err)?];
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let (flush, flushes) = mpsc::channel(1);
        let sink = Sink { dir: dir.clone(), file: None, last: Arc::clone(&last), masker };
        tokio::spawn(read(Lines::new(out, LogStream::Stdout), Lines::new(err, LogStream::Stderr), sink, flushes));
        Ok(Self { dir, pipes, last, flush })
    }

    /// Whether the pipes it reads are those in the folder: somebody may have removed it, or put another in its place.
    pub fn is_there(&self) -> bool {
        let id = |path: PathBuf| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        [id(self.dir.stdout()), id(self.dir.stderr())] == self.pipes.map(Some)
    }

    /// The ends a service writes to: its standard output and standard error.
    pub fn ends(&self) -> io::Result<(File, File)> {
        let open = |path| OpenOptions::new().read(true).write(true).open(path);
        Ok((open(self.dir.stdout())?, open(self.dir.stderr())?))
    }

    /// The last lines, once everything that was written has been read.
    pub async fn last_lines(&self) -> Vec<String> {
        let (done, wait) = oneshot::channel();
        if self.flush.send(done).await.is_ok() {
            let _ = wait.await;
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Forgets the last lines: those of another process.
    pub fn forget(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn read(mut out: Lines, mut err: Lines, mut sink: Sink, mut flushes: mpsc::Receiver<oneshot::Sender<()>>) {
    loop {
        let flushed = tokio::select! {
            _ = out.pipe.readable() => None,
            _ = err.pipe.readable() => None,
            flush = flushes.recv() => match flush {
                Some(flush) => Some(flush),
                None => break,
            },
        };
        out.drain(&mut sink);
        err.drain(&mut sink);
        if let Some(flushed) = flushed {
            out.finish(&mut sink);
            err.finish(&mut sink);
            let _ = flushed.send(());
        }
        // A service that never stops writing must not keep the others from being served.
        tokio::task::yield_now().await;
    }
    out.drain(&mut sink);
    err.drain(&mut sink);
    out.finish(&mut sink);
    err.finish(&mut sink);
}

/// One pipe, cut into lines.
struct Lines {
    pipe: pipe::Receiver,
    stream: LogStream,
    partial: Vec<u8>,
    /// The rest of a line that was cut is thrown away.
    skipping: bool,
}

impl Lines {
    fn new(pipe: pipe::Receiver, stream: LogStream) -> Self {
        Self { pipe, stream, partial: Vec::new(), skipping: false }
    }

    fn drain(&mut self, sink: &mut Sink) {
        let mut buffer = [0; 16 << 10];
        // Bounded, so that a flood on one pipe lets the other be read.
        for _ in 0..64 {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => self.take(&buffer[..read], sink),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], sink: &mut Sink) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if !self.skipping {
                let room = LONGEST_LINE - self.partial.len();
                self.partial.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() > room {
                    self.skipping = true;
                    sink.line(self.stream, &std::mem::take(&mut self.partial));
                } else if whole {
                    sink.line(self.stream, &std::mem::take(&mut self.partial));
                }
            }
            self.skipping &= !whole;
        }
    }

    fn finish(&mut self, sink: &mut Sink) {
        if !self.partial.is_empty() {
            sink.line(self.stream, &std::mem::take(&mut self.partial));
        }
    }
}

/// Where lines go.
struct Sink {
    dir: InstanceDir,
    file: Option<(File, u64)>,
    last: Arc<Mutex<VecDeque<String>>>,
    masker: Masker,
}

impl Sink {
    fn line(&mut self, stream: LogStream, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = self.masker.mask(&String::from_utf8_lossy(bytes));
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.push_back(text.chars().take(200).collect());
            while last.len() > QUOTED {
                last.pop_front();
            }
        }
        let entry = LogEntry { at: SystemClock.now(), stream, text };
        let mut json = serde_json::to_vec(&entry).unwrap_or_default();
        json.push(b'\n');
        // A full disk costs log lines, never the service: the pipe is read on, and the file opened anew.
        if self.write(&json).is_err() {
            self.file = None;
        }
    }

    fn write(&mut self, json: &[u8]) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, size)| *size >= LONGEST_LOG) {
            self.file = None;
            std::fs::rename(self.dir.log(), self.dir.older_log())?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.dir.log())?;
            let size = file.metadata()?.len();
            self.file = Some((file, size));
        }
        if let Some((file, size)) = &mut self.file {
            file.write_all(json)?;
            *size += json.len() as u64;
        }
        Ok(())
    }
}
