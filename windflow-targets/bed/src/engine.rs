//! An engine that one test has for itself, because it stops it or fills it.

use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::endpoint::needed;

/// An engine of a test's own: up in a few seconds, with the test images, and gone when it is dropped.
#[derive(Debug)]
pub struct Engine {
    /// Which of the scripts of the bed rules it.
    script: &'static str,
    folder: PathBuf,
}

impl Engine {
    /// Starts a plain Docker Engine.
    ///
    /// # Panics
    ///
    /// Without the bed, and when it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::started_by("docker")
    }

    /// Starts a Swarm of one node.
    ///
    /// # Panics
    ///
    /// Without the bed, and when it does not start.
    #[must_use]
    pub fn start_swarm() -> Self {
        Self::started_by("swarm")
    }

    fn started_by(script: &'static str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}.{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let engine = Self { script, folder: Path::new(&needed("WINDFLOW_TEST_BED", "")).join(name) };
        engine.must("up");
        engine
    }

    /// Its endpoint, as `unix:///…`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    /// Stops it in an orderly way, and starts it again on what it had.
    ///
    /// # Panics
    ///
    /// When it does not come back.
    pub fn restart(&self) {
        self.must("restart");
    }

    #[expect(clippy::panic, reason = "a test that cannot have what it needs must fail")]
    fn must(&self, what: &str) {
        if !self.command(what) {
            panic!("scripts/bed/{} {what} {} has failed, see above", self.script, self.folder.display());
        }
    }

    fn command(&self, what: &str) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/bed").join(self.script);
        // What it prints is how to reach it, which is known.
        let done = Command::new(script).arg(what).arg(&self.folder).stdout(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // `scripts/bed/run` takes down what is left, and says so when it cannot.
        self.command("down");
    }
}
