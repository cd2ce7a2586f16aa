//! The command line of `windflow runs`.

use clap::{Args, Subcommand, value_parser};
use windflow_core::{NodeName, RunId, RunState, SignalName};

use super::args::DriveArgs;
use super::parse::{parse_json, parse_node, parse_node_input, parse_run, parse_signal, parse_state};

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
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Only unfinished runs
    #[arg(long)]
    pub unfinished: bool,
    /// Only the runs that this run has started
    #[arg(long, value_name = "RUN", value_parser = parse_run)]
    pub of: Option<RunId>,
    /// Also runs that others have started
    #[arg(long, conflicts_with = "of")]
    pub all: bool,
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
