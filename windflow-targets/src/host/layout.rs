//! Where things are on the machine.
//!
//! Names of owners, stacks and services start with a letter, a digit or `_` and hold no slash, so each is one path
//! component and none of them is `.`, `..` or hidden; what is ours and not a name is in a folder of its own.

use std::path::{Path, PathBuf};

use windflow_core::{OwnerId, ServiceName, StackName};

/// The folder of one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackDir(PathBuf);

impl StackDir {
    pub fn of(root: &Path, owner: &OwnerId, stack: &StackName) -> Self {
        Self(root.join(owner.as_str()).join(stack.as_str()))
    }

    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn owner_dir(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }

    /// Held by whoever applies.
    pub fn apply_lock(&self) -> PathBuf {
        self.0.join("apply.lock")
    }

    /// Held by the supervisor for its life.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.0.join("supervisor.lock")
    }

    /// Where the supervisor says why it could not go on.
    pub fn supervisor_log(&self) -> PathBuf {
        self.0.join("supervisor.log")
    }

    /// What the supervisor is to run; written by it alone.
    pub fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    /// What runs; written by the supervisor alone.
    pub fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// The apply that is under way.
    pub fn intent(&self) -> PathBuf {
        self.0.join("intent.json")
    }

    /// The number of the current revision.
    pub fn current(&self) -> PathBuf {
        self.0.join("current.json")
    }

    pub fn revisions(&self) -> PathBuf {
        self.0.join("revisions")
    }

    pub fn revision(&self, number: u64) -> PathBuf {
        self.revisions().join(format!("{number}.json"))
    }

    pub fn services(&self) -> PathBuf {
        self.0.join("services")
    }

    pub fn instance(&self, service: &ServiceName, instance: u32) -> InstanceDir {
        InstanceDir(self.services().join(service.as_str()).join(instance.to_string()))
    }
}

/// The folder of one instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceDir(PathBuf);

impl InstanceDir {
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its working directory.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The pipe its standard output goes through.
    pub fn stdout(&self) -> PathBuf {
        self.0.join("stdout")
    }

    /// The pipe its standard error goes through.
    pub fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }

    /// What it wrote, one JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.jsonl")
    }

    /// What it wrote before that.
    pub fn older_log(&self) -> PathBuf {
        self.0.join("log.1.jsonl")
    }
}
