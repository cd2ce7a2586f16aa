//! What every [`Target`](crate::target::Target) must do, as a suite anybody can run over theirs.
//!
//! Implement [`TargetFixture`] and write `windflow_core::target_conformance!(MyFixture::new());` in a test file: each
//! case becomes a test, on a fixture of its own. The test crate needs tokio with `macros` and `rt-multi-thread`.
//! Every case returns what it counted, and fails when it checked nothing.

mod boundaries;
mod case;
mod convergence;
mod fixture;

pub use boundaries::{
    capabilities_tell_the_truth, decoys_survive, drift_is_found, hostile_names_are_only_names, stale_plans_are_refused,
};
pub use convergence::{
    apply_converges, changes_are_planned_and_applied, cut_applies_converge, destroy_leaves_nothing,
    revisions_roll_back, unhealthy_stacks_are_taken_back,
};
pub use fixture::{Broken, Checked, TargetFixture};
