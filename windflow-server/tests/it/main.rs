//! The command as people use it: the real binary, in folders of its own.

mod exits;
mod files;
mod help;
mod json;
mod readme;
mod runs;
mod snapshot;
mod stacks;
mod world;
