//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use windflow_core::RunId;

use super::args_runs::RunsCommand;
use super::args_stack::{
    AdoptArgs, ApplyArgs, ConfigArgs, DecideArgs, DestroyArgs, DiscoverArgs, ExecArgs, LogsArgs, PlanArgs, RestartArgs,
    RollbackArgs, ScaleArgs, StatusArgs,
};
use super::parse::{parse_pair, parse_run};
use crate::exit::TABLE;

/// Durable workflows and deployments from a terminal.
#[derive(Debug, Parser)]
#[command(name = "windflow", version, after_help = EXAMPLES, after_long_help = long_help(), max_term_width = 110)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  windflow init                           write a small working example here
  windflow run workflow.yaml              run it and watch
  windflow resume                         go on with the run that was left
  windflow runs list                      what ran, runs and waits here
  windflow plan stack.yaml                what would change; apply makes it so

`windflow help COMMAND` tells more; `windflow --help` also lists the exit codes.";

fn long_help() -> String {
    format!(
        "{EXAMPLES}\n\n{TABLE}\n\nState is kept in .windflow/state.db under the working directory (--state, then \
         WINDFLOW_STATE).\nOwner and targets are read from windflow.yaml there (--config)."
    )
}

/// What every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// The state file [default: WINDFLOW_STATE, or .windflow/state.db]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub state: Option<PathBuf>,
    /// The file with owner and targets [default: windflow.yaml, if there is one]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Write JSON: one document, or one line for each event of a stream
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Append what happens to stacks to this file, one line of JSON for each event
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub events: Option<PathBuf>,
    /// How much to log to standard error
    #[arg(long, global = true, value_name = "LEVEL", default_value = "error", help_heading = "Global options")]
    pub log: LogLevel,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What went wrong
    #[default]
    Error,
    /// And what may become a problem
    Warn,
    /// And what is usual
    Info,
    /// And every event
    Debug,
    /// Everything
    Trace,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workflow and watch it to its end
    Run(RunArgs),
    /// Go on with a run that was left, or follow one that is being driven
    Resume(ResumeArgs),
    /// Drive every due run of this state until stopped
    Worker(WorkerArgs),
    /// Look at runs, and ask things of them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Check workflow and stack files, and report every problem at once
    Validate(ValidateArgs),
    /// Print the stack that files come to: merged, with variables replaced, in long form
    Config(ConfigArgs),
    /// Draw a workflow
    Graph(GraphArgs),
    /// Show what applying a stack would change; changes nothing
    Plan(PlanArgs),
    /// Make a stack so
    Apply(ApplyArgs),
    /// Show what is there of a stack, its health, and what has drifted
    Status(StatusArgs),
    /// Show what services wrote
    Logs(LogsArgs),
    /// Run a command inside a service; its exit code is passed on
    Exec(ExecArgs),
    /// Make an earlier revision current again
    Rollback(RollbackArgs),
    /// Make a revision that is baking current, and take away the one that is kept beside it
    Promote(DecideArgs),
    /// Take back a revision that is baking: the one that is kept gets the traffic again
    Abort(DecideArgs),
    /// Take a stack down
    Destroy(DestroyArgs),
    /// Change how many instances of a service run
    Scale(ScaleArgs),
    /// Start services anew
    Restart(RestartArgs),
    /// List what runs on a target and is not ours
    Discover(DiscoverArgs),
    /// Make what runs a stack of ours, without restarting anything
    Adopt(AdoptArgs),
    /// List the targets, and whether they can be reached
    Targets,
    /// Print a JSON Schema for editors
    Schema(SchemaArgs),
    /// Write a small working example into this folder; never overwrites
    Init,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// A small HTTP server that the example of `init` deploys
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
}

/// What every command that drives runs takes.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DriveArgs {
    /// Allow the `shell` action, which runs any command on this machine
    #[arg(long)]
    pub allow_shell: bool,
    /// Set by a command that leaves this one behind.
    #[arg(long, hide = true)]
    pub background: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow run workflow.yaml --input version=1.4 --input 'replicas=3'
  windflow run workflow.yaml --inputs inputs.json --run-id release-1.4
  windflow run workflow.yaml --detach     a process of its own drives it

An input is read as JSON when it is JSON, and as text otherwise. Ctrl-C cancels the run and undoes what it did; a
run that only waits is left waiting; a second Ctrl-C leaves it, to be gone on with by `windflow resume`.")]
pub struct RunArgs {
    /// The workflow
    pub file: PathBuf,
    /// An input
    #[arg(long = "input", short, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub input: Vec<(String, String)>,
    /// A JSON or YAML file of inputs; - is standard input
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    /// The run's id: starting the same run twice under one id is one run
    #[arg(long, value_name = "ID", value_parser = parse_run)]
    pub run_id: Option<RunId>,
    /// Return at once; a background process drives the run
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow resume                  the one unfinished run of this state
  windflow resume release-1.4      that run; a paused one goes on
  windflow resume --all            every unfinished run side by side, until none can go on by itself

Ctrl-C cancels the run, as in `windflow run`; with --all it leaves them all.")]
pub struct ResumeArgs {
    /// Which run; the only unfinished one when absent
    #[arg(value_parser = parse_run, conflicts_with = "all")]
    pub id: Option<RunId>,
    /// Every unfinished run
    #[arg(long)]
    pub all: bool,
    /// Return at once; a background process drives the run
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow worker                  until Ctrl-C; runs go on where they were left
  windflow worker --until-idle     until nothing is due any more

A run that needs more than this worker may do, or that a newer version has written, is left alone and named;
with --until-idle the exit code is 75 then.")]
pub struct WorkerArgs {
    /// Stop when no run can go on by itself
    #[arg(long)]
    pub until_idle: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Workflow and stack files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow graph workflow.yaml
  windflow graph workflow.yaml --format svg > workflow.svg")]
pub struct GraphArgs {
    /// The workflow
    pub file: PathBuf,
    /// How it is drawn
    #[arg(long, value_enum, default_value = "text")]
    pub format: GraphFormat,
}

/// How a workflow is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Layer by layer, for a terminal
    Text,
    /// For Markdown
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
}

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// What a schema can be printed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Workflow files
    Workflow,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct DemoServerArgs {
    /// The port it listens on, on the loopback address
    #[arg(long)]
    pub port: u16,
    /// What it answers
    #[arg(long, default_value = "hello from windflow")]
    pub message: String,
    /// The port of another such server, whose answer is added
    #[arg(long)]
    pub upstream: Option<u16>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
