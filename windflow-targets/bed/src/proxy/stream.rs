//! Either sort of socket, as two halves.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpStream, UnixStream};

pub(super) type Reader = BufReader<Box<dyn AsyncRead + Send + Unpin>>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;
pub(super) type Halves = (Reader, Writer);

/// Where an engine listens.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl Address {
    /// Reads `unix:///…`, `tcp://host:port` or `http://host:port`.
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(path.into()));
        }
        match text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")) {
            Some(host) => Ok(Self::Tcp(host.trim_end_matches('/').to_owned())),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{text}: neither unix:// nor tcp://"))),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Halves> {
        Ok(match self {
            Self::Unix(path) => of_unix(UnixStream::connect(path).await?),
            Self::Tcp(host) => of_tcp(TcpStream::connect(host).await?),
        })
    }
}

pub(super) fn of_unix(stream: UnixStream) -> Halves {
    let (reader, writer) = stream.into_split();
    (BufReader::new(Box::new(reader)), Box::new(writer))
}

pub(super) fn of_tcp(stream: TcpStream) -> Halves {
    let (reader, writer) = stream.into_split();
    (BufReader::new(Box::new(reader)), Box::new(writer))
}
