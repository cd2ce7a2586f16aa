//! The command lines about stacks.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use windflow_core::{ServiceName, StackName, TargetName};

use super::config::ConfigFormat;
use super::parse::{parse_duration, parse_scale, parse_service, parse_stack, parse_target};

/// Which stack, and where.
#[derive(Clone, Debug, Args)]
pub struct StackArgs {
    /// A stack file, or the name of a stack that is there
    pub stack: String,
    #[command(flatten)]
    pub files: FilesArgs,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// What else a stack is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct FilesArgs {
    /// Merge this file onto the stack's; may be given several times
    #[arg(long, value_name = "FILE")]
    pub merge: Vec<PathBuf>,
    /// Take in the services of this profile; may be given several times
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Variables for ${…}, instead of those in .env; may be given several times
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow config compose.yaml
  windflow config compose.yaml compose.prod.yaml --profile debug --format json
  windflow config --hash

Without a file: those that COMPOSE_FILE names, or compose.yaml here with its override.")]
pub struct ConfigArgs {
    /// The stack's files, each merged onto the ones before
    pub files: Vec<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value = "yaml")]
    pub format: ConfigFormat,
    /// Print only the hash by which two stacks are the same
    #[arg(long)]
    pub hash: bool,
    /// What the stack is called, whatever its files say
    #[arg(long, short, value_name = "NAME")]
    pub project_name: Option<String>,
    #[command(flatten)]
    pub more: FilesArgs,
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
    #[command(flatten)]
    pub on: StackArgs,
    /// Write the plan to a file, for `apply --plan`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Plan to take the stack down
    #[arg(long)]
    pub destroy: bool,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

/// What is agreed to.
#[derive(Clone, Debug, Default, Args)]
pub struct ConsentArgs {
    /// Agree to destroying things of this sort
    #[arg(long, value_name = "WHAT", value_parser = ["volume"])]
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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stack", "merge", "profile", "env_file"])]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub files: FilesArgs,
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
    #[command(flatten)]
    pub on: StackArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow logs stack.yaml web -f --tail 20
  windflow logs demo --since 10m")]
pub struct LogsArgs {
    #[command(flatten)]
    pub on: StackArgs,
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
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow exec demo web -- printenv PORT")]
pub struct ExecArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// Which service
    #[arg(value_parser = parse_service)]
    pub service: ServiceName,
    /// Program and arguments, after --
    #[arg(required = true, last = true)]
    pub command: Vec<String>,
    /// Send standard input to it
    #[arg(long, short)]
    pub interactive: bool,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// To which revision; the one before when absent
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow status shop                    which revision is baking, which is kept
  windflow promote shop --yes
  windflow abort shop --yes")]
pub struct DecideArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct DestroyArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub consent: ConsentArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow scale demo web=3 --yes")]
pub struct ScaleArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// Which service, and how many instances
    #[arg(value_name = "SERVICE=N", value_parser = parse_scale)]
    pub to: (ServiceName, u32),
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct RestartArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// Which service; all of them when absent
    #[arg(value_parser = parse_service)]
    pub service: Option<ServiceName>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct DiscoverArgs {
    #[command(flatten)]
    pub target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windflow discover --target docker
  windflow adopt compose.yaml --target docker --yes

What runs must be what the file says: adopt first, change then. No container is restarted.")]
pub struct AdoptArgs {
    #[command(flatten)]
    pub on: StackArgs,
    /// What it is called there; the stack's own name when absent
    #[arg(long, value_name = "NAME", value_parser = parse_stack)]
    pub from: Option<StackName>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
