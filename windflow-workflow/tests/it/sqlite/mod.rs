//! The SQLite store: the suite of every store, and what only a file can get wrong.

mod conformance;
mod kill;
mod model;
mod newer;
mod place;
mod processes;
