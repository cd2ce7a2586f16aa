//! The commands, one file each.

mod adopt;
mod apply;
mod args;
mod args_runs;
mod args_stack;
mod background;
mod change;
mod completions;
mod config;
mod demo_server;
mod dispatch;
mod events;
mod graph;
mod init;
mod list;
mod logs;
mod parse;
mod place;
mod plan;
// A link into `examples/`, where the server lives.
mod promote;
mod quickstart_server;
mod request;
mod resume;
mod resume_all;
mod run;
mod schema;
mod show;
mod status;
mod validate;
mod worker;

pub use args::{Cli, Global, LogLevel};
pub use dispatch::run;
