//! `windflow completions`.

use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::render::output::Output;

/// Prints the script.
pub fn completions(args: &CompletionsArgs, output: &Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "windflow", &mut script);
    output.verbatim(&String::from_utf8_lossy(&script));
    Exit::Success
}
