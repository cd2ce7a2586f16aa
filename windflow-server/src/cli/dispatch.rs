//! From the command line to the command.

use clap::Parser as _;
use clap::error::ErrorKind;

use super::args::{Cli, Command, Global};
use super::args_runs::RunsCommand;
use super::{
    adopt, apply, change, completions, config, demo_server, events, graph, init, list, logs, plan, promote, request,
    resume, run as start, schema, show, status, validate, worker,
};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::opened::Opened;
use crate::process::Process;
use crate::render::log;
use crate::render::output::Output;
use crate::wire::Project;

/// Does what the command line says.
#[must_use]
pub fn run(process: Process) -> Exit {
    // A supervisor brings its own runtime and is no command of anybody's.
    if let Some(code) = windflow_targets::host::supervise_if_child(process.args.iter().cloned()) {
        return Exit::Remote(u8::from(code != std::process::ExitCode::SUCCESS));
    }
    let cli = match Cli::try_parse_from(&process.args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&process, &error),
    };
    let output = Output::new(&process, cli.global.json);
    log::install(cli.global.log, &output);
    std::panic::set_hook(Box::new({
        let output = output.clone();
        move |panic| {
            let hint = "please report it, with what you typed and the lines above";
            output.failure(&Failure::failed(format_args!("this is a bug in windflow: {panic}")).hint(hint));
        }
    }));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.failure(&Failure::failed(format_args!("cannot start: {error}")));
            return Exit::Failed;
        }
    };
    // A task of its own, so that a panic ends the command and not the process in the middle of a line.
    let done = runtime.block_on(async {
        let opened = Opened::default();
        let command = tokio::spawn(dispatch(process, cli.global, cli.command, output.clone(), opened.clone()));
        let done = command.await.unwrap_or(Ok(Exit::Failed));
        opened.closed().await;
        done
    });
    // Whatever still runs in the background is left as if the process had died.
    runtime.shutdown_background();
    match done {
        // Whoever has stopped reading is not told anything more.
        Ok(exit) => match output.lost() {
            Some(why) if matches!(exit, Exit::Success | Exit::Changes) => {
                output.failure(&Failure::failed(format_args!("what was asked for cannot be written: {why}")));
                Exit::Failed
            }
            _ => exit,
        },
        Err(failure) => {
            output.failure(&failure);
            failure.exit
        }
    }
}

/// What clap refuses, or prints and calls an error.
fn refuse(process: &Process, error: &clap::Error) -> Exit {
    let json = process.args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let output = Output::new(process, json);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output.verbatim(&error.to_string());
            Exit::Success
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output.pass(error.to_string().as_bytes(), true);
            Exit::Usage
        }
        _ if json => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text).trim();
            output.failure(&Failure::usage(text));
            Exit::Usage
        }
        _ => {
            output.pass(error.to_string().as_bytes(), true);
            Exit::Usage
        }
    }
}

async fn dispatch(
    process: Process,
    global: Global,
    command: Command,
    output: Output,
    opened: Opened,
) -> Result<Exit, Failure> {
    // These need no project, and work in a folder with a broken one.
    match command {
        Command::Completions(args) => return Ok(completions::completions(&args, &output)),
        Command::Schema(args) => return Ok(schema::schema(&args, &output)),
        Command::DemoServer(args) => return demo_server::demo_server(&args, &output).await,
        _ => {}
    }
    let project = Project::open(process, &global, output, opened)?;
    match command {
        Command::Run(args) => start::run(&project, args).await,
        Command::Resume(args) => resume::resume(&project, args).await,
        Command::Worker(args) => worker::worker(&project, &args).await,
        Command::Runs(command) => runs(&project, command).await,
        Command::Validate(args) => validate::validate(&project, &args),
        Command::Config(args) => config::config(&project, &args),
        Command::Graph(args) => graph::graph(&project, &args),
        Command::Plan(args) => plan::plan(&project, &args).await,
        Command::Apply(args) => apply::apply(&project, &args).await,
        Command::Status(args) => status::status(&project, &args).await,
        Command::Logs(args) => logs::logs(&project, &args).await,
        Command::Exec(args) => logs::exec(&project, args).await,
        Command::Rollback(args) => change::rollback(&project, &args).await,
        Command::Promote(args) => promote::promote(&project, &args).await,
        Command::Abort(args) => promote::abort(&project, &args).await,
        Command::Destroy(args) => change::destroy(&project, &args).await,
        Command::Scale(args) => change::scale(&project, &args).await,
        Command::Restart(args) => change::restart(&project, &args).await,
        Command::Discover(args) => adopt::discover(&project, &args).await,
        Command::Adopt(args) => adopt::adopt(&project, &args).await,
        Command::Targets => status::targets(&project).await,
        Command::Init => init::init(&project).await,
        Command::Completions(_) | Command::Schema(_) | Command::DemoServer(_) => Ok(Exit::Success),
    }
}

async fn runs(project: &Project, command: RunsCommand) -> Result<Exit, Failure> {
    match command {
        RunsCommand::List(args) => list::list(project, args).await,
        RunsCommand::Show(args) => show::show(project, &args).await,
        RunsCommand::Events(args) => events::events(project, &args).await,
        RunsCommand::Cancel(args) => request::cancel(project, args).await,
        RunsCommand::Terminate(args) => request::terminate(project, args).await,
        RunsCommand::Pause(args) => request::pause(project, args).await,
        RunsCommand::GiveUp(args) => request::give_up(project, args).await,
        RunsCommand::Retry(args) => request::retry(project, args).await,
        RunsCommand::Compensate(args) => request::compensate(project, args).await,
        RunsCommand::Signal(args) => request::signal(project, args).await,
        RunsCommand::Approve(args) => request::approve(project, args).await,
        RunsCommand::Resolve(args) => request::resolve(project, args).await,
    }
}
