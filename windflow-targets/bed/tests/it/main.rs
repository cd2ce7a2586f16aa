//! The proxy in front of a server of a few lines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod cuts;
mod faults;
mod framing;
mod server;
