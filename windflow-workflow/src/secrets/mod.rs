//! Where secret values come from on one machine: variables handed over by the caller, and files.

mod env;
mod file;

pub use env::EnvSecrets;
pub use file::FileSecrets;
