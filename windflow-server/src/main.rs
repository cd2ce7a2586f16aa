//! The `windflow` command.

use std::process::ExitCode;

use windflow_server::{Exit, Process};

fn main() -> ExitCode {
    match Process::current() {
        Ok(process) => windflow_server::run(process).into(),
        // Without a working directory there is nothing to work in, and nothing to print with but this code.
        Err(_) => Exit::Unavailable.into(),
    }
}
