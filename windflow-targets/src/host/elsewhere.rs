//! The host kind on systems where it has not been proved: everything answers `Unsupported`.

use std::ffi::OsString;
use std::process::ExitCode;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use windflow_core::target::{
    Applied, Capabilities, Context, Desired, Discovered, Exec, Fingerprint, LogLine, LogOptions, Observed, Plan,
    PlanError, Promote, Revision, ServiceRef, Session, Target, TargetError,
};
use windflow_core::{StackName, TargetName};

use super::HostConfig;

/// Stacks as supervised processes of a machine: only on Linux so far.
#[derive(Clone, Debug)]
pub struct HostTarget {
    config: HostConfig,
    capabilities: Capabilities,
}

/// Never a supervisor here.
pub fn supervise_if_child(_: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    None
}

/// There are no services to leave here.
pub fn leave_service(_: &mut std::process::Command) {}

impl HostTarget {
    /// A target that answers `Unsupported`.
    #[must_use]
    pub fn new(config: HostConfig) -> Self {
        Self { config, capabilities: Capabilities::new("host") }
    }

    fn unsupported(&self) -> TargetError {
        TargetError::unsupported(&self.config.name, "anything on this operating system").with_hint("it needs Linux")
    }
}

#[async_trait]
impl Target for HostTarget {
    fn name(&self) -> &TargetName {
        &self.config.name
    }
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    async fn probe(&self, _: &Context) -> Result<Fingerprint, TargetError> {
        Err(self.unsupported())
    }
    async fn observe(&self, _: &Context, _: &StackName) -> Result<Observed, TargetError> {
        Err(self.unsupported())
    }
    fn watch(&self, _: &Context, _: &StackName) -> BoxStream<'static, Result<Observed, TargetError>> {
        stream::iter([Err(self.unsupported())]).boxed()
    }
    async fn plan(&self, _: &Context, _: &Desired, _: &Observed) -> Result<Plan, PlanError> {
        Err(self.unsupported().into())
    }
    async fn apply(&self, _: &Context, _: &Plan) -> Result<Applied, TargetError> {
        Err(self.unsupported())
    }
    async fn promote(&self, _: &Context, _: &StackName, _: Promote) -> Result<Applied, TargetError> {
        Err(self.unsupported())
    }
    async fn adopt(&self, _: &Context, _: &Discovered, _: &Desired) -> Result<Revision, TargetError> {
        Err(self.unsupported())
    }
    async fn stacks(&self, _: &Context) -> Result<Vec<StackName>, TargetError> {
        Err(self.unsupported())
    }
    async fn revisions(&self, _: &Context, _: &StackName) -> Result<Vec<Revision>, TargetError> {
        Err(self.unsupported())
    }
    async fn discover(&self, _: &Context) -> Result<Vec<Discovered>, TargetError> {
        Err(self.unsupported())
    }
    fn logs(&self, _: &Context, _: &ServiceRef, _: LogOptions) -> BoxStream<'static, Result<LogLine, TargetError>> {
        stream::iter([Err(self.unsupported())]).boxed()
    }
    async fn exec(&self, _: &Context, _: &ServiceRef, _: Exec) -> Result<Session, TargetError> {
        Err(self.unsupported())
    }
}
