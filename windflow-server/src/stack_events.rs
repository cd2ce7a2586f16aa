//! What happens to stacks, written for other programs: the file of `--events`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use windflow_core::{Clock as _, StackName, SystemClock, TargetName};
use windflow_workflow::deployments::{DeploymentEvent, DeploymentEventType, DeploymentEvents};

use crate::failure::Failure;
use crate::render::output::Output;

/// A file that gets one line of JSON for each event. Clones share it.
#[derive(Clone)]
pub struct StackEvents(Arc<(File, Output)>);

impl StackEvents {
    /// At the end of a file, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path, output: &Output) -> Result<Self, Failure> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|error| Failure::usage(format_args!("--events {}: {error}", path.display())))?;
        Ok(Self(Arc::new((file, output.clone()))))
    }

    /// What writes down the changes that runs make.
    #[must_use]
    pub fn of_runs(&self) -> DeploymentEvents {
        let file = self.clone();
        DeploymentEvents::to(move |event| file.write(&event))
    }

    /// One line, in one piece: several processes may have the same file.
    fn write(&self, event: &DeploymentEvent) {
        let (file, output) = &*self.0;
        // An event holds texts and JSON only: it can always be written as such.
        let mut line = serde_json::to_string(event).unwrap_or_default();
        line.push('\n');
        if let Err(error) = (&*file).write_all(line.as_bytes()) {
            let what = format!("an event for --events: {error}; the change itself was made");
            output.lose(&std::io::Error::new(error.kind(), what));
        }
    }
}

impl fmt::Debug for StackEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StackEvents").field(&self.0.0).finish()
    }
}

/// A change that a command makes without a run.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Where it is told, if anywhere.
    pub events: Option<&'a StackEvents>,
    /// The command.
    pub action: &'a str,
    /// What names this one change.
    pub key: &'a str,
    /// Where.
    pub target: &'a TargetName,
    /// Of what.
    pub stack: &'a StackName,
}

impl Change<'_> {
    /// Tells what has happened, and `more` about it.
    pub fn tell(&self, event_type: DeploymentEventType, more: Value) {
        let Some(events) = self.events else { return };
        let mut metadata = Map::new();
        metadata.insert("action".to_owned(), json!(self.action));
        metadata.insert("target".to_owned(), json!(self.target));
        if let Value::Object(more) = more {
            metadata.extend(more);
        }
        events.write(&DeploymentEvent::new(event_type, self.key, self.stack, SystemClock.now(), metadata));
    }
}
