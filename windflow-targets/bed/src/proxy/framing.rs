//! Where a message of HTTP/1.1 ends. Heads are read and handed on as they came; bodies are handed on while they come.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head, chunk line or trailer that is read.
const LONGEST: usize = 256 * 1024;

/// Which side has ended a transfer.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing more can be read, or what was read is not HTTP.
    From(io::Error),
    /// Nothing more can be written.
    To(io::Error),
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::From(error) | Broken::To(error) => error,
        }
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// That many bytes.
    Sized(u64),
    /// Chunks, up to one that is empty.
    Chunked,
    /// As long as the connection: whatever comes is no HTTP any more.
    Raw,
}

/// The first part of a message, up to and with its empty line.
#[derive(Debug)]
pub(super) struct Head {
    /// As it came.
    pub(super) bytes: Vec<u8>,
    text: String,
}

impl Head {
    /// Nothing when the other side has ended the connection between two messages.
    pub(super) async fn read<R: AsyncBufRead + Unpin>(from: &mut R) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        loop {
            let began = bytes.len();
            if line(from, &mut bytes).await? == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let empty = matches!(bytes.get(began..), Some(b"\r\n" | b"\n"));
            if empty && began == 0 {
                // An empty line before a request is to be passed over.
                bytes.clear();
            } else if empty {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(Some(Self { bytes, text }));
            }
        }
    }

    fn first_line(&self) -> impl Iterator<Item = &str> {
        self.text.lines().next().unwrap_or_default().split(' ')
    }

    /// Method and target.
    pub(super) fn request(&self) -> io::Result<(&str, &str)> {
        let mut words = self.first_line();
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(target), Some(version)) if version.starts_with("HTTP/1.") => Ok((method, target)),
            _ => Err(not_http(&self.text)),
        }
    }

    /// The status of an answer.
    pub(super) fn status(&self) -> io::Result<u16> {
        let mut words = self.first_line();
        let version = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        let status = words.next().and_then(|status| status.parse().ok());
        status.filter(|_| version).ok_or_else(|| not_http(&self.text))
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(move |(field, _)| field.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether the connection is to end after this message and its answer.
    pub(super) fn closes(&self) -> bool {
        self.values("connection")
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case("close"))
    }

    fn declared(&self) -> io::Result<Option<Body>> {
        let codings = self.values("transfer-encoding").flat_map(|value| value.split(','));
        if codings.last().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked")) {
            return Ok(Some(Body::Chunked));
        }
        let mut sizes = self.values("content-length").flat_map(|value| value.split(',')).map(str::trim);
        let Some(size) = sizes.next() else { return Ok(None) };
        let all_say_so = sizes.all(|other| other == size);
        let size = size.parse().ok().filter(|_| all_say_so).map(Body::Sized);
        size.map(Some).ok_or_else(|| not_http(&self.text))
    }

    /// The body behind the head of a request.
    pub(super) fn body_of_request(&self) -> io::Result<Body> {
        Ok(self.declared()?.unwrap_or(Body::Sized(0)))
    }

    /// The body behind the head of an answer to a request of this method.
    pub(super) fn body_of_answer(&self, method: &str) -> io::Result<Body> {
        match self.status()? {
            101 => Ok(Body::Raw),
            100..200 | 204 | 304 => Ok(Body::Sized(0)),
            _ if method == "HEAD" => Ok(Body::Sized(0)),
            _ => Ok(self.declared()?.unwrap_or(Body::Raw)),
        }
    }
}

fn not_http(text: &str) -> io::Error {
    let line = text.lines().next().unwrap_or_default();
    io::Error::new(io::ErrorKind::InvalidData, format!("not a message of HTTP/1.1: {line:?}"))
}

/// Appends one line with its end. Says how much it was; nothing at the end of what can be read.
async fn line<R: AsyncBufRead + Unpin>(from: &mut R, into: &mut Vec<u8>) -> io::Result<usize> {
    let began = into.len();
    loop {
        let seen = from.fill_buf().await?;
        if seen.is_empty() {
            return if into.len() == began { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let end = seen.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(seen.len());
        into.extend_from_slice(seen.get(..taken).unwrap_or_default());
        from.consume(taken);
        if end.is_some() {
            return Ok(into.len() - began);
        }
        if into.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line or a head without end"));
        }
    }
}

/// Hands a body on, byte for byte, and tells `counted` of each piece of data. Not for [`Body::Raw`].
pub(super) async fn hand_on<R, W>(
    body: Body,
    from: &mut R,
    to: &mut W,
    mut counted: impl FnMut(u64),
) -> Result<(), Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match body {
        Body::Sized(size) => bytes(size, from, to, &mut counted).await?,
        Body::Chunked => chunks(from, to, &mut counted).await?,
        Body::Raw => return Err(Broken::From(io::Error::other("a raw body has no end"))),
    }
    to.flush().await.map_err(Broken::To)
}

