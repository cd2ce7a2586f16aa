//! Targets over targets: each adds one thing to every call, and is a target again.
//!
//! Put together from the inside out, so that a call that took too long counts as one that failed, and whoever waits for
//! a place does not use up the time of the call:
//!
//! ```
//! # use std::sync::Arc;
//! use windflow_core::target::{Breaker, Limit, MemoryTarget, Target, Timeout, Traced};
//! # fn main() -> Result<(), windflow_core::InvalidName> {
//! let target: Arc<dyn Target> = Arc::new(MemoryTarget::new("memory".parse()?, "docs".parse()?));
//! let target = Arc::new(Timeout::over(target));
//! let target = Arc::new(Breaker::over(target));
//! let target = Arc::new(Limit::over(target).at_once(4));
//! let target: Arc<dyn Target> = Arc::new(Traced::over(target));
//! # Ok(())
//! # }
//! ```

mod breaker;
mod call;
mod dry_run;
mod limit;
mod remembered;
mod timeout;
mod traced;

pub use breaker::Breaker;
pub use dry_run::DryRun;
pub use limit::Limit;
pub use remembered::{MemoryPlacements, Placements, Remembered};
pub use timeout::Timeout;
pub use traced::Traced;
