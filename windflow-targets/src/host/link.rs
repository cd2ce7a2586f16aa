//! A conversation with a supervisor: one order, and its answers.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::layout::StackDir;
use super::state::{Answer, Order, StackState};
use super::transport::{Machine, Wire};

/// An order that was given.
pub(super) struct Link {
    wire: BufReader<Box<dyn Wire>>,
    line: Vec<u8>,
}

impl Link {
    /// Gives an order to the supervisor of this folder.
    pub async fn open(machine: &dyn Machine, dir: &StackDir, order: &Order) -> io::Result<Self> {
        let mut wire = machine.connect(dir.path()).await?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        wire.write_all(&line).await?;
        wire.flush().await?;
        // The order may hold values of secrets.
        line.fill(0);
        Ok(Self { wire: BufReader::new(wire), line: Vec::new() })
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        // What was read of a line stays when this is dropped, and is continued by the next call.
        if !self.line.ends_with(b"\n") {
            // A reset is an end like any other: it had something left to read when it went.
            let read = self.wire.read_until(b'\n', &mut self.line).await;
            if read.is_err() || !self.line.ends_with(b"\n") {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor went away"));
            }
        }
        let line = std::mem::take(&mut self.line);
        let foreign =
            |error| io::Error::other(format!("the supervisor answers what this version does not know: {error}"));
        serde_json::from_slice(&line).map_err(foreign)
    }

    /// The next state it tells. May be dropped and called again.
    pub async fn state(&mut self) -> io::Result<StackState> {
        match self.answer().await? {
            Answer::State(state) => Ok(*state),
            Answer::Stopped => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor has stopped")),
            Answer::Failed(why) => Err(why.into()),
        }
    }

    /// Waits until everything has stopped.
    pub async fn stopped(&mut self) -> io::Result<()> {
        loop {
            match self.answer().await? {
                Answer::Stopped => return Ok(()),
                Answer::State(_) => {}
                Answer::Failed(why) => return Err(why.into()),
            }
        }
    }
}
