//! Journals in one SQLite file: the embedded default.

mod cache;
mod decide;
mod fault;
mod group;
mod liveness;
mod open;
mod place;
mod read;
mod request;
mod schema;
mod sql;
mod store;
mod writer;

pub use open::SqliteOptions;
pub use store::SqliteStore;
