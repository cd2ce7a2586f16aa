//! Stack files: the shape of the Compose Specification, as far as it is honoured today.

mod build;
mod environment;
mod file;
mod health;
mod interpolate;
mod ports;
mod process;
mod service;

pub use file::StackDocument;
