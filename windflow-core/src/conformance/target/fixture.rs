//! What is proved, and what is told about it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::id::StackName;
use crate::target::{Context, Desired, PlanError, Stack, Target, TargetError};

/// What a target promises, and the suite checks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Profile {
    /// Everything the contract says.
    Whole,
    /// It observes and plans like the target beneath, and changes nothing: an apply answers
    /// [`Applied::Nothing`](crate::target::Applied::Nothing) where that is the truth, a conflict where there is one, and
    /// is refused otherwise; `adopt`, `promote` and `exec` are not offered. Each case checks that instead.
    ChangesNothing {
        /// What it stands over: here the suite makes what there is to be seen.
        beneath: Arc<dyn Target>,
    },
}

/// Something that runs and is not ours, made to be adopted.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The name under which it is discovered.
    pub name: StackName,
    /// What it is taken over as.
    pub desired: Desired,
    /// The ids of the instances that run: they are the same afterwards.
    pub instances: Vec<String>,
}

/// A place of its own on which a target is proved. Whatever a case leaves there goes when the fixture is dropped.
#[async_trait]
pub trait TargetFixture: Send + Sync {
    /// The target. Two calls give handles to the same place and the same owner.
    async fn target(&self) -> Arc<dyn Target>;

    /// The same place as another owner sees it, where it can be changed whatever the target promises.
    async fn neighbour(&self) -> Arc<dyn Target>;

    /// What it promises.
    fn profile(&self) -> Profile {
        Profile::Whole
    }

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

    /// Cuts the `n`-th call from now that changes something, counted from 1: it happens or not, and nobody sees its
    /// answer, as when the connection and the program die there. Only one call is cut. False when that cannot be done.
    async fn cut_at(&self, _n: u64) -> bool {
        false
    }

    /// Makes the other side answer nonsense from now on, of the `n`-th sort, counted from 0: no valid message, half a
    /// message, a valid one of another kind… Whoever observes the stack must meet it. False when there is no such sort.
    async fn hostile(&self, _n: usize) -> bool {
        false
    }

    /// Ends what [`cut_at`](Self::cut_at) or [`hostile`](Self::hostile) began.
    async fn heal(&self) {}

    /// Makes something run that is not ours, and says what to adopt it as. Needed when the target claims
    /// [`Feature::Adopt`](crate::target::Feature::Adopt).
    async fn foreign(&self) -> Option<Foreign> {
        None
    }

    /// Three versions of a stack, each of which is staged when another is current. Needed when the target claims
    /// [`Feature::Promote`](crate::target::Feature::Promote).
    fn staged(&self) -> Option<[Stack; 3]> {
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

    /// Whether a case ended because of a defect of the other side that is known, that the target has named, and that
    /// nobody could go round. The case is begun once more, on a fixture of its own; what comes out then is the answer.
    fn is_known_defect(&self, _broken: &Broken) -> bool {
        false
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
    /// What was not checked, because the target does not claim it or the fixture cannot make it happen.
    pub unchecked: Option<&'static str>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks, {} applies, {} cuts", self.checks, self.applies, self.cuts)?;
        match self.unchecked {
            Some(what) => write!(f, "; not checked: {what}"),
            None => Ok(()),
        }
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
            destroy_leaves_nothing cut_applies_converge cut_calls_converge unhealthy_stacks_are_taken_back decoys_survive
            hostile_names_are_only_names hostile_replies_are_errors what_runs_is_adopted capabilities_tell_the_truth
            what_is_staged_is_promoted_or_aborted
        }
    };
    (@ $fixture:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() -> ::std::result::Result<(), $crate::conformance::target::Broken> {
            let fixture = $fixture;
            let checked = match $crate::conformance::target::$case(&fixture).await {
                Err(broken) if $crate::conformance::target::TargetFixture::is_known_defect(&fixture, &broken) => {
                    println!("{}: begun once more, after a known defect of the other side: {broken}", stringify!($case));
                    $crate::conformance::target::$case(&$fixture).await?
                }
                done => done?,
            };
            println!("{}: {checked}", stringify!($case));
            Ok(())
        }
    )*};
}
