//! Ctrl-C and its kin, counted.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// What somebody outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The first Ctrl-C: end what goes on.
    Cancel,
    /// A second Ctrl-C, a hang-up, or a polite end of the process: leave things so that they can be gone on with.
    Leave,
}

/// Listens for the signals that end a command.
#[derive(Debug)]
pub struct Interrupt {
    int: Signal,
    term: Signal,
    hup: Signal,
    presses: u32,
}

impl Interrupt {
    /// Listens from now on: the process no longer ends by itself at these signals.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::failed(format_args!("no signals: {error}")));
        Ok(Self {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
            presses: 0,
        })
    }

    /// The next wish. Safe to drop and call again.
    pub async fn wish(&mut self) -> Wish {
        tokio::select! {
            _ = self.int.recv() => {
                self.presses += 1;
                if self.presses == 1 { Wish::Cancel } else { Wish::Leave }
            }
            _ = self.term.recv() => Wish::Leave,
            _ = self.hup.recv() => Wish::Leave,
        }
    }
}
