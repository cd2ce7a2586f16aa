//! Secrets from files.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use windflow_core::{Secret, SecretError, SecretRef, SecretSource};
use zeroize::Zeroizing;

/// A secret of more bytes is no secret but a mistake.
const MOST: u64 = 64 * 1024;

/// Files as a secret source: `secret://file//run/secrets/db` (absolute) or `secret://file/secrets/db`, relative to a
/// folder.
///
/// One newline at the end is left out. A file that others may read is used, with a warning. A relative path stays
/// within its folder.
#[derive(Debug, Clone)]
pub struct FileSecrets {
    base: PathBuf,
}

impl FileSecrets {
    /// Relative paths are looked up below this folder.
    #[must_use]
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    fn path(&self, reference: &SecretRef) -> Result<PathBuf, SecretError> {
        let path = Path::new(reference.path());
        if path.is_relative() && path.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return Err(denied(reference, "a relative path must not lead out of its folder"));
        }
        Ok(self.base.join(path))
    }
}

fn denied(reference: &SecretRef, reason: impl Into<String>) -> SecretError {
    SecretError::Denied { reference: reference.clone(), reason: reason.into() }
}

fn read(reference: &SecretRef, path: &Path) -> Result<Secret, SecretError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SecretError::NotFound {
            reference: reference.clone(),
            hint: Some(format!("{} does not exist", path.display())),
        },
        io::ErrorKind::PermissionDenied => denied(reference, format!("{} is not readable", path.display())),
        _ => SecretError::Unavailable { reference: reference.clone(), reason: format!("{}: {error}", path.display()) },
    };
    // Looked at before it is opened: opening a pipe would wait, opening a device may do anything.
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(denied(reference, format!("{} is not a file", path.display())));
    }
    if found.permissions().mode() & 0o007 != 0 {
        tracing::warn!(file = %path.display(), "anybody on this machine may read this secret (chmod o-rwx)");
    }
    let mut bytes = Zeroizing::new(Vec::new());
    fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MOST {
        return Err(denied(reference, format!("{} is larger than 64 KiB", path.display())));
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| denied(reference, format!("{} is not UTF-8 text", path.display())))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Secret::new(text.to_owned()))
}

#[async_trait]
impl SecretSource for FileSecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        if reference.field().is_some() {
            let hint = Some("a file has no fields; leave out what follows '#'".to_owned());
            return Err(SecretError::NotFound { reference: reference.clone(), hint });
        }
        let path = self.path(reference)?;
        let (task, reference) = (reference.clone(), reference.clone());
        let read = tokio::task::spawn_blocking(move || read(&task, &path)).await;
        read.unwrap_or_else(|error| Err(SecretError::Unavailable { reference, reason: error.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_without_its_last_newline_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("token", b"one\n\n");
        write("windows", b"two\r\n");
        write("binary", b"\xff\xfe");
        write("large", &vec![b'x'; 64 * 1024 + 1]);
        write("limit", &vec![b'x'; 64 * 1024]);
        fs::create_dir(folder.path().join("folder")).unwrap();
        let source = FileSecrets::new(folder.path());
        let resolve = |path: &str| {
            let reference: SecretRef = format!("secret://file/{path}").parse().unwrap();
            let source = source.clone();
            async move { source.resolve(&reference).await }
        };
        assert_eq!(resolve("token").await.unwrap().expose(), "one\n");
        assert_eq!(resolve("windows").await.unwrap().expose(), "two");
        assert_eq!(resolve("limit").await.unwrap().expose().len(), 64 * 1024);
        let absolute = folder.path().join("token").display().to_string();
        assert_eq!(resolve(&absolute).await.unwrap().expose(), "one\n");
        for (bad, why) in [
            ("folder", "not a file"),
            ("large", "larger than 64 KiB"),
            ("binary", "not UTF-8"),
            ("../token", "lead out of its folder"),
            ("missing", "does not exist"),
            ("/dev/zero", "not a file"),
            ("token#field", "no fields"),
        ] {
            let error = resolve(bad).await.unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
