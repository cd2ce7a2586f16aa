//! A client that writes and reads bytes, so that nothing hides what a proxy does to them.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// After this long without a byte, a test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

trait Socket: Read + Write + Debug {
    fn end_writing(&self) -> io::Result<()>;
    fn patience(&self, long: Duration) -> io::Result<()>;
}

impl Socket for UnixStream {
    fn end_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
    fn patience(&self, long: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(long))
    }
}

impl Socket for TcpStream {
    fn end_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
    fn patience(&self, long: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(long))
    }
}

#[derive(Debug)]
pub(crate) struct Client(Box<dyn Socket>);

impl Client {
    pub(crate) fn connect(endpoint: &str) -> io::Result<Self> {
        let socket: Box<dyn Socket> = match endpoint.strip_prefix("unix://") {
            Some(path) => Box::new(UnixStream::connect(path)?),
            None => Box::new(TcpStream::connect(endpoint.trim_start_matches("tcp://"))?),
        };
        socket.patience(PATIENCE)?;
        Ok(Self(socket))
    }

    pub(crate) fn to(endpoint: &str) -> Self {
        Self::connect(endpoint).unwrap()
    }

    pub(crate) fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).unwrap();
        self
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write_all(bytes).unwrap();
        self
    }

    pub(crate) fn end_writing(&mut self) -> &mut Self {
        self.0.end_writing().unwrap();
        self
    }

    /// Reads exactly this.
    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        let mut seen = vec![0; text.len()];
        self.0.read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8_lossy(&seen), text);
        self
    }

    /// Reads up to this, and answers all that it has read.
    pub(crate) fn sees_up_to(&mut self, text: &str) -> String {
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(text.as_bytes()) {
            self.0.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Everything up to the end of the connection; how it ends does not count.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (mut all, mut some) = (Vec::new(), [0; 16 * 1024]);
        loop {
            match self.0.read(&mut some) {
                Ok(0) => return all,
                Ok(size) => all.extend_from_slice(&some[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the connection does not end"),
                Err(_) => return all,
            }
        }
    }

    /// Whether nothing comes within this time. (For what must not happen there is no event to wait for.)
    pub(crate) fn hears_nothing_for(&mut self, long: Duration) -> bool {
        self.0.patience(long).unwrap();
        let heard = self.0.read(&mut [0]);
        self.0.patience(PATIENCE).unwrap();
        matches!(heard, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// One request on a connection of its own: status and body. Nothing when the connection ended without an answer.
pub(crate) fn ask(endpoint: &str, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let mut client = Client::connect(endpoint).ok()?;
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: bed\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // A proxy that has been cut may not take it.
    client.0.write_all(head.as_bytes()).ok()?;
    let all = String::from_utf8_lossy(&client.rest()).into_owned();
    let (head, body) = all.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
