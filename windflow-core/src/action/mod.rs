//! The code a node names: the [`Action`] trait, its context, and the registry it is looked up in.

mod context;
mod contract;
mod function;
mod registry;

pub use context::{RunScope, Services, StepContext, StepContextBuilder, StepReporter};
pub use contract::Action;
pub use function::{FunctionAction, action_fn};
pub use registry::Registry;
