//! What the command knows of the process it runs in. The only place that looks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use windflow_core::Principal;
use windflow_core::store::WorkerId;

use crate::handed_over::HandedOver;

/// The process as the command finds it.
#[derive(Clone, Debug)]
pub struct Process {
    /// The command line, with the program's name.
    pub args: Vec<OsString>,
    /// The environment, as far as it is text.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub working_dir: PathBuf,
    /// The running program.
    pub program: PathBuf,
    /// Whether standard input is a terminal.
    pub asks: bool,
    /// Whether standard output is a terminal.
    pub shows: bool,
    /// Whether standard error is a terminal that can be redrawn.
    pub redraws: bool,
    /// The files it may read.
    pub files: HandedOver,
}

impl Process {
    /// The process as it is.
    ///
    /// # Errors
    /// When it has no working directory any more, or does not know its own program.
    pub fn current() -> std::io::Result<Self> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let variables: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
        let dumb = variables.get("TERM").is_none_or(|term| term == "dumb");
        Ok(Self {
            args: std::env::args_os().collect(),
            working_dir: std::env::current_dir()?,
            program: std::env::current_exe()?,
            asks: std::io::stdin().is_terminal(),
            shows: std::io::stdout().is_terminal(),
            redraws: std::io::stderr().is_terminal() && !dumb,
            files: HandedOver::default(),
            variables,
        })
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether colours are wanted.
    #[must_use]
    pub fn colours(&self) -> bool {
        self.variable("NO_COLOR").is_none()
    }

    /// A name for a worker of this process, new at every call: whoever waits for it is told which process to look for.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        let uname = rustix::system::uname();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let host: String = uname.nodename().to_string_lossy().chars().map(plain).take(40).collect();
        WorkerId(format!("{host}-{}-{}", std::process::id(), WorkerId::generate()).into())
    }

    /// Who types. Nobody vouches for it.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let user = ["USER", "LOGNAME"].into_iter().find_map(|name| self.variable(name)).map(str::to_owned);
        let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
        Principal::unverified(format!("cli:{user}"))
    }
}
