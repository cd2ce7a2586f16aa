//! What is under way on a stack, as both kinds keep it on record. Pure.

use serde::{Deserialize, Serialize};
use windflow_core::target::{Context, Plan, Promote, Revision, TargetError, TargetErrorKind};
use windflow_core::{ContentHash, OwnerId, StackName, TargetName};

/// What somebody who changes a stack intends, and under which key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doing {
    pub intent: ContentHash,
    pub key: String,
    /// Whether it promotes or aborts: once nothing is staged, and nothing promoted is to be ended, it is over.
    #[serde(default)]
    pub decides: bool,
}

impl Doing {
    /// An apply of this plan.
    pub fn applying(plan: &Plan, cx: &Context) -> Self {
        Self { intent: plan.intent(), key: cx.key().to_owned(), decides: false }
    }

    /// Promotes or aborts the revision that is staged, or the current one that was it.
    pub fn deciding(
        cx: &Context,
        owner: &OwnerId,
        target: &TargetName,
        stack: &StackName,
        verdict: Promote,
        latest: Option<u64>,
    ) -> Self {
        let intent = ContentHash::of_value(&serde_json::json!({
            "owner": owner, "target": target, "stack": stack, "verdict": verdict,
            "of": latest.filter(|_| verdict == Promote::Promote),
        }));
        Self { intent, key: cx.key().to_owned(), decides: true }
    }

    /// Whether it was cut at its very end, where nothing is staged: all that is left is to take it off the record.
    pub fn is_over(&self, current: Option<&Revision>) -> bool {
        self.decides || current.is_some_and(|current| current.key == self.key)
    }
}

/// Somebody else has begun with the same stack since.
pub(crate) fn overtaken(target: &TargetName, stack: &StackName) -> TargetError {
    let what = "somebody else changes this stack at the same time";
    TargetError::new(target, TargetErrorKind::Conflict, what)
        .in_stack(stack)
        .with_hint("see what is there with `status`, and plan again")
}
