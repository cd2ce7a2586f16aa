//! Where journals live: the [`Store`] contract and its in-memory implementation.

mod contract;

pub use contract::{
    Batch, Blob, Claim, Created, Fault, InboxEntry, Lease, NewRun, RunQuery, Store, StoreError, Submission, WorkerId,
};
