//! Expressions and small scripts in [Rhai](https://rhai.rs), within bounds.

mod convert;
mod evaluator;
mod ledger;
mod limits;
mod names;
mod sandbox;

pub use evaluator::RhaiEvaluator;
pub use limits::SandboxLimits;
pub use sandbox::{Sandbox, ScriptProblem};
