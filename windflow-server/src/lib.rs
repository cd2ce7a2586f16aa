//! The `windflow` command, as a library: `main.rs` only calls [`run`]. Its exit codes, options and JSON documents are
//! stable; as a library it is not, and is there for the command.
//!
//! The only crate that looks at the process environment, prints, and installs signal handlers; everything below it is
//! handed what it may see.

pub mod cli;
pub mod config;
mod drive;
pub mod engines;
pub mod exit;
pub mod failure;
mod graph;
mod handed_over;
mod interrupt;
pub mod layers;
mod opened;
mod placements;
mod process;
mod render;
mod stack_events;
mod wire;

pub use cli::run;
pub use exit::Exit;
pub use failure::Failure;
pub use process::Process;
