//! The small HTTP server of the quickstart: std only, one thread for each request.
//!
//! The first command of the README builds the `windflow` command and nothing else, so the server must be in it: the
//! command carries this file as its hidden subcommand `demo-server` (`windflow-server/src/cli/quickstart_server.rs` is
//! a link to it, so that the published crate carries it too). It is what `examples/quickstart/stack.yaml` and the
//! example of `windflow init` deploy.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long either side may keep the other waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of a request or an answer.
const MOST: u64 = 64 * 1024;

/// A server on the loopback address that answers every request with its message.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    message: String,
    upstream: Option<SocketAddr>,
}

impl Server {
    /// Takes the port. With an upstream, another server of this sort is asked at each request, and what it says is a
    /// part of the answer.
    pub fn bind(port: u16, message: impl Into<String>, upstream: Option<u16>) -> io::Result<Self> {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { listener: TcpListener::bind(at(port))?, message: message.into(), upstream: upstream.map(at) })
    }

    /// Where it answers.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// Answers until the process ends.
    pub fn run(self) {
        let this = Arc::new(self);
        for stream in this.listener.incoming() {
            // A caller that went away before it was served is no reason to stop.
            let Ok(stream) = stream else { continue };
            let this = Arc::clone(&this);
            std::thread::spawn(move || this.serve(stream));
        }
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Whatever was asked, the answer is the same.
        read_head(&mut stream)?;
        let (status, body) = self.answer();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn answer(&self) -> (&'static str, String) {
        let Some(upstream) = self.upstream else { return ("200 OK", format!("{}\n", self.message)) };
        match ask(upstream) {
            Ok(said) => ("200 OK", format!("{}{said}", self.message)),
            Err(error) => ("502 Bad Gateway", format!("{upstream}: {error}\n")),
        }
    }
}

/// Reads up to the empty line that ends a request's head.
fn read_head(stream: &mut TcpStream) -> io::Result<()> {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") && seen.len() < 8 * 1024 && stream.read(&mut byte)? > 0 {
        seen.push(byte[0]);
    }
    Ok(())
}

/// What another server answers, if it answers well.
fn ask(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("it said {:?}", head.lines().next().unwrap_or_default()))),
    }
}
