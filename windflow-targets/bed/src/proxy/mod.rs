//! A proxy between a client and an engine. `control.rs` is what a test sees, `calls.rs` says which calls change something,
//! `relay.rs` carries one connection, and `framing.rs` knows where a message of HTTP/1.1 ends.

mod calls;
mod control;
mod framing;
mod relay;
mod stream;

pub use calls::Call;
pub use control::{Cut, Fault, Proxy};
