//! One try of a health check.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use windflow_core::target::Probe;

/// Tries it; the reason when it does not pass. `command` makes the command a program is run with: the environment and
/// the folder of the service.
pub(super) async fn try_once(
    probe: &Probe,
    within: Duration,
    command: impl Fn(&str) -> std::process::Command,
) -> Result<(), String> {
    let tried = async {
        match probe {
            Probe::None => Ok(()),
            Probe::Http { port, path } => http(*port, path).await,
            Probe::Tcp { port } => connect(*port).await.map(|_| ()),
            Probe::Exec(argv) => {
                let [program, arguments @ ..] = &argv[..] else {
                    return Err("the health check names no program".to_owned());
                };
                let mut command = command(program);
                command.args(arguments);
                run(command).await
            }
            Probe::Shell(text) => {
                let mut command = command("/bin/sh");
                command.arg("-c").arg(text);
                run(command).await
            }
        }
    };
    match timeout(within, tried).await {
        Ok(done) => done,
        Err(_) => Err(format!("the health check took longer than {} ms", within.as_millis())),
    }
}

async fn connect(port: u16) -> Result<TcpStream, String> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    connected.map_err(|error| format!("port {port} does not answer: {error}"))
}

async fn http(port: u16, path: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("port {port} does not speak HTTP: {error}");
    let mut stream = connect(port).await?;
    // Nothing of a stack file may add a header.
    let path: String = path.chars().filter(|c| !c.is_control() && *c != ' ').collect();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: windflow\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    let mut buffer = [0; 256];
    while head.len() < 4096 && !head.contains(&b'\n') {
        match stream.read(&mut buffer).await.map_err(failed)? {
            0 => break,
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    match status(&head) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("GET {path} answered {code}")),
        None => Err(format!("port {port} does not speak HTTP")),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\n').next()?).ok()?;
    line.strip_prefix("HTTP/")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Ends a health check and what it started when it is not waited for any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run(command: std::process::Command) -> Result<(), String> {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("the health check cannot be run: {error}"))?;
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let status = child.wait().await;
    // Collected: its number is no longer its own.
    group.0 = None;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the health check ended with {status}")),
        Err(error) => Err(format!("the health check was lost: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503\r\n"), Some(503));
        assert_eq!(status(b"SSH-2.0-x\r\n"), None);
        assert_eq!(status(b""), None);
    }

    #[tokio::test]
    async fn a_command_passes_by_its_exit_code_within_its_time() {
        let sh = |text: &str| Probe::Shell(text.to_owned());
        let command = |program: &str| std::process::Command::new(program);
        assert_eq!(try_once(&sh("exit 0"), Duration::from_secs(10), command).await, Ok(()));
        assert!(try_once(&sh("exit 3"), Duration::from_secs(10), command).await.unwrap_err().contains('3'));
        let slow = try_once(&sh("sleep 600"), Duration::from_millis(50), command).await;
        assert!(slow.unwrap_err().contains("longer than 50 ms"));
    }
}
