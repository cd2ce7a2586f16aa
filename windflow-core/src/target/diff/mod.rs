//! What every target computes alike: what is asked of it and not offered, what would change, what was read.
//!
//! Pure. Secret references are shown as references, and [`RESTART_LABEL`](super::RESTART_LABEL) never counts as drift.

mod change;
mod ground;
mod part;
mod refusal;
#[cfg(test)]
mod tests;

pub use change::{changes, is_revision, owned_spec, same_but_for_restarts};
pub use ground::{already, check_bound, check_moved, moved, preconditions};
pub use part::{owned_parts, part_changes};
pub use refusal::{degradations, refusals, refuse};
