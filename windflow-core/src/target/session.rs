//! Logs, and commands run inside a service.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::id::{ServiceName, StackName};
use crate::target::TargetError;
use crate::time::Timestamp;

/// One service, or all of a stack, or one instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceRef {
    /// The stack.
    pub stack: StackName,
    /// The service; all of them when absent.
    pub service: Option<ServiceName>,
    /// Which instance, counted from 0; any or all when absent.
    pub instance: Option<u32>,
}

impl ServiceRef {
    /// All services of a stack.
    #[must_use]
    pub fn stack(stack: StackName) -> Self {
        Self { stack, service: None, instance: None }
    }

    /// One service of a stack.
    #[must_use]
    pub fn service(stack: StackName, service: ServiceName) -> Self {
        Self { stack, service: Some(service), instance: None }
    }
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to go on with new lines; ends when the stack goes.
    pub follow: bool,
    /// At most this many of the last lines of each service; all that are kept when absent.
    pub tail: Option<usize>,
    /// Only lines written within this time.
    pub since: Option<Duration>,
}

/// Which of its outputs a service wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line a service wrote, without its newline; cut at 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was captured, if the target keeps that.
    pub at: Option<Timestamp>,
    /// Which service.
    pub service: ServiceName,
    /// Which instance.
    pub instance: u32,
    /// Which output.
    pub stream: LogStream,
    /// The line.
    pub text: String,
}

/// A command to run inside a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the service's environment.
    pub environment: BTreeMap<String, String>,
    /// Whether standard input will be sent.
    pub stdin: bool,
    /// Whether a terminal is wanted.
    pub tty: bool,
}

impl Exec {
    /// This command, without input or terminal.
    #[must_use]
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// What a running command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEvent {
    /// Bytes it wrote to standard output.
    Stdout(Vec<u8>),
    /// Bytes it wrote to standard error.
    Stderr(Vec<u8>),
    /// It ended with this code (128 + signal when a signal ended it); the last event.
    Exit(i32),
}

/// A command running inside a service. Dropping it ends the command.
pub struct Session {
    /// What the command says.
    pub events: BoxStream<'static, Result<ExecEvent, TargetError>>,
    /// Bytes for its standard input, if it was asked for; dropping it closes the input.
    pub stdin: Option<mpsc::Sender<Vec<u8>>>,
    /// Columns and rows of the terminal, if there is one.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
