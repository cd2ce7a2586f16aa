//! The command as people use it: the real binary, in folders of its own.

#![cfg(test)]

mod detached;
mod exits;
mod files;
mod help;
mod json;
mod kill_loop;
mod leftovers;
mod readme;
mod runs;
mod snapshot;
mod stack_events;
mod stacks;
mod within;
mod world;
