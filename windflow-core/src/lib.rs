//! A durable workflow engine with compensation, and the contracts its steps, stores and deployment targets meet.

pub mod action;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod engine;
pub mod evaluator;
pub mod hash;
pub mod id;
pub mod outcome;
mod planted;
pub mod run;
pub mod secret;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sink;
pub mod store;
pub mod target;
pub mod time;
pub mod workflow;

pub use action::{Action, FunctionAction, Registry, Services, StepContext, action_fn};
pub use engine::{
    Drive, Engine, EngineBuilder, Report, RunHandle, StartError, StartOptions, SubmitError, Subscription, WaitError,
};
pub use evaluator::{EvaluateError, Evaluator, PathEvaluator, Scope};
pub use hash::ContentHash;
pub use id::{
    ActionName, Epoch, InvalidName, Namespace, NodeIndex, NodeName, OwnerId, Principal, RunId, Seq, ServiceName,
    SignalName, StackName, TargetName, WorkflowName,
};
pub use outcome::{ErrorClass, Guarantee, Outcome, Resumed, Reversal, Seen, StepError, Undone, Until};
pub use run::{Event, Recorded, Request, RunState, Summary};
pub use secret::{Masker, MemorySecrets, Secret, SecretError, SecretRef, SecretSource, SecretSources};
pub use sink::{EventSink, MemorySink, TracingSink};
pub use store::{MemoryStore, Store, StoreError};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use workflow::{
    Compensate, InvalidWorkflow, Join, Node, NodeSpec, OnFailure, OnUnknown, Problem, Retry, Workflow, WorkflowSpec,
};
