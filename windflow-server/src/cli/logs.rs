//! `windflow logs` and `windflow exec`.

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use windflow_core::target::{Exec, ExecEvent, LogLine, LogOptions, ServiceRef};

use super::args_stack::{ConsentArgs, ExecArgs, LogsArgs};
use super::place::Place;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::text::clean;
use crate::wire::Project;

/// Prints what services wrote. Ctrl-C ends it in good order.
pub async fn logs(project: &Project, args: &LogsArgs) -> Result<Exit, Failure> {
    let place = Place::find(project, &args.on, &ConsentArgs::default()).await?;
    let Place { named, target, call, mut interrupt } = place;
    let of = ServiceRef { stack: named.name().clone(), service: args.service.clone(), instance: None };
    let options = LogOptions { follow: args.follow, tail: args.tail, since: args.since };
    let mut lines = target.logs(&call.cx, &of, options);
    while !project.output.is_broken() {
        let next = tokio::select! {
            next = lines.next() => next,
            _ = interrupt.wish() => break,
        };
        match next {
            Some(line) => print(project, &line.map_err(Failure::before)?),
            None => break,
        }
    }
    Ok(Exit::Success)
}

fn print(project: &Project, line: &LogLine) {
    project.output.line(&json!({
        "version": 1, "kind": "log", "at": line.at.map(|at| at.to_string()), "service": line.service,
        "instance": line.instance, "stream": line.stream, "text": line.text,
    }));
    project.output.text(format!("{}.{} | {}", line.service, line.instance, clean(&line.text)));
}

/// Runs a command inside a service and passes on what it says and its exit code.
pub async fn exec(project: &Project, args: ExecArgs) -> Result<Exit, Failure> {
    let place = Place::find(project, &args.on, &ConsentArgs::default()).await?;
    let Place { named, target, call, mut interrupt } = place;
    let of = ServiceRef::service(named.name().clone(), args.service);
    let mut command = Exec::new(args.command);
    command.stdin = args.interactive;
    let begun = async { target.exec(&call.cx, &of, command).await.map_err(Failure::before) };
    let mut session = call.run(project, &mut interrupt, begun).await?;
    if let Some(input) = session.stdin.take() {
        tokio::spawn(async move {
            let (mut stdin, mut buffer) = (tokio::io::stdin(), vec![0; 8192]);
            while let Ok(read @ 1..) = stdin.read(&mut buffer).await {
                if input.send(buffer[..read].to_vec()).await.is_err() {
                    break;
                }
            }
        });
    }
    // Who reads nothing more has no use for the rest: the command goes with the session.
    while !project.output.is_broken() {
        let event = tokio::select! {
            event = session.events.next() => event,
            _ = interrupt.wish() => return Ok(Exit::Cancelled),
        };
        match event {
            Some(Ok(ExecEvent::Stdout(bytes))) => project.output.pass(&bytes, false),
            Some(Ok(ExecEvent::Stderr(bytes))) => project.output.pass(&bytes, true),
            Some(Ok(ExecEvent::Exit(0))) => return Ok(Exit::Success),
            Some(Ok(ExecEvent::Exit(code))) => return Ok(Exit::Remote(u8::try_from(code & 0xff).unwrap_or(1))),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Failure::failed("the command's end was not told")),
        }
    }
    Ok(Exit::Success)
}
