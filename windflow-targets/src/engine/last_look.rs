//! What was read last, for the plan that is made of it.
//!
//! A plan is made of an observation, and needs more of what was read than an observation tells. The one it is given is nearly
//! always the last one that was made: then everything is at hand already, and of the same moment besides.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use windflow_core::StackName;
use windflow_core::target::Observed;

/// What was read last, and what was told of it; clones share it.
pub(crate) struct LastLook<T>(Arc<Mutex<Option<(StackName, Observed, T)>>>);

impl<T> LastLook<T> {
    /// Keeps what an observation was made of.
    pub fn keep(&self, stack: &StackName, observed: &Observed, look: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((stack.clone(), observed.clone(), look));
    }

    /// What this very observation was made of, once; nothing when it is another.
    pub fn take(&self, stack: &StackName, observed: &Observed) -> Option<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take_if(|(of, told, _)| of == stack && told == observed).map(|(_, _, look)| look)
    }
}

impl<T> Default for LastLook<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for LastLook<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for LastLook<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastLook")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_observation_it_was_made_of_finds_it_and_only_once() {
        let last = LastLook::default();
        let (shop, other) = (StackName::new("shop").unwrap(), StackName::new("other").unwrap());
        let there = Observed::absent();
        let mut elsewhere = Observed::absent();
        elsewhere.parts.insert("networks.front".to_owned(), serde_json::json!({}));
        last.keep(&shop, &there, 7);
        assert_eq!(last.take(&other, &there), None, "another stack");
        assert_eq!(last.take(&shop, &elsewhere), None, "another state of it");
        assert_eq!(last.take(&shop, &there), Some(7));
        assert_eq!(last.take(&shop, &there), None, "it is old by now");
    }
}