async fn bytes<R, W>(size: u64, from: &mut R, to: &mut W, counted: &mut impl FnMut(u64)) -> Result<(), Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut left = size;
    while left > 0 {
        let seen = from.fill_buf().await.map_err(Broken::From)?;
        if seen.is_empty() {
            return Err(Broken::From(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(seen.len());
        to.write_all(seen.get(..taken).unwrap_or_default()).await.map_err(Broken::To)?;
        from.consume(taken);
        left -= taken as u64;
        counted(taken as u64);
    }
    Ok(())
}

async fn chunks<R, W>(from: &mut R, to: &mut W, counted: &mut impl FnMut(u64)) -> Result<(), Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let started = pass_line(from, to).await?;
        let size = started.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| Broken::From(not_http(&started)))?;
        if size == 0 {
            break;
        }
        bytes(size, from, to, counted).await?;
        pass_line(from, to).await?;
        // What is streamed must arrive piece by piece.
        to.flush().await.map_err(Broken::To)?;
    }
    // Trailers, up to an empty line.
    while !pass_line(from, to).await?.trim().is_empty() {}
    Ok(())
}

async fn pass_line<R, W>(from: &mut R, to: &mut W) -> Result<String, Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut text = Vec::new();
    if line(from, &mut text).await.map_err(Broken::From)? == 0 {
        return Err(Broken::From(io::ErrorKind::UnexpectedEof.into()));
    }
    to.write_all(&text).await.map_err(Broken::To)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn head(text: &str) -> Head {
        now(Head::read(&mut text.as_bytes())).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_handed_on_as_it_came() {
        let text = "POST /v1.41/exec/ab/start HTTP/1.1\r\nhOst: x\r\nContent-length:  5\r\n\r\nhello";
        let head = head(text);
        assert_eq!(head.bytes, &text.as_bytes()[..text.len() - 5]);
        assert_eq!(head.request().unwrap(), ("POST", "/v1.41/exec/ab/start"));
        assert_eq!(head.body_of_request().unwrap(), Body::Sized(5));
    }

    #[test]
    fn the_body_of_an_answer_ends_where_the_rules_say() {
        let of = |head_text: &str, method| head(head_text).body_of_answer(method).unwrap();
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "GET"), Body::Sized(7));
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD"), Body::Sized(0));
        assert_eq!(of("HTTP/1.1 204 No Content\r\n\r\n", "DELETE"), Body::Sized(0));
        assert_eq!(of("HTTP/1.1 304 Not Modified\r\n\r\n", "POST"), Body::Sized(0));
        assert_eq!(of("HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n", "POST"), Body::Raw);
        assert_eq!(
            of("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n", "GET"),
            Body::Chunked
        );
        assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n", "POST"), Body::Raw);
    }

    #[test]
    fn what_is_no_http_is_refused() {
        assert!(now(Head::read(&mut &b""[..])).unwrap().is_none());
        let cut_off = now(Head::read(&mut &b"GET / HTTP/1.1\r\nHo"[..])).unwrap_err();
        assert_eq!(cut_off.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(head("GET /\r\n\r\n").request().unwrap_err().to_string(), "not a message of HTTP/1.1: \"GET /\"");
        let two_sizes = head("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(two_sizes.body_of_request().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let endless = vec![b'x'; LONGEST * 2];
        assert_eq!(now(Head::read(&mut &endless[..])).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn chunks_and_trailers_arrive_to_the_letter_and_only_data_counts() {
        let text = "5;note=x\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: y\r\n\r\n";
        let all = format!("{text}GET / HTTP/1.1");
        let (mut from, mut to, mut size) = (all.as_bytes(), Vec::new(), 0);
        now(hand_on(Body::Chunked, &mut from, &mut to, |some| size += some)).unwrap();
        assert_eq!((to.as_slice(), size), (text.as_bytes(), 6));
        assert_eq!(from, b"GET / HTTP/1.1");
    }

    #[test]
    fn a_body_that_ends_early_is_told_as_such() {
        for (body, text) in [(Body::Sized(9), "short"), (Body::Chunked, "5\r\nhel"), (Body::Chunked, "5\r\nhello\r\n")]
        {
            let broken = now(hand_on(body, &mut text.as_bytes(), &mut Vec::new(), |_| ())).unwrap_err();
            assert!(matches!(broken, Broken::From(error) if error.kind() == io::ErrorKind::UnexpectedEof), "{text}");
        }
    }
}
