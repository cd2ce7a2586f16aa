//! The actions every workflow may use: `wait`, `approve`, `http`, `shell`, `script`, and those on stacks: `deploy`,
//! `destroy`, `wait_healthy`, `scale`, `rollback`, `exec`, `adopt`, `promote`, `abort`.

mod adopt;
mod approve;
mod builtin;
mod deploy;
mod destroy;
#[cfg(feature = "http")]
mod egress;
mod exec;
mod fallback;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_call;
mod input;
mod moment;
mod offspring;
mod promote;
mod revise;
mod rollback;
mod scale;
mod script;
mod shell;
mod trail;
mod wait;
mod wait_healthy;

pub use adopt::AdoptAction;
pub use approve::ApproveAction;
pub use builtin::{ActionOptions, builtin_actions};
pub use deploy::DeployAction;
pub use destroy::DestroyAction;
#[cfg(feature = "http")]
pub use egress::EgressPolicy;
pub use exec::ExecAction;
#[cfg(feature = "http")]
pub use http::HttpAction;
pub use promote::{AbortAction, PromoteAction};
pub use rollback::RollbackAction;
pub use scale::ScaleAction;
pub use script::{ScriptAction, ScriptEngine};
pub use shell::{ShellAction, ShellPolicy, leave_step};
pub use wait::WaitAction;
pub use wait_healthy::WaitHealthyAction;
