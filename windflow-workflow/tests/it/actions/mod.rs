//! The built-in actions, each by itself.

mod approve;
mod deploy;
mod deployments;
mod fallback;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod https;
mod promote;
mod registry;
mod saga;
mod shell;
mod stacks;
mod wait;
mod world;

use windflow_core::action::{Services, StepContextBuilder};
use windflow_core::{ManualClock, MemorySecrets, NodeName, RunId, SecretSources, StepContext, Timestamp};

/// A step named `step` of the run `run`, whose clock stands at 1,000 and who knows one secret.
fn step() -> StepContextBuilder {
    builder(Services::default())
}

fn builder(services: Services) -> StepContextBuilder {
    let secrets = MemorySecrets::new().with("TOKEN", "hunter2-hunter2");
    let services = Services {
        secrets: SecretSources::new().with("env", std::sync::Arc::new(secrets)),
        clock: std::sync::Arc::new(ManualClock::new(Timestamp(1_000))),
        ..services
    };
    StepContext::builder(RunId::new("run").unwrap(), NodeName::new("step").unwrap()).services(services)
}
