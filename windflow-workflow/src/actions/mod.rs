//! The actions every workflow may use: `wait`, `approve`, `http`, `shell`, `script`, `deploy`, `destroy`.

mod approve;
mod builtin;
mod deploy;
mod destroy;
#[cfg(feature = "http")]
mod egress;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_call;
mod input;
mod moment;
mod offspring;
mod script;
mod shell;
mod wait;

pub use approve::ApproveAction;
pub use builtin::{ActionOptions, builtin_actions};
pub use deploy::DeployAction;
pub use destroy::DestroyAction;
#[cfg(feature = "http")]
pub use egress::EgressPolicy;
#[cfg(feature = "http")]
pub use http::HttpAction;
pub use script::{ScriptAction, ScriptEngine};
pub use shell::{ShellAction, ShellPolicy, leave_step};
pub use wait::WaitAction;
