//! The lock a supervisor holds for its life, and what it may still do when that lock has lost its name: somebody may
//! have removed the folder, or put another in its place, and another supervisor may be at work there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::super::layout::StackDir;
use super::super::transport::{is_locked, try_lock};

/// How often it is asked whether the lock is where it was.
const LOOK: Duration = Duration::from_secs(3);

/// The lock of a stack, held. Clones are handles to the same lock.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    dir: StackDir,
    lock: Arc<File>,
}

/// What became of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The folder is gone, and with it every way to give an order.
    Folder,
    /// Another supervisor is in place.
    ToAnother,
    /// Nobody holds what now has its name.
    ToNobody,
}

/// What is to be found under the name of the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Ours,
    Another,
    Nothing,
}

impl Hold {
    /// Takes the lock; `None` when another holds it.
    pub fn take(dir: &StackDir) -> io::Result<Option<Self>> {
        // Whoever only asks whether the lock is held holds it himself for a moment: one refusal is not an answer.
        for _ in 0..25 {
            if let Some(lock) = try_lock(&dir.supervisor_lock())? {
                return Ok(Some(Self { dir: dir.clone(), lock: Arc::new(lock) }));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(None)
    }

    /// Whether the lock that is held is the one in the folder.
    pub fn is_ours(&self) -> bool {
        self.name() == Name::Ours
    }

    /// Whether another supervisor may be at work here.
    ///
    /// Whoever is about to end what another might also have started asks this after it has looked and before it acts:
    /// what was there before another could take the lock is not the other's.
    pub fn is_anothers(&self) -> bool {
        self.name() == Name::Another
    }

    /// Waits until the lock is ours: for ever, if another has it.
    pub async fn ours(&self) {
        while !self.is_ours() {
            sleep(LOOK).await;
        }
    }

    fn name(&self) -> Name {
        let id = |found: fs::Metadata| (found.dev(), found.ino());
        match fs::metadata(self.dir.supervisor_lock()).map(id) {
            Ok(named) if self.lock.metadata().map(id).is_ok_and(|held| held != named) => Name::Another,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Name::Nothing,
            // What cannot be asked now is not known to have changed.
            _ => Name::Ours,
        }
    }

    /// Returns when the lock is not in the folder any more, looked at twice.
    pub async fn lost(&self) -> Lost {
        let mut before = None;
        loop {
            sleep(LOOK).await;
            let now = self.look();
            if let Some(lost) = now.filter(|_| now == before) {
                return lost;
            }
            before = now;
        }
    }

    fn look(&self) -> Option<Lost> {
        let found = self.name();
        if found == Name::Ours {
            return None;
        }
        if found == Name::Nothing && !self.dir.path().is_dir() {
            return Some(Lost::Folder);
        }
        match is_locked(&self.dir.supervisor_lock()) {
            Ok(true) => Some(Lost::ToAnother),
            Ok(false) => Some(Lost::ToNobody),
            // Asked again.
            Err(_) => None,
        }
    }
}
