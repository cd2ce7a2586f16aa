//! Actions by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Action;
use crate::id::ActionName;

/// The actions an engine knows. A workflow read back from disk carries only names; this is where they are found.
#[derive(Debug, Clone, Default)]
pub struct Registry(BTreeMap<ActionName, Arc<dyn Action>>);

impl Registry {
    /// No actions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an action; a second one of the same name takes its place.
    #[must_use]
    pub fn with(mut self, name: ActionName, action: Arc<dyn Action>) -> Self {
        self.0.insert(name, action);
        self
    }

    /// The action of this name.
    #[must_use]
    pub fn get(&self, name: &ActionName) -> Option<&Arc<dyn Action>> {
        self.0.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &ActionName> {
        self.0.keys()
    }
}
