//! What would change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hash::ContentHash;
use crate::id::{OwnerId, ServiceName, StackName, TargetName};
use crate::target::{Consents, Context, Observed, Stack, diff};

/// What should be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// This stack.
    Present(Stack),
    /// Nothing of this stack.
    Absent(StackName),
}

impl Desired {
    /// Which stack it is about.
    #[must_use]
    pub fn stack(&self) -> &StackName {
        match self {
            Self::Present(stack) => &stack.name,
            Self::Absent(name) => name,
        }
    }

    /// The hash of the desired stack; `None` for absence.
    #[must_use]
    pub fn hash(&self) -> Option<ContentHash> {
        match self {
            Self::Present(stack) => Some(stack.hash()),
            Self::Absent(_) => None,
        }
    }
}

/// Whether a change can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// Applying the former revision takes it back.
    Reversible,
    /// It cannot be taken back, and needs a consent.
    Irreversible,
}

/// What happens to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It comes to be.
    Create,
    /// It is changed in place.
    Update,
    /// It is taken down and made anew.
    Replace,
    /// It goes.
    Delete,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Which service, if it is about one.
    pub service: Option<ServiceName>,
    /// The path within the stack: `services.web.environment.PORT`.
    pub path: String,
    /// What happens.
    pub kind: ChangeKind,
    /// The value before, secrets as references.
    pub before: Option<Value>,
    /// The value after, secrets as references.
    pub after: Option<Value>,
    /// Whether it can be taken back.
    pub reversibility: Reversibility,
    /// What a person should know besides.
    pub note: Option<String>,
}

impl Change {
    /// Whether nothing is changed by it but that a service which should be well and is not is waited for or started again.
    #[must_use]
    pub fn is_about_health(&self) -> bool {
        let whole = self.service.as_ref().is_some_and(|service| self.path == format!("services.{service}"));
        whole && self.kind == ChangeKind::Update && self.before.is_none() && self.after.is_none()
    }

    /// A reversible change.
    #[must_use]
    pub fn new(kind: ChangeKind, path: impl Into<String>) -> Self {
        Self {
            service: None,
            path: path.into(),
            kind,
            before: None,
            after: None,
            reversibility: Reversibility::Reversible,
            note: None,
        }
    }

    /// About this service.
    #[must_use]
    pub fn of(mut self, service: ServiceName) -> Self {
        self.service = Some(service);
        self
    }

    /// From one value to another.
    #[must_use]
    pub fn values(mut self, before: Option<Value>, after: Option<Value>) -> Self {
        (self.before, self.after) = (before, after);
        self
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// A spec field that was read while planning; apply refuses when someone else has changed it since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// What was read.
    pub path: String,
    /// Its hash then; `None` when it was not there.
    pub hash: Option<ContentHash>,
}

/// What would change: versioned, without secrets, bound to owner and target. Making one changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The version of this form.
    pub version: u16,
    /// For this owner only.
    pub owner: OwnerId,
    /// For this target only.
    pub target: TargetName,
    /// What should be there.
    pub desired: Desired,
    /// The revision it starts from; `None` when nothing was there.
    pub base: Option<u64>,
    /// What was agreed to.
    pub consents: Consents,
    /// What was read, and must not have been changed by someone else.
    pub preconditions: Vec<Precondition>,
    /// What would change; empty when nothing would.
    pub changes: Vec<Change>,
    /// What the target will not honour, by path, in a person's words.
    pub degradations: Vec<String>,
    /// Nothing would change, and yet there is something that applying this ends: the mark of an apply that was killed at its
    /// very end, or the watch over what is staged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

impl Plan {
    /// The version of the form written today.
    pub const VERSION: u16 = 1;

    /// The plan on what is there now, without any change yet: bound to owner and target, agreed to by whoever asks, and
    /// good for as long as nobody else changes the stack.
    #[must_use]
    pub fn on(cx: &Context, owner: &OwnerId, target: &TargetName, desired: &Desired, observed: &Observed) -> Self {
        let base = observed.current.as_ref().map(|current| current.number);
        let mut plan = Self::new(owner.clone(), target.clone(), desired.clone(), base);
        plan.consents = cx.consents().clone();
        plan.preconditions = diff::preconditions(desired, observed);
        plan
    }

    /// A plan that changes nothing yet.
    #[must_use]
    pub fn new(owner: OwnerId, target: TargetName, desired: Desired, base: Option<u64>) -> Self {
        Self {
            version: Self::VERSION,
            owner,
            target,
            desired,
            base,
            consents: Consents::none(),
            preconditions: Vec::new(),
            changes: Vec::new(),
            degradations: Vec::new(),
            unfinished: false,
        }
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The stable part: what is wanted, from where, with which consents. The same intent may always be continued.
    #[must_use]
    pub fn intent(&self) -> ContentHash {
        ContentHash::of_value(&serde_json::json!({
            "owner": self.owner, "target": self.target, "stack": self.desired.stack(),
            "desired": self.desired.hash(), "base": self.base, "consents": self.consents,
        }))
    }
}
