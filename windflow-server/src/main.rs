//! The `windflow` command.

use std::process::ExitCode;

use windflow_server::{Exit, Process};

/// An append is allocated by a task and freed by the thread that writes, which costs the allocator of most systems more
/// than this one. A program that embeds the engine chooses its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Process::current() {
        Ok(process) => windflow_server::run(process).into(),
        // Without a working directory there is nothing to work in, and nothing to print with but this code.
        Err(_) => Exit::Unavailable.into(),
    }
}
