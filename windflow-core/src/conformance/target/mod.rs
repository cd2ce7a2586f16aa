//! What every [`Target`](crate::target::Target) must do, as a suite anybody can run over theirs.
//!
//! Implement [`TargetFixture`] and write `windflow_core::target_conformance!(MyFixture::new());` in a test file: each
//! case becomes a test, on a fixture of its own. The test crate needs tokio with `macros` and `rt-multi-thread`.
//! Every case returns what it counted, and fails when it checked nothing, unless it says what it could not check and why.
//! A target that does not promise all of the contract says so in its [`Profile`], and the cases check that.

mod adoption;
mod boundaries;
mod case;
mod changes_nothing;
mod convergence;
mod cuts;
mod fixture;
mod hostility;
mod staging;

pub use adoption::what_runs_is_adopted;
pub use boundaries::{
    capabilities_tell_the_truth, decoys_survive, drift_is_found, hostile_names_are_only_names, stale_plans_are_refused,
};
pub use convergence::{
    apply_converges, changes_are_planned_and_applied, cut_applies_converge, destroy_leaves_nothing,
    revisions_roll_back, unhealthy_stacks_are_taken_back,
};
pub use cuts::cut_calls_converge;
pub use fixture::{Broken, Checked, Foreign, Profile, TargetFixture};
pub use hostility::hostile_replies_are_errors;
pub use staging::what_is_staged_is_promoted_or_aborted;
