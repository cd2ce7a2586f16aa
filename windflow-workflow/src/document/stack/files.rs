//! Which files a stack is made of, and what else is said about them.

use std::path::{Path, PathBuf};

use crate::environment::Environment;

/// The files of a stack, the first below the others, with the profiles that are active and the files with variables.
///
/// ```
/// use windflow_workflow::document::StackFiles;
/// let files = StackFiles::from("compose.yaml").and("compose.prod.yaml").with_profile("debug").named("shop");
/// assert_eq!(files.files.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackFiles {
    /// The files, each merged onto the ones before. Paths in all of them start from the folder of the first.
    pub files: Vec<PathBuf>,
    /// The profiles that are active; `*` is all of them. Those that `COMPOSE_PROFILES` names when empty.
    pub profiles: Vec<String>,
    /// Files with variables, instead of `.env` beside the first file.
    pub env_files: Vec<PathBuf>,
    /// What the stack is called, whatever the files say.
    pub project_name: Option<String>,
    /// Whether `COMPOSE_PROJECT_NAME` and `COMPOSE_PROFILES` mean nothing. A workflow deploys several stacks: there they do
    /// not.
    pub(crate) alone: bool,
}

/// The names under which a stack is looked for, each with what is merged onto it.
const NAMES: [(&str, [&str; 2]); 4] = [
    ("compose.yaml", ["compose.override.yaml", "compose.override.yml"]),
    ("compose.yml", ["compose.override.yml", "compose.override.yaml"]),
    ("docker-compose.yml", ["docker-compose.override.yml", "docker-compose.override.yaml"]),
    ("docker-compose.yaml", ["docker-compose.override.yaml", "docker-compose.override.yml"]),
];

impl StackFiles {
    /// These files.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { files: files.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The files that `COMPOSE_FILE` names, parted by `COMPOSE_PATH_SEPARATOR` or `:`; without it the first of
    /// `compose.yaml`, `compose.yml`, `docker-compose.yml` and `docker-compose.yaml` in the working directory, with its
    /// override. Empty when there is none.
    #[must_use]
    pub fn found(environment: &Environment) -> Self {
        if let Some(named) = environment.variable("COMPOSE_FILE").filter(|named| !named.is_empty()) {
            let separator = environment.variable("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
            return Self::new(named.split(separator.unwrap_or(":")).filter(|name| !name.is_empty()));
        }
        let there = |name: &&str| environment.read(Path::new(name), 0).is_ok();
        let Some((name, overrides)) = NAMES.iter().find(|(name, _)| there(name)) else { return Self::default() };
        Self::new(std::iter::once(name).chain(overrides.iter().find(|name| there(name))))
    }

    /// And one more file, onto the others.
    #[must_use]
    pub fn and(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.push(file.into());
        self
    }

    /// With one more active profile.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profiles.push(profile.into());
        self
    }

    /// With variables from one more file.
    #[must_use]
    pub fn with_env_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.env_files.push(file.into());
        self
    }

    /// With a name of its own.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.project_name = Some(name.into());
        self
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for StackFiles {
    fn from(file: &P) -> Self {
        Self::new([file.as_ref()])
    }
}

impl From<PathBuf> for StackFiles {
    fn from(file: PathBuf) -> Self {
        Self::new([file])
    }
}
