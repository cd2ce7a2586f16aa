//! The commands, one file each.

mod args;
mod background;
mod completions;
mod dispatch;
mod events;
mod graph;
mod list;
mod request;
mod resume;
mod run;
mod show;
mod validate;
mod worker;

pub use args::{Cli, Global, LogLevel};
pub use dispatch::run;
