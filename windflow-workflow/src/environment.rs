//! What a program lets this library know of the world around it. Nothing here is looked up: the caller hands it in.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads the files that documents name.
pub trait ReadFile: fmt::Debug + Send + Sync + 'static {
    /// The file's bytes, at most `most + 1` of them: one more than allowed tells that it is too long.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>>;
}

/// The machine's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl ReadFile for DiskFiles {
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let kind = std::fs::metadata(path)?.file_type();
        // What a shell hands over is there to be read; a pipe in a folder may never be written to.
        let is_handed_over = path.starts_with("/dev") || path.starts_with("/proc");
        if !kind.is_file() && !kind.is_dir() && !is_handed_over {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file; name /dev/stdin to hand one over"));
        }
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Files that exist only in memory.
///
/// ```
/// use std::path::Path;
/// use windflow_workflow::environment::{MemoryFiles, ReadFile};
/// let files = MemoryFiles::from([("/app/compose.yaml", "services: {}")]);
/// assert_eq!(files.read(Path::new("/app/compose.yaml"), 100)?, b"services: {}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(BTreeMap<PathBuf, Vec<u8>>);

impl<P: Into<PathBuf>, T: Into<Vec<u8>>, const N: usize> From<[(P, T); N]> for MemoryFiles {
    fn from(files: [(P, T); N]) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }
}

impl ReadFile for MemoryFiles {
    fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes[..bytes.len().min(most.saturating_add(1))].to_vec())
    }
}

/// The variables, the working directory and the files a document may refer to.
///
/// ```
/// use windflow_workflow::Environment;
/// let environment = Environment::new("/srv/app").with_variable("TAG", "1.27");
/// assert_eq!(environment.variable("TAG"), Some("1.27"));
/// ```
#[derive(Debug, Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    working_dir: PathBuf,
    files: Arc<dyn ReadFile>,
}

impl Environment {
    /// No variables, the machine's files, and this working directory, from which relative paths start.
    #[must_use]
    pub fn new(working_dir: impl Into<PathBuf>) -> Self {
        Self { variables: BTreeMap::new(), working_dir: working_dir.into(), files: Arc::new(DiskFiles) }
    }

    /// With one more variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// With these variables as well; a later one replaces an earlier one of the same name.
    #[must_use]
    pub fn with_variables<N: Into<String>, V: Into<String>>(mut self, all: impl IntoIterator<Item = (N, V)>) -> Self {
        self.variables.extend(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// With files from elsewhere.
    #[must_use]
    pub fn with_files(mut self, files: impl ReadFile) -> Self {
        self.files = Arc::new(files);
        self
    }

    /// A variable's value.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// All variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Where relative paths start.
    #[must_use]
    pub fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// A path as seen from the working directory.
    #[must_use]
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.working_dir.join(path)
    }

    /// Reads a file; see [`ReadFile::read`].
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn read(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        self.files.read(&self.resolve(path), most)
    }
}
