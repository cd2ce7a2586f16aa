//! Drives runs: takes in news, makes decisions durable, and does what is owed.

mod aside;
mod builder;
mod chunk;
mod driver;
mod durable;
mod error;
mod facade;
mod handle;
mod hub;
mod intake;
mod kin;
mod leave;
mod load;
mod mailbox;
mod open;
mod own;
mod perform;
mod reporter;
mod stop;
mod subscribe;
mod task;

pub use builder::{Drive, EngineBuilder};
pub use error::{StartError, SubmitError, WaitError};
pub use facade::{Engine, StartOptions, Submitted};
pub use handle::{Report, RunHandle};
pub use subscribe::Subscription;
