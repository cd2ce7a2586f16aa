//! What a target owes its callers.

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::{
    Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan, PlanError,
    Revision, ServiceRef, Session, Stack, TargetError,
};
use crate::id::{StackName, TargetName};

/// What an apply came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// This revision is current and healthy; `None` when the stack is gone, as desired.
    Revision(Option<u64>),
    /// The target itself went back, and what was there before is healthy again.
    RolledBack {
        /// To which revision; `None` when nothing was there before.
        to: Option<u64>,
        /// Why.
        why: String,
    },
    /// This revision runs and has the traffic, beside the one before, until it is promoted or aborted
    /// ([`Target::promote`]).
    Staged {
        /// The revision that waits.
        revision: u64,
        /// The revision that is kept.
        kept: u64,
    },
    /// There was nothing to do.
    Nothing,
}

/// What to do with what is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promote {
    /// Make it current.
    Promote,
    /// Take it down.
    Abort,
}

/// A registered place where stacks live.
///
/// The rules, checked by the conformance suite on every implementation:
/// planning and observing change nothing; a second apply plans nothing and calls nothing that mutates; an apply cut
/// anywhere is finished by the next one under the same key; after a destroy nothing with our mark is left; what does
/// not carry our mark (owner and stack) is never changed; what is not offered answers
/// [`TargetErrorKind::Unsupported`](super::TargetErrorKind::Unsupported), and [`Target::capabilities`] agrees.
///
/// A future that is dropped equals a crash. [`Context::cancel`] asks for an orderly end.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync + 'static {
    /// The name it is registered under.
    fn name(&self) -> &TargetName;

    /// What a stack may ask of it.
    fn capabilities(&self) -> &Capabilities;

    /// Whether it can be reached, and what it is.
    async fn probe(&self, cx: &Context) -> Result<Fingerprint, TargetError>;

    /// What is there of a stack, found by our mark.
    async fn observe(&self, cx: &Context, stack: &StackName) -> Result<Observed, TargetError>;

    /// What is there of a stack, now and whenever it changes. The first item comes at once.
    fn watch(&self, cx: &Context, stack: &StackName) -> BoxStream<'static, Result<Observed, TargetError>>;

    /// What would change. Changes nothing.
    async fn plan(&self, cx: &Context, desired: &Desired, observed: &Observed) -> Result<Plan, PlanError>;

    /// Makes it so, and returns when it is healthy, or as soon as it is known why it will not be.
    async fn apply(&self, cx: &Context, plan: &Plan) -> Result<Applied, TargetError>;

    /// Makes what is staged current, or takes it down. Where nothing is staged there is nothing to do: the same again gets
    /// [`Applied::Nothing`]. What is staged and no longer healthy is not made current, but taken down
    /// ([`Applied::RolledBack`]).
    async fn promote(&self, cx: &Context, stack: &StackName, verdict: Promote) -> Result<Applied, TargetError>;

    /// Takes over what runs, without touching it.
    async fn adopt(&self, cx: &Context, found: &Discovered, stack: &Desired) -> Result<Revision, TargetError>;

    /// Our stacks that are there, whole or in part, in order.
    async fn stacks(&self, cx: &Context) -> Result<Vec<StackName>, TargetError>;

    /// The revisions that are kept, oldest first.
    async fn revisions(&self, cx: &Context, stack: &StackName) -> Result<Vec<Revision>, TargetError>;

    /// The stack that brings a kept revision back. Where a name in it leads to something else now, as the tag of an image
    /// may, that name is replaced by what the revision had.
    ///
    /// # Errors
    /// [`TargetErrorKind::NotFound`](super::TargetErrorKind::NotFound) when what it had is not to be had any more.
    async fn stack_of(&self, _: &Context, revision: &Revision) -> Result<Stack, TargetError> {
        Ok(revision.stack.clone())
    }

    /// What runs there and is not ours. Reads only.
    async fn discover(&self, cx: &Context) -> Result<Vec<Discovered>, TargetError>;

    /// What services wrote.
    fn logs(
        &self,
        cx: &Context,
        of: &ServiceRef,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, TargetError>>;

    /// Runs a command inside a service.
    async fn exec(&self, cx: &Context, of: &ServiceRef, command: Exec) -> Result<Session, TargetError>;
}
