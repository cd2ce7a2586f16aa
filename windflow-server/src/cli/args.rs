//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use windflow_core::{NodeName, RunId, RunState, ServiceName, SignalName, TargetName};

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
    /// Check workflow files, and report every problem at once
    Validate(ValidateArgs),
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
    /// Take a stack down
    Destroy(DestroyArgs),
    /// Change how many instances of a service run
    Scale(ScaleArgs),
    /// Start services anew
    Restart(RestartArgs),
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
  windflow resume --all            every unfinished run, to its end")]
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
  windflow worker --until-idle     until nothing is due any more")]
pub struct WorkerArgs {
    /// Stop when no run can go on by itself
    #[arg(long)]
    pub until_idle: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

/// What is asked of runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first
    List(ListArgs),
    /// Show one run: its steps, what it waits for, what it left behind
    Show(IdArgs),
    /// Show the journal of a run
    Events(EventsArgs),
    /// Stop a run and undo what it did, whoever drives it
    Cancel(ReasonArgs),
    /// Stop a run at once; nothing is undone
    Terminate(ReasonArgs),
    /// Start nothing new in a run until it is resumed
    Pause(ReasonArgs),
    /// Try failed steps, or failed compensations, again
    Retry(RetryArgs),
    /// Undo a run that failed without being undone
    Compensate(AgainArgs),
    /// Send a signal to a run
    Signal(SignalArgs),
    /// Answer an approval
    Approve(ApproveArgs),
    /// Decide about a step that nobody can tell of
    Resolve(ResolveArgs),
    /// End a stuck run as failed, with what it leaves behind listed
    GiveUp(ReasonArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only runs in this state (pending, running, waiting, paused, …)
    #[arg(long = "in-state", value_name = "STATE", value_parser = parse_state)]
    pub states: Vec<RunState>,
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u32,
    /// Only unfinished runs
    #[arg(long)]
    pub unfinished: bool,
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// Go on with new events until the run is over
    #[arg(long, short)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct ReasonArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// Why; goes into the journal
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow runs retry release-1.4
  windflow runs retry release-1.4 --input 'upload={\"url\":\"http://localhost:9000\"}'")]
pub struct RetryArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// A corrected input for a failed node
    #[arg(long = "input", value_name = "NODE=JSON", value_parser = parse_node_input)]
    pub input: Vec<(NodeName, serde_json::Value)>,
    /// Return at once; a background process drives the run
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
pub struct AgainArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// Return at once; a background process drives the run
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
pub struct SignalArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// Which signal
    #[arg(value_parser = parse_signal)]
    pub name: SignalName,
    /// What it carries, as JSON or plain text
    #[arg(default_value = "null")]
    pub payload: String,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// Which node; the only one that waits for approval when absent
    #[arg(value_parser = parse_node)]
    pub node: Option<NodeName>,
    /// Say no
    #[arg(long)]
    pub reject: bool,
    /// Why; goes into the journal
    #[arg(long)]
    pub comment: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("decision").required(true))]
pub struct ResolveArgs {
    /// Which run
    #[arg(value_parser = parse_run)]
    pub id: RunId,
    /// Which node
    #[arg(value_parser = parse_node)]
    pub node: NodeName,
    /// It has happened, with this output
    #[arg(long, value_name = "JSON", group = "decision", value_parser = parse_json)]
    pub happened: Option<serde_json::Value>,
    /// It has not happened: it is tried again
    #[arg(long, group = "decision")]
    pub did_not: bool,
    /// It counts as failed
    #[arg(long, group = "decision")]
    pub fail: bool,
    /// It was undone by hand
    #[arg(long, group = "decision")]
    pub undone: bool,
    /// Why; goes into the journal
    #[arg(long)]
    pub reason: String,
    /// Return at once; a background process drives the run
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub drive: DriveArgs,
}

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Workflow files
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

/// Which target.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// Which target; may be left out when there is only one
    #[arg(long, short, value_name = "NAME", value_parser = parse_target)]
    pub target: Option<TargetName>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow plan stack.yaml
  windflow plan stack.yaml --out plan.json && windflow apply --plan plan.json

Exits with 0 when there is nothing to change, and with 2 when there is.")]
pub struct PlanArgs {
    /// A stack file, or the name of a stack that is deployed
    pub stack: String,
    /// Write the plan to a file, for `apply --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Plan to take the stack down
    #[arg(long)]
    pub destroy: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

/// What is agreed to.
#[derive(Clone, Debug, Default, Args)]
pub struct ConsentArgs {
    /// Agree to destroying things of this sort, such as volume
    #[arg(long, value_name = "WHAT")]
    pub allow_destroy: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow apply stack.yaml               shows the plan and asks
  windflow apply stack.yaml --yes         for scripts
  windflow apply --plan plan.json --yes   exactly what was planned, or nothing")]
pub struct ApplyArgs {
    /// A stack file, or the name of a stack that is deployed
    #[arg(required_unless_present = "plan")]
    pub stack: Option<String>,
    /// A plan written by `plan --out`
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    pub plan: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow logs stack.yaml web -f --tail 20
  windflow logs demo --since 10m")]
pub struct LogsArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    /// Which service; all of them when absent
    #[arg(value_parser = parse_service)]
    pub service: Option<ServiceName>,
    /// Go on with new lines
    #[arg(long, short)]
    pub follow: bool,
    /// At most the last N lines of each service
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,
    /// Only lines written within this time, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub since: Option<Duration>,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow exec demo web -- printenv PORT")]
pub struct ExecArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    /// Which service
    #[arg(value_parser = parse_service)]
    pub service: ServiceName,
    /// Program and arguments, after --
    #[arg(required = true, last = true)]
    pub command: Vec<String>,
    /// Send standard input to it
    #[arg(long, short)]
    pub interactive: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    /// To which revision; the one before when absent
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow scale demo web=3 --yes")]
pub struct ScaleArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    /// Which service, and how many instances
    #[arg(value_name = "SERVICE=N", value_parser = parse_scale)]
    pub to: (ServiceName, u32),
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[derive(Debug, Args)]
pub struct RestartArgs {
    /// A stack file, or the name of a stack
    pub stack: String,
    /// Which service; all of them when absent
    #[arg(value_parser = parse_service)]
    pub service: Option<ServiceName>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub target: TargetArgs,
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
    #[arg(long, default_value = "hello from windflow\n")]
    pub message: String,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}

fn parse_json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

fn parse_node_input(text: &str) -> Result<(NodeName, serde_json::Value), String> {
    let (node, json) = text.split_once('=').ok_or("must be NODE=JSON")?;
    Ok((parse_node(node)?, parse_json(json)?))
}

fn parse_scale(text: &str) -> Result<(ServiceName, u32), String> {
    let (service, number) = text.split_once('=').ok_or("must be SERVICE=N")?;
    Ok((parse_service(service)?, number.parse().map_err(|_| format!("'{number}' is not a number of instances"))?))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    windflow_workflow::document::parse_duration(text).map_err(|error| error.to_string())
}

macro_rules! named {
    ($($function:ident: $name:ident),*) => {$(
        fn $function(text: &str) -> Result<$name, String> {
            $name::new(text).map_err(|error| error.to_string())
        }
    )*};
}

named! { parse_run: RunId, parse_node: NodeName, parse_service: ServiceName, parse_signal: SignalName, parse_target: TargetName }

fn parse_state(text: &str) -> Result<RunState, String> {
    text.parse().map_err(|error: windflow_core::InvalidName| error.to_string())
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
