//! Commands run inside a container.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptionsBuilder;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use windflow_core::target::{Exec, ExecEvent, Session, TargetError, TargetErrorKind};

use super::Engine;

/// How often an engine is asked once more for the exit code of what has ended.
const PATIENCE: usize = 20;

/// Runs a command inside this container.
///
/// # Errors
/// What the engine says; a program that is not there is told by its exit code, as shells do (126, 127).
pub(crate) async fn exec(engine: &Engine, container: &str, command: Exec) -> Result<Session, TargetError> {
    let docker = engine.docker().await?.clone();
    let program = command.argv.first().cloned().unwrap_or_default();
    let what = format!("running {program}");
    let asked = ExecConfig {
        attach_stdin: Some(command.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(command.tty),
        env: Some(command.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: Some(command.argv),
        ..ExecConfig::default()
    };
    let id = engine.tell(&what, docker.create_exec(container, asked)).await?.id;
    let options = StartExecOptions { tty: command.tty, ..StartExecOptions::default() };
    let started = engine.tell(&what, docker.start_exec(&id, Some(options))).await?;
    let StartExecResults::Attached { output, mut input } = started else {
        let what = format!("{what}: the engine did not attach to it");
        return Err(TargetError::new(engine.target(), TargetErrorKind::Transient, what));
    };
    let stdin = command.stdin.then(|| {
        let (sender, mut bytes) = mpsc::channel::<Vec<u8>>(16);
        tokio::spawn(async move {
            while let Some(bytes) = bytes.recv().await {
                if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
                    return;
                }
            }
            // The command sees the end of its input.
            let _ = input.shutdown().await;
        });
        sender
    });
    let resize = command.tty.then(|| {
        let (sender, mut sizes) = mpsc::channel::<(u16, u16)>(4);
        let (docker, id) = (docker.clone(), id.clone());
        tokio::spawn(async move {
            while let Some((columns, rows)) = sizes.recv().await {
                let size = ResizeExecOptionsBuilder::default().w(columns.into()).h(rows.into()).build();
                let _ = docker.resize_exec(&id, size).await;
            }
        });
        sender
    });
    let events = stream::unfold(
        (output, engine.clone(), docker, id, false, VecDeque::<ExecEvent>::new()),
        move |(mut output, engine, docker, id, over, mut waiting)| {
            let what = what.clone();
            async move {
                if over {
                    return None;
                }
                if let Some(event) = waiting.pop_front() {
                    return Some((Ok(event), (output, engine, docker, id, false, waiting)));
                }
                match output.next().await {
                    Some(Ok(frame)) => {
                        let is_error = matches!(frame, LogOutput::StdErr { .. });
                        let bytes = frame.into_bytes().to_vec();
                        let event = if is_error { ExecEvent::Stderr(bytes) } else { ExecEvent::Stdout(bytes) };
                        Some((Ok(event), (output, engine, docker, id, false, waiting)))
                    }
                    Some(Err(error)) => {
                        let failed = engine.failed(&what, &error);
                        Some((Err(failed), (output, engine, docker, id, true, waiting)))
                    }
                    None => {
                        let event = ended(&engine, &what, &id).await.map(ExecEvent::Exit);
                        Some((event, (output, engine, docker, id, true, waiting)))
                    }
                }
            }
        },
    );
    Ok(Session { events: events.boxed(), stdin, resize })
}

/// The exit code. A command may say nothing more and go on, and an engine may notice its end a little later.
async fn ended(engine: &Engine, what: &str, id: &str) -> Result<i32, TargetError> {
    let docker = engine.docker().await?;
    let mut unknown = 0;
    loop {
        let found = engine.ask(what, docker.inspect_exec(id)).await?;
        match found.exit_code.and_then(|code| i32::try_from(code).ok()) {
            Some(code) if found.running != Some(true) => return Ok(code),
            _ if found.running == Some(true) => {}
            _ if unknown < PATIENCE => unknown += 1,
            _ => {
                let message = format!("{what}: it has ended, and the engine does not know with which exit code");
                return Err(TargetError::new(engine.target(), TargetErrorKind::Unknown, message));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
