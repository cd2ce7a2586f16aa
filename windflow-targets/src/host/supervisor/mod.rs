//! The process that starts, watches, restarts and stops the services of one stack.
//!
//! It holds a lock for its life, writes what it sees to disk, takes orders over a socket in the stack's folder, and
//! keeps the values of secrets in memory only. When it dies, its services go on; the next one adopts them.

mod board;
mod capture;
mod crew;
mod entry;
mod hold;
mod keeper;
mod orders;
mod orphans;
mod policy;
mod probe;
mod process;

pub(crate) use capture::LogEntry;
pub use entry::{leave_service, supervise_if_child};
