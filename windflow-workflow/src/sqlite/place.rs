//! Whether a path is a place where a journal may live: ours alone, local, and not reached through a link.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use windflow_core::StoreError;
use windflow_core::store::Fault;

/// File systems whose locks or write order cannot be trusted, by the number the kernel calls them.
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0BD0_0BD0, "Lustre"),
];

/// What every FUSE file system is called; which one it is stands in the list of mounts.
const FUSE: u64 = 0x6573_5546;

/// FUSE file systems that reach over a network.
const NETWORK_FUSE: &[&str] = &["sshfs", "s3fs", "rclone", "glusterfs", "gcsfuse", "davfs", "juicefs", "goofys"];

/// The name of a network file system, if this number or mount type is one.
pub(super) fn network_name(magic: u64, mount_type: Option<&str>) -> Option<String> {
    if let Some((_, name)) = NETWORK.iter().find(|(number, _)| *number == magic) {
        return Some((*name).to_owned());
    }
    let sort = mount_type.filter(|_| magic == FUSE)?;
    NETWORK_FUSE.iter().any(|name| sort.contains(name)).then(|| sort.to_owned())
}

/// The type of the mount that `path` (absolute) lies on, from the text of `/proc/self/mountinfo`.
fn mount_type<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let fields = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        Some((before.split(' ').nth(4)?, after.split(' ').next()?))
    });
    fields.filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.len()).map(|(_, sort)| sort)
}

fn unusable(what: impl std::fmt::Display, hint: &str) -> StoreError {
    StoreError::new(Fault::Unusable, what).with_hint(hint)
}

/// What tells one file from another that lies at the same path later.
pub(super) fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

/// Refuses an empty or missing file beside a log that holds something: SQLite would take the log for another file's and
/// wipe it, and with it what was acknowledged.
fn refuse_orphan(file: &Path) -> Result<(), StoreError> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let mut log = file.to_path_buf().into_os_string();
    log.push("-wal");
    if size(file) > 0 || size(Path::new(&log)) == 0 {
        return Ok(());
    }
    let what = format_args!("{} is empty or gone, and its log {} is not", file.display(), Path::new(&log).display());
    Err(StoreError::new(Fault::Corrupt, what)
        .with_hint("put a backup in its place, or move the log away to begin anew"))
}

/// Makes folder and file, for us alone, and answers the path without links in its folder part.
pub(super) fn prepare(path: &Path, network: bool) -> Result<PathBuf, StoreError> {
    let shown = path.display();
    let failed = |what: &str, error: &io::Error| {
        let fault = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
            _ => Fault::Unusable,
        };
        StoreError::new(fault, format_args!("{shown}: {what}: {error}"))
            .with_hint("check that the folder exists, is writable and has space")
    };
    let name = path.file_name().ok_or_else(|| unusable(format_args!("{shown} names no file"), "name a file"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|error| failed("cannot make the folder", &error))?;
    let folder = parent.canonicalize().map_err(|error| failed("cannot reach the folder", &error))?;
    if !network {
        refuse_network(&folder)?;
    }
    let file = folder.join(name);
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut beside = file.clone().into_os_string();
        beside.push(suffix);
        let found = match fs::symlink_metadata(&beside) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("cannot look at the file", &error)),
        };
        if !found.file_type().is_file() {
            let what = if found.file_type().is_symlink() { "a link" } else { "not a file" };
            return Err(unusable(format_args!("{} is {what}", Path::new(&beside).display()), "name the file itself"));
        }
        if found.permissions().mode() & 0o077 != 0 {
            tracing::warn!(file = %Path::new(&beside).display(), "others on this machine may read the journal (chmod 600)");
        }
    }
    refuse_orphan(&file)?;
    // SQLite gives its side files the mode of the main one, so it must be right before SQLite sees it.
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
        Ok(_) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(file),
        Err(error) => Err(failed("cannot make the file", &error)),
    }
}

fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    // A folder whose file system cannot be told is given the benefit of the doubt.
    let Ok(found) = rustix::fs::statfs(folder) else { return Ok(()) };
    #[expect(clippy::cast_sign_loss, reason = "a number that is only compared, in its lower 32 bits")]
    let magic = found.f_type as u64 & 0xFFFF_FFFF;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match network_name(magic, mount_type(&mounts, folder)) {
        None => Ok(()),
        Some(name) => Err(unusable(
            format_args!("{} is on a network file system ({name}), where SQLite loses data", folder.display()),
            "put it on a local disk, or allow it explicitly",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number_and_fuse_by_its_mount() {
        assert_eq!(network_name(0x6969, None).as_deref(), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42, None).as_deref(), Some("CIFS"));
        assert_eq!(network_name(0xFE53_4D42, None).as_deref(), Some("SMB2"));
        assert_eq!(network_name(FUSE, Some("fuse.sshfs")).as_deref(), Some("fuse.sshfs"));
        assert_eq!(network_name(FUSE, Some("fuseblk")), None, "a local disk through FUSE");
        for (local, name) in [(0xEF53, "ext4"), (0x0102_1994, "tmpfs"), (0x0102_1997, "9p"), (0x794C_7630, "overlay")] {
            assert_eq!(network_name(local, None), None, "{name}");
        }
    }

    #[test]
    fn a_path_lies_on_the_longest_mount_above_it() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /home/me/far rw shared:1 - fuse.sshfs host: rw\n";
        assert_eq!(mount_type(mounts, Path::new("/home/me/far/x")), Some("fuse.sshfs"));
        assert_eq!(mount_type(mounts, Path::new("/home/me/farther")), Some("ext4"));
    }
}
