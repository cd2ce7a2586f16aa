//! Where journals live: the [`Store`] contract and its in-memory implementation.

mod contract;
mod memory;
mod news;

pub use contract::{
    Batch, Blob, Claim, Created, Fault, Holder, InboxEntry, Kinship, Lease, NewRun, RunQuery, Store, StoreError,
    Submission, WorkerId,
};
pub use memory::MemoryStore;
pub use news::Bell;
