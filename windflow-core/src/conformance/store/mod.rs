//! What every [`Store`](crate::store::Store) must do. Run it with [`store_conformance!`](crate::store_conformance), or
//! call the checks.
//!
//! Each check uses runs and namespaces of its own, so that all of them may share one store.

mod finding;
mod fixture;
mod inbox;
mod journal;
mod kin;
mod lease;

pub use finding::{lists_in_pages, nothing_is_left_behind};
pub use fixture::{Broken, Verdict, batch, new_run, own_namespace, signal, started, summary};
pub use inbox::{inbox_keeps_and_dedups, news_wakes_who_waits};
pub use journal::{
    appends_at_the_head, creates_once, creates_once_among_many, one_record_per_position, unknown_runs_are_not_found,
};
pub use kin::begins_and_tells_with_an_append;
pub use lease::{fences_old_epochs, leases_keep_others_away};
