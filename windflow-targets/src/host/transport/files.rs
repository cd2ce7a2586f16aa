//! Files that are whole or not there, and locks that go with their process.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

/// Distinguishes the temporary files of one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn temporary(path: &Path) -> PathBuf {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{n}", std::process::id()))
}

fn write_temporary(path: &Path, bytes: &[u8], durable: bool) -> io::Result<PathBuf> {
    let temporary = temporary(path);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Replaces a file, wholly or not at all; `durable` when it must outlive a power cut.
pub(crate) fn write_file(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, durable)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })?;
    if durable { sync_dir(path) } else { Ok(()) }
}

/// Makes a file, wholly; `false` when one of that name is there.
pub(crate) fn create_new_file(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let temporary = write_temporary(path, bytes, true)?;
    // A link refuses an existing name, as O_EXCL does, and shows the file only when it is whole.
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => sync_dir(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those above it, for this user only.
pub(crate) fn make_dirs(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes a file or a folder with all in it; what is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).or_else(gone),
        Ok(_) => fs::remove_file(path).or_else(gone),
        Err(error) => gone(error),
    }
}

/// Takes a lock that goes when the file is dropped or its process dies; `None` when another holds it.
///
/// The lock counts only while the file still has its name: whoever held it may have removed the folder.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (held, named) = (file.metadata()?, fs::metadata(path));
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())).then_some(file))
}

/// Whether anybody holds a lock.
pub(crate) fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_a_lock_is_held_once() {
        let dir = std::env::temp_dir().join(format!("windflow-files-{}", std::process::id()));
        make_dirs(&dir).unwrap();
        let file = dir.join("1.json");
        assert!(create_new_file(&file, b"first").unwrap());
        assert!(!create_new_file(&file, b"second").unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let lock = dir.join("lock");
        let held = try_lock(&lock).unwrap();
        assert!(held.is_some());
        assert!(try_lock(&lock).unwrap().is_none());
        assert!(is_locked(&lock).unwrap());
        drop(held);
        assert!(!is_locked(&lock).unwrap());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "no temporary file is left");
        remove(&dir).unwrap();
        remove(&dir).unwrap();
    }
}
