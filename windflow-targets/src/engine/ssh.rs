//! The way to an engine through `ssh`: each connection is an `ssh` of its own, which runs `docker system dial-stdio` over
//! there, as the docker command does it.
//!
//! Whom `ssh` trusts and how it gets there is what its user has set up (`~/.ssh/config`, `known_hosts`, an agent); nothing is
//! ever asked at a terminal, and a machine whose key is unknown is not talked to.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// How much of its complaints is read.
const COMPLAINT: u64 = 4096;

/// A client that calls through `ssh`. Nothing is called yet.
pub(super) fn client(destination: &str, key: Option<PathBuf>, seconds: u64) -> Result<Docker, Error> {
    let client = Client::builder(TokioExecutor::new()).build(Caller(Arc::new(Way::to(destination, key))));
    let transport = move |request: BollardRequest| {
        let answer = client.request(request);
        async move { answer.await.map_err(Error::from) }
    };
    // The name is only what stands in the calls: where they go is known.
    Docker::connect_with_custom_transport(transport, Some("http://engine"), seconds, API_DEFAULT_VERSION)
}

/// Why `ssh` has ended before the engine said a word.
#[derive(Debug)]
pub(crate) struct NotLetIn(String);

impl NotLetIn {
    /// What can be done about it, as far as its words tell.
    pub fn hint(&self) -> &'static str {
        let says = |text: &str| self.0.contains(text);
        if says("Host key verification failed") || says("REMOTE HOST IDENTIFICATION") {
            "nothing is trusted unseen: log in once by hand, `ssh HOST`, and compare the key"
        } else if says("Permission denied") {
            "does `ssh HOST` work without a password? `ssh_key` names another key"
        } else if says("not found") {
            "the docker command must be there, and found by `ssh HOST docker version`"
        } else {
            "does `ssh HOST docker version` work?"
        }
    }

    /// Whether asking again, or another way, is of no use before somebody has changed something.
    pub fn is_refusal(&self) -> bool {
        ["Host key verification failed", "Permission denied", "not found"].iter().any(|text| self.0.contains(text))
    }
}

impl fmt::Display for NotLetIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh says: {}", self.0)
    }
}

impl std::error::Error for NotLetIn {}

/// Whom to call, and how.
#[derive(Debug)]
struct Way {
    /// `user@host`, or a name of the user's configuration.
    host: String,
    port: Option<String>,
    key: Option<PathBuf>,
}

impl Way {
    /// Reads `user@host`, `user@host:port` and `user@[address]:port`.
    fn to(destination: &str, key: Option<PathBuf>) -> Self {
        let (host, port) = match destination.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() && !host.contains(':') => (host, Some(port)),
            Some((host, port)) if port.parse::<u16>().is_ok() && host.ends_with(']') => (host, Some(port)),
            _ => (destination, None),
        };
        Self { host: host.replace(['[', ']'], ""), port: port.map(str::to_owned), key }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]);
        if let Some(port) = &self.port {
            command.args(["-p", port]);
        }
        if let Some(key) = &self.key {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        // What comes now is no option, whatever it begins with.
        command.arg("--").arg(&self.host).args(["docker", "system", "dial-stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

#[derive(Clone, Debug)]
struct Caller(Arc<Way>);

impl tower_service::Service<http::Uri> for Caller {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        std::future::ready(Line::open(&self.0).map(TokioIo::new))
    }
}

/// One connection.
struct Line {
    to: ChildStdin,
    from: ChildStdout,
    /// What becomes of it when it ends before anything was heard: `ssh`, and its complaints.
    unheard: Option<(Child, JoinHandle<String>)>,
    heard: Option<Child>,
    ending: Option<BoxFuture<'static, io::Error>>,
}

impl Line {
    fn open(way: &Way) -> io::Result<Self> {
        let missing = |error: io::Error| io::Error::new(error.kind(), format!("ssh cannot be started: {error}"));
        let mut child = way.command().spawn().map_err(missing)?;
        let (Some(to), Some(from), Some(complaints)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("ssh has no pipes"));
        };
        let complaint = tokio::spawn(async move {
            let (mut text, mut complaints) = (Vec::new(), complaints);
            let _ = (&mut complaints).take(COMPLAINT).read_to_end(&mut text).await;
            // It must not wait for somebody to read the rest.
            let _ = tokio::io::copy(&mut complaints, &mut tokio::io::sink()).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { to, from, unheard: Some((child, complaint)), heard: None, ending: None })
    }
}

/// Why it has ended, in its own last words.
async fn ended(mut child: Child, complaint: JoinHandle<String>) -> io::Error {
    let said = complaint.await.unwrap_or_default();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let why = match (last, child.wait().await) {
        (Some(last), _) => last.to_owned(),
        (None, Ok(status)) => format!("nothing, and ends ({status})"),
        (None, Err(error)) => format!("nothing, and is lost: {error}"),
    };
    io::Error::other(NotLetIn(why))
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.from).poll_read(cx, buf))?;
            match this.unheard.take() {
                Some((child, complaint)) if buf.filled().len() == before && buf.remaining() > 0 => {
                    this.ending = Some(ended(child, complaint).boxed());
                }
                Some((child, _)) => this.heard = Some(child),
                None => {}
            }
        }
        match &mut this.ending {
            Some(ending) => Poll::Ready(Err(ready!(ending.poll_unpin(cx)))),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.to).poll_write(cx, buf)) {
            // It has ended: why is told to whoever reads.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.heard.is_none() => {
                Poll::Ready(Ok(buf.len()))
            }
            done => Poll::Ready(done),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_host_and_perhaps_a_port() {
        let read = |text: &str| {
            let way = Way::to(text, None);
            (way.host, way.port.unwrap_or_default())
        };
        let pair = |host: &str, port: &str| (host.to_owned(), port.to_owned());
        assert_eq!(read("me@far:2222"), pair("me@far", "2222"));
        assert_eq!(read("far"), pair("far", ""));
        assert_eq!(read("me@[::1]:22"), pair("me@::1", "22"));
        assert_eq!(read("me@[::1]"), pair("me@::1", ""));
        assert_eq!(read("far:port"), pair("far:port", ""));
    }

    #[test]
    fn whoever_is_not_let_in_is_told_what_to_do() {
        let of = |text: &str| NotLetIn(text.to_owned());
        assert!(of("Host key verification failed.").hint().contains("compare the key"));
        assert!(of("me@far: Permission denied (publickey).").is_refusal());
        assert!(!of("ssh: connect to host far port 22: Connection refused").is_refusal());
    }
}
