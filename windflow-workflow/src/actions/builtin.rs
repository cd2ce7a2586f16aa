//! All of them, by name.

use std::sync::Arc;

use windflow_core::action::Registry;
use windflow_core::target::Placements;
use windflow_core::{Action, ActionName};

use super::{
    AbortAction, AdoptAction, ApproveAction, DeployAction, DestroyAction, ExecAction, PromoteAction, RollbackAction,
    ScaleAction, ScriptAction, ScriptEngine, ShellAction, ShellPolicy, WaitAction, WaitHealthyAction,
};
#[cfg(feature = "http")]
use super::{EgressPolicy, HttpAction};

/// What the built-in actions may do. The default is an operator's: HTTP to anywhere but where only the machine itself
/// should look, no shell, no scripts.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ActionOptions {
    /// Where `http` may go.
    #[cfg(feature = "http")]
    pub egress: EgressPolicy,
    /// What `shell` may run.
    pub shell: ShellPolicy,
    /// What runs `script`; without it there is no such action.
    pub script: Option<Arc<dyn ScriptEngine>>,
    /// What remembers where stacks were, for `deploy` with `fallback`.
    pub placements: Option<Arc<dyn Placements>>,
}

impl ActionOptions {
    /// Where `http` may go.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn egress(mut self, egress: EgressPolicy) -> Self {
        self.egress = egress;
        self
    }

    /// What `shell` may run.
    #[must_use]
    pub fn shell(mut self, shell: ShellPolicy) -> Self {
        self.shell = shell;
        self
    }

    /// What runs `script`.
    #[must_use]
    pub fn script(mut self, engine: Arc<dyn ScriptEngine>) -> Self {
        self.script = Some(engine);
        self
    }

    /// What remembers where stacks were, for `deploy` with `fallback`.
    #[must_use]
    pub fn placements(mut self, placements: Arc<dyn Placements>) -> Self {
        self.placements = Some(placements);
        self
    }
}

/// A registry with every built-in action.
///
/// ```
/// use windflow_workflow::{ActionOptions, builtin_actions};
/// let registry = builtin_actions(ActionOptions::default());
/// assert!(registry.names().any(|name| name.as_str() == "deploy"));
/// ```
#[must_use]
pub fn builtin_actions(options: ActionOptions) -> Registry {
    let deploy = options.placements.map(DeployAction::with_placements).unwrap_or_default();
    let mut all: Vec<(&str, Arc<dyn Action>)> = vec![
        ("abort", Arc::new(AbortAction)),
        ("adopt", Arc::new(AdoptAction)),
        ("approve", Arc::new(ApproveAction)),
        ("deploy", Arc::new(deploy)),
        ("destroy", Arc::new(DestroyAction)),
        ("exec", Arc::new(ExecAction)),
        ("promote", Arc::new(PromoteAction)),
        ("rollback", Arc::new(RollbackAction)),
        ("scale", Arc::new(ScaleAction)),
        ("shell", Arc::new(ShellAction::new(options.shell))),
        ("wait", Arc::new(WaitAction)),
        ("wait_healthy", Arc::new(WaitHealthyAction)),
    ];
    #[cfg(feature = "http")]
    all.push(("http", Arc::new(HttpAction::new(options.egress))));
    if let Some(engine) = options.script {
        all.push(("script", Arc::new(ScriptAction::new(engine))));
    }
    all.into_iter().fold(Registry::new(), |registry, (name, action)| match ActionName::new(name) {
        Ok(name) => registry.with(name, action),
        // Not reached: the names above follow the rule, and a test reads them all.
        Err(_) => registry,
    })
}
