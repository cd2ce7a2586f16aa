//! What containers wrote, as lines.

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, Stream};
use windflow_core::Timestamp;
use windflow_core::target::LogStream;

use super::parse_moment;

/// Longer lines are cut.
const LONGEST: usize = 16 * 1024;

/// One line of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub at: Option<Timestamp>,
    pub stream: LogStream,
    pub text: String,
}

/// The engine's frames, which may be parts of lines or several, as lines. Each line starts with its moment.
pub(crate) fn lines(
    frames: impl Stream<Item = Result<LogOutput, Error>> + Send + 'static,
) -> BoxStream<'static, Result<Spoken, Error>> {
    let begun: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let state = (Box::pin(frames), begun, false);
    stream::unfold(state, |(mut frames, mut begun, over)| async move {
        if over {
            return None;
        }
        let mut whole = Vec::new();
        let mut over = false;
        match frames.next().await {
            Some(Ok(frame)) => {
                let stream = match &frame {
                    LogOutput::StdErr { .. } => LogStream::Stderr,
                    _ => LogStream::Stdout,
                };
                let part = &mut begun[usize::from(stream == LogStream::Stderr)];
                for byte in frame.into_bytes() {
                    if byte == b'\n' {
                        whole.push(Ok(spoken(stream, part)));
                        part.clear();
                    } else if part.len() < LONGEST + 64 {
                        part.push(byte);
                    }
                }
            }
            Some(Err(error)) => {
                over = true;
                whole.push(Err(error));
            }
            None => {
                over = true;
                for (stream, part) in [LogStream::Stdout, LogStream::Stderr].into_iter().zip(&begun) {
                    if !part.is_empty() {
                        whole.push(Ok(spoken(stream, part)));
                    }
                }
            }
        }
        Some((stream::iter(whole), (frames, begun, over)))
    })
    .flatten()
    .boxed()
}

fn spoken(stream: LogStream, line: &[u8]) -> Spoken {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let (at, text) = match text.split_once(' ').and_then(|(at, rest)| Some((parse_moment(at)?, rest))) {
        Some((at, rest)) => (Some(at), rest),
        // A line that is empty has only its moment.
        None => match parse_moment(text) {
            Some(at) => (Some(at), ""),
            None => (None, text),
        },
    };
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST).last();
    Spoken { at, stream, text: text[..end.unwrap_or(0)].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_become_lines_of_their_stream() {
        let out = |text: &str| Ok(LogOutput::StdOut { message: text.to_owned().into() });
        let err = |text: &str| Ok(LogOutput::StdErr { message: text.to_owned().into() });
        let at = "2026-11-22T00:00:00.5Z";
        let frames = [out(&format!("{at} hel")), err(&format!("{at} bad\n")), out("lo\r\nplain"), out("!\n")];
        let read: Vec<(Option<String>, LogStream, String)> = lines(stream::iter(frames))
            .map(|line| line.unwrap())
            .map(|line| (line.at.map(|at| at.to_string()), line.stream, line.text))
            .collect()
            .await;
        let moment = Some("2026-11-22T00:00:00.500Z".to_owned());
        assert_eq!(
            read,
            [
                (moment.clone(), LogStream::Stderr, "bad".to_owned()),
                (moment, LogStream::Stdout, "hello".to_owned()),
                (None, LogStream::Stdout, "plain!".to_owned()),
            ]
        );
    }
}
