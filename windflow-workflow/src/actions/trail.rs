//! What `deploy` makes durable before each first change: where it was about to change something, and what was there.

use serde::{Deserialize, Serialize};
use windflow_core::target::{Observed, Plan, Stack};
use windflow_core::{ContentHash, StepContext, StepError, TargetName};

use super::deploy::{note, noted};

/// One place where something was about to be changed, as it was before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Base {
    /// The key under which the change is made.
    pub key: String,
    /// What the change is; the same one is continued after a crash.
    pub intent: ContentHash,
    /// The revision that was current; none when nothing was there.
    pub revision: Option<u64>,
    /// Its stack, so that it can be made current again even when the target no longer keeps it.
    pub stack: Option<Stack>,
    /// Where; absent in what was written before there was a choice: then it is the target of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetName>,
    /// The target that could not be reached, when this is a fallback from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_from: Option<TargetName>,
    /// Whether it is the copy on a fallback that goes, because the stack is back on its own target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes: bool,
    /// What was noted before this, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Base>,
}

impl Base {
    pub fn new(key: &str, plan: &Plan, observed: &Observed, target: &TargetName) -> Self {
        let current = observed.current.as_ref();
        Self {
            key: key.to_owned(),
            intent: plan.intent(),
            revision: current.map(|revision| revision.number),
            stack: current.map(|revision| revision.stack.clone()),
            target: Some(target.clone()),
            fallback_from: None,
            goes: false,
            before: Vec::new(),
        }
    }

    pub fn is_at(&self, target: &TargetName, primary: &TargetName) -> bool {
        self.target.as_ref().unwrap_or(primary) == target
    }
}

/// All places, oldest first.
#[derive(Debug, Default)]
pub(super) struct Trail(Vec<Base>);

impl Trail {
    /// What earlier attempts have noted.
    pub fn of(cx: &StepContext) -> Result<Self, StepError> {
        let Some(mut last) = noted::<Base>(cx)? else { return Ok(Self::default()) };
        let mut all = std::mem::take(&mut last.before);
        all.push(last);
        Ok(Self(all))
    }

    /// Makes another place durable.
    pub async fn add(&mut self, cx: &StepContext, base: Base) -> Result<(), StepError> {
        note(cx, &Base { before: self.0.clone(), ..base.clone() }).await?;
        self.0.push(base);
        Ok(())
    }

    /// Where the stack was about to be deployed last.
    pub fn landed(&self) -> Option<&Base> {
        self.0.iter().rev().find(|base| !base.goes)
    }

    /// Whether anything was begun at a target.
    pub fn at(&self, target: &TargetName, primary: &TargetName) -> Option<&Base> {
        self.0.iter().rev().find(|base| base.is_at(target, primary))
    }

    /// The latest first: the order of undoing.
    pub fn latest_first(&self) -> impl Iterator<Item = &Base> {
        self.0.iter().rev()
    }
}
