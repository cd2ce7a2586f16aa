//! Runs left to a process of their own.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windflow_core::{Request, RunId, Store as _};

use super::args::RunArgs;
use crate::drive::Tail;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::{columns, indent};
use crate::wire::Project;

/// How long the other process may take until its run is durable.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to leave our session.
const LEAVE: Duration = Duration::from_secs(5);

/// Called by the process that is left behind: no key pressed in the terminal it came from reaches it any more.
pub fn leave_session() {
    // Fails only for the leader of a process group, which is out of reach already.
    let _ = rustix::process::setsid();
}

/// Starts a run in a process of its own, and returns when the run is durable.
pub async fn run(project: &Project, args: &RunArgs, id: &RunId, input: &Value) -> Result<Exit, Failure> {
    let mut command = ours(project);
    command
        .arg("run")
        .args(args.drive.allow_shell.then_some("--allow-shell"))
        .arg("--background")
        .arg("--run-id")
        .arg(id.as_str());
    if !input.is_null() {
        command.args(["--inputs", "-"]);
    }
    command.arg("--").arg(&args.file);
    let (mut child, log) = start(project, command, id)?;
    if let Some(mut stdin) = child.stdin.take()
        && !input.is_null()
    {
        // Inputs travel by a pipe: a command line is there for everybody on the machine to read.
        let sent = stdin.write_all(input.to_string().as_bytes());
        sent.map_err(|error| Failure::failed(format_args!("the background process: {error}")))?;
    }
    let began = Instant::now();
    loop {
        if let Some(store) = project.existing_store().await?
            && store.summary(id).await?.is_some()
        {
            break;
        }
        let ended = child.try_wait().ok().flatten();
        if let Some(status) = ended {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let said = said.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            return Err(Failure::failed(format_args!("the background process ended at once ({status}):\n{said}")));
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::failed("the background process has not started the run yet")
                .hint(format!("see {}", log.display())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(tell(project, id, &log, "started", args.drive.allow_shell))
}

/// Whether a process of its own could drive a run that is there, once that is asked of it: told here, because nobody
/// reads its log at once.
pub async fn check(project: &Project, id: &RunId, request: Option<&Request>, allow_shell: bool) -> Result<(), Failure> {
    let run = Tail::read(Arc::new(project.store_with_runs().await?), id).await?;
    project.can_go_on(&run, request, allow_shell)
}

/// Has a run that is there driven by a process of its own.
pub fn resume(project: &Project, id: &RunId, allow_shell: bool) -> Result<Exit, Failure> {
    let mut command = ours(project);
    command.arg("resume").args(allow_shell.then_some("--allow-shell"));
    command.args(["--background", "--", id.as_str()]);
    let (_child, log) = start(project, command, id)?;
    Ok(tell(project, id, &log, "is driven", allow_shell))
}

fn tell(project: &Project, id: &RunId, log: &std::path::Path, what: &str, allow_shell: bool) -> Exit {
    let output = &project.output;
    output.document(&json!({ "version": 1, "kind": "detached", "run": id, "log": log }));
    output.text(format!("run {id} {what} in the background; it writes to {}", log.display()));
    let shell = if allow_shell { " --allow-shell" } else { "" };
    let next = [
        vec![format!("windflow resume {id}{shell}"), "# watch it".to_owned()],
        vec![format!("windflow runs cancel {id}"), "# stop it".to_owned()],
    ];
    output.text(format!("next:\n{}", indent(&columns(&next), 2)));
    Exit::Success
}

/// This command again, with what it was told for every command.
fn ours(project: &Project) -> Command {
    let mut command = Command::new(&project.process.program);
    // Whoever says --detach means it, also in a step or a service.
    windflow_workflow::actions::leave_step(&mut command);
    windflow_targets::host::leave_service(&mut command);
    command.current_dir(&project.process.working_dir).arg("--state").arg(&project.state);
    if let Some(config) = &project.global.config {
        command.arg("--config").arg(config);
    }
    if let Some(events) = &project.global.events {
        command.arg("--events").arg(events);
    }
    command
}

fn start(project: &Project, mut command: Command, id: &RunId) -> Result<(Child, PathBuf), Failure> {
    let folder = project.state_dir().join("logs");
    let log = folder.join(format!("{}.log", id.as_str().replace(':', "_")));
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Unavailable, format_args!("{}: {error}", log.display()))
            .hint("the folder of the state must be writable")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(failed)?;
    let errors = file.try_clone().map_err(failed)?;
    let child = command.stdin(Stdio::piped()).stdout(file).stderr(errors).spawn();
    let child = child.map_err(|error| Failure::failed(format_args!("the background process: {error}")))?;
    until_on_its_own(&child);
    Ok((child, log))
}

/// Waits until the process has left our session, or has ended: whoever ends us and our group must not meet it there.
fn until_on_its_own(child: &Child) {
    let began = Instant::now();
    // Fields 3 and 6, behind the name of the program, which may hold spaces and parentheses.
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok();
    let leads = |stat: &str| {
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        fields.first() == Some(&"Z") || fields.get(3).and_then(|session| session.parse().ok()) == Some(child.id())
    };
    while stat().is_some_and(|stat| !leads(&stat)) && began.elapsed() < LEAVE {
        std::thread::sleep(Duration::from_millis(2));
    }
}
