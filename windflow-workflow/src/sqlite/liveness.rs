//! Which workers live: each is vouched for by a locked file for as long as its process holds the store open.
//!
//! The kernel lets a lock go when its process ends, however it ends, so that the runs of a killed process can be taken
//! up at once instead of when their leases run out. It is a matter of speed only: the epoch keeps late writers out.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use windflow_core::ContentHash;
use windflow_core::store::WorkerId;

/// The locks this store holds, and where all of them are.
#[derive(Debug)]
pub(super) struct Liveness {
    folder: PathBuf,
    ours: Mutex<HashMap<WorkerId, File>>,
}

impl Liveness {
    /// The locks in this folder, which is made when it is missing; those of dead workers are swept.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let swept = Self { folder, ours: Mutex::default() };
        for entry in fs::read_dir(&swept.folder)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "lock") {
                // Locked, looked at and removed in this order: whoever makes it anew makes another file.
                drop(free(&path).inspect(|_| drop(fs::remove_file(&path))));
            }
        }
        Ok(swept)
    }

    fn path(&self, worker: &WorkerId) -> PathBuf {
        let plain = !worker.0.is_empty()
            && worker.0.len() <= 100
            && worker.0.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let name =
            if plain { worker.0.to_string() } else { format!("h-{}", ContentHash::of(worker.0.as_bytes()).short()) };
        self.folder.join(format!("{name}.lock"))
    }

    /// Vouches for a worker from now on. Answers whether that is new.
    pub(super) fn vouch(&self, worker: &WorkerId) -> io::Result<bool> {
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        if ours.contains_key(worker) {
            return Ok(false);
        }
        let path = self.path(worker);
        // Somebody who looks whether we live holds the lock for an instant; and somebody who sweeps may remove the
        // file between our opening and our locking it.
        for _ in 0..1_000 {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            match file.try_lock() {
                Ok(()) if same(&file, &path) => {
                    ours.insert(worker.clone(), file);
                    return Ok(true);
                }
                Ok(()) | Err(TryLockError::WouldBlock) => std::thread::yield_now(),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // Another store of this process vouches for the same worker: it lives either way.
        Ok(false)
    }

    /// Whether a worker's process is there.
    pub(super) fn lives(&self, worker: &WorkerId) -> bool {
        if self.ours.lock().unwrap_or_else(PoisonError::into_inner).contains_key(worker) {
            return true;
        }
        let path = self.path(worker);
        path.exists() && free(&path).is_none()
    }

    /// Vouches for nobody any more.
    pub(super) fn let_go(&self) {
        let ours = std::mem::take(&mut *self.ours.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in ours.keys() {
            // Best effort: what stays is swept by whoever opens the store next.
            drop(fs::remove_file(self.path(worker)));
        }
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The file, locked, if nobody else has it locked.
fn free(path: &Path) -> Option<File> {
    let file = OpenOptions::new().write(true).open(path).ok()?;
    file.try_lock().ok().map(|()| file)
}

fn same(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}
