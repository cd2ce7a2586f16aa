//! Those who deploy, each as the command that a user types: a process from its start to its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::stack::NAME;

/// Who deploys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `windflow`, on the target of this name.
    Windflow(&'static str),
    /// The real Compose tool.
    Compose,
    /// `docker stack`, waiting for its verdict.
    Stack,
    /// `docker stack`, which comes back at once: whatever it leaves to be waited for, the engine is asked for.
    StackDetached,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes it so; twice is once.
    Apply { version: u32 },
    /// Takes it down.
    Destroy,
}

/// The programs, and where they work.
#[derive(Debug)]
pub struct Bench {
    pub windflow: PathBuf,
    pub compose: PathBuf,
    pub folder: PathBuf,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Windflow(_) => "windflow",
            Self::Compose => "compose",
            Self::Stack => "docker stack",
            Self::StackDetached => "stack, detached",
        }
    }

    /// Does it, and says how long the process took.
    pub fn run(self, bench: &Bench, endpoint: &str, file: &Path, verb: Verb) -> Duration {
        let mut command = match self {
            Self::Windflow(_) => Command::new(&bench.windflow),
            Self::Compose => Command::new(&bench.compose),
            Self::Stack | Self::StackDetached => Command::new("docker"),
        };
        let detach = format!("--detach={}", self == Self::StackDetached);
        match (self, verb) {
            (Self::Windflow(target), Verb::Apply { .. }) => {
                command.arg("apply").arg(file).args(["--target", target, "--yes"])
            }
            (Self::Windflow(target), Verb::Destroy) => command.args(["destroy", NAME, "--target", target, "--yes"]),
            // Without it, what was not asked for in the file would be asked for: a pull of each image.
            (Self::Compose, Verb::Apply { .. }) => {
                command.args(["--progress", "quiet", "--file"]).arg(file).args(["up", "--detach", "--wait"])
            }
            (Self::Compose, Verb::Destroy) => command.args(["--progress", "quiet", "--file"]).arg(file).arg("down"),
            (Self::Stack | Self::StackDetached, Verb::Apply { .. }) => command
                .args(["stack", "deploy", &detach, "--resolve-image", "never", "--compose-file"])
                .arg(file)
                .arg(NAME),
            (Self::Stack | Self::StackDetached, Verb::Destroy) => command.args(["stack", "rm", &detach, NAME]),
        };
        let version = match verb {
            Verb::Apply { version } => version,
            Verb::Destroy => 1,
        };
        command
            .current_dir(&bench.folder)
            .env("DOCKER_HOST", endpoint)
            .env("DOCKER_CONFIG", bench.folder.join("docker"))
            .env("COMPOSE_PROJECT_NAME", NAME)
            .env("VERSION", version.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let began = Instant::now();
        let done = command.output().unwrap();
        let took = began.elapsed();
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{command:?}: {said}");
        took
    }
}
