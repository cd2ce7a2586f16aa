//! The machine a host target runs things on: here now, over SSH later.

mod contract;
mod files;
mod local;
pub(crate) mod procfs;

pub(crate) use contract::{Listener, Lock, Machine, Piece, RunCommand, Wire};
pub(crate) use files::{is_locked, try_lock, write_file};
pub(crate) use local::{LocalMachine, socket_in};
