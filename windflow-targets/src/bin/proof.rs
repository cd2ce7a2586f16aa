//! The program the tests of the host kind run: a supervisor, an embedder that deploys and ends, and services.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use windflow_core::target::{Context, Stack, TargetExt as _};
use windflow_targets::host::{HostConfig, HostTarget, SupervisorCommand, supervise_if_child};

fn main() -> ExitCode {
    if let Some(code) = supervise_if_child(std::env::args_os()) {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["http", port] => serve(port, 200),
        ["sick", port] => serve(port, 503),
        ["deploy", root, stack] => deploy(root, stack),
        _ => Err("usage: http PORT | sick PORT | deploy ROOT STACK".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

/// Answers every request with its version.
fn serve(port: &str, status: u16) -> Done {
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    let version = std::env::var("VERSION").unwrap_or_default();
    std::io::stdout().write_all(format!("listening, version {version}\n").as_bytes())?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let _ = stream.read(&mut [0; 4096]);
        let length = version.len();
        let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{version}");
    }
    Ok(())
}

/// What an embedder does: deploys a stack, and ends.
fn deploy(root: &str, stack: &str) -> Done {
    let stack: Stack = serde_json::from_str(stack)?;
    let supervisor = SupervisorCommand::new(std::env::current_exe()?);
    let config =
        HostConfig::new("local".parse()?, "ours".parse()?, root, supervisor, vec!["/usr/bin".into(), "/bin".into()]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(HostTarget::new(config).deploy(&Context::new("embedder"), stack))?;
    Ok(())
}
