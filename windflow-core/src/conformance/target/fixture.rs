//! What is proved, and what is told about it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::id::StackName;
use crate::target::{Context, PlanError, Stack, Target, TargetError};

/// A place of its own on which a target is proved. Whatever a case leaves there goes when the fixture is dropped.
#[async_trait]
pub trait TargetFixture: Send + Sync {
    /// The target. Two calls give handles to the same place and the same owner.
    async fn target(&self) -> Arc<dyn Target>;

    /// The same place as another owner sees it.
    async fn neighbour(&self) -> Arc<dyn Target>;

    /// A stack this target can run, with one or more services that become healthy.
    fn stack(&self) -> Stack;

    /// The same stack in another version: at least one service differs, and it becomes healthy too.
    fn changed(&self) -> Stack;

    /// A version of the stack that never becomes healthy; none when the target cannot tell.
    fn unhealthy(&self) -> Option<Stack>;

    /// Changes something of a stack behind the target's back, so that what runs is no longer what was applied.
    async fn meddle(&self, stack: &StackName);

    /// What is left of a stack outside what the target shows: directories, processes, objects with our mark.
    async fn leftovers(&self, stack: &StackName) -> Vec<String>;

    /// How many calls have changed something, when the fixture can count them.
    fn mutations(&self) -> Option<u64> {
        None
    }

    /// At how many points an apply is cut, at most. Each costs two applies.
    fn cuts(&self) -> usize {
        24
    }

    /// The context of a call under this key.
    fn context(&self, key: &str) -> Context {
        Context::new(key)
    }
}

/// What a case has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Applies that ran to their end.
    pub applies: usize,
    /// Applies that were cut.
    pub cuts: usize,
    /// Statements that were checked.
    pub checks: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks, {} applies, {} cuts", self.checks, self.applies, self.cuts)
    }
}

/// A rule that was broken, and how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// What should hold, and what was found.
    #[error("{rule}: {found}")]
    Rule {
        /// What should hold.
        rule: &'static str,
        /// What was found.
        found: String,
    },
    /// A call failed that should not.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl From<TargetError> for Broken {
    fn from(error: TargetError) -> Self {
        Self::Plan(error.into())
    }
}

/// Runs the suite over a fixture: an expression that is evaluated anew for each case.
#[macro_export]
macro_rules! target_conformance {
    ($fixture:expr) => {
        $crate::target_conformance! { @ $fixture;
            apply_converges changes_are_planned_and_applied revisions_roll_back drift_is_found stale_plans_are_refused
            destroy_leaves_nothing cut_applies_converge unhealthy_stacks_are_taken_back decoys_survive
            hostile_names_are_only_names capabilities_tell_the_truth
        }
    };
    (@ $fixture:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() -> ::std::result::Result<(), $crate::conformance::target::Broken> {
            let fixture = $fixture;
            let checked = $crate::conformance::target::$case(&fixture).await?;
            println!("{}: {checked}", stringify!($case));
            Ok(())
        }
    )*};
}
