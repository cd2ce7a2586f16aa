//! One case of the suite: a fixture, its target, and what was counted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::fixture::{Broken, Checked, TargetFixture};
use crate::id::{ServiceName, StackName};
use crate::target::{Applied, Context, Desired, Observed, Service, Stack, Target, TargetExt};

/// One case on one fixture.
pub(super) struct Case<'a> {
    pub fixture: &'a dyn TargetFixture,
    pub target: Arc<dyn Target>,
    pub checked: Checked,
}

impl<'a> Case<'a> {
    pub async fn on(fixture: &'a dyn TargetFixture) -> Self {
        Self { fixture, target: fixture.target().await, checked: Checked::default() }
    }

    pub fn cx(&self, key: &str) -> Context {
        self.fixture.context(key)
    }

    pub fn holds(&mut self, holds: bool, rule: &'static str, found: impl fmt::Debug) -> Result<(), Broken> {
        self.checked.checks += 1;
        if holds { Ok(()) } else { Err(Broken::Rule { rule, found: format!("{found:?}") }) }
    }

    pub async fn deploy(&mut self, key: &str, stack: &Stack) -> Result<Applied, Broken> {
        self.checked.applies += 1;
        Ok(self.target.deploy(&self.cx(key), stack.clone()).await?)
    }

    pub async fn observed(&self, stack: &StackName) -> Result<Observed, Broken> {
        Ok(self.target.observe(&self.cx("observe"), stack).await?)
    }

    /// Every service of the stack runs and is ready, the revision is recorded, and nothing is left to do.
    pub async fn settled(&mut self, stack: &Stack) -> Result<u64, Broken> {
        let observed = self.observed(&stack.name).await?;
        let names = |observed: &Observed| observed.services.keys().cloned().collect::<Vec<ServiceName>>();
        let wanted: Vec<ServiceName> = stack.services.keys().cloned().collect();
        self.holds(names(&observed) == wanted, "exactly the services of the stack are there", names(&observed))?;
        for (name, service) in &observed.services {
            self.holds(service.health.is_ready(), "an applied service is ready", (name, &service.health))?;
        }
        let current = observed.current.as_ref();
        let recorded = current.is_some_and(|current| current.hash == stack.hash());
        self.holds(recorded, "the applied stack is the current revision", current.map(|c| c.number))?;
        let plan = self.target.plan_for(&self.cx("again"), &Desired::Present(stack.clone())).await?;
        self.holds(plan.is_empty(), "a second apply plans nothing", &plan.changes)?;
        Ok(current.map_or(0, |current| current.number))
    }

    pub async fn gone(&mut self, stack: &StackName) -> Result<(), Broken> {
        let observed = self.observed(stack).await?;
        self.holds(observed.is_absent(), "nothing of a destroyed stack is observed", &observed)?;
        let left = self.fixture.leftovers(stack).await;
        self.holds(left.is_empty(), "nothing with our mark is left after a destroy", &left)
    }

    /// Ends a case in which there is nothing to check.
    pub fn unchecked(mut self, what: &'static str) -> Result<Checked, Broken> {
        self.checked.unchecked = Some(what);
        Ok(self.checked)
    }

    pub fn done(self) -> Result<Checked, Broken> {
        match self.checked.checks {
            0 => Err(Broken::Rule { rule: "a case checks something", found: "nothing was checked".to_owned() }),
            _ => Ok(self.checked),
        }
    }
}

pub(super) fn edited(stack: &Stack, service: &ServiceName, edit: impl FnOnce(&mut Service)) -> Stack {
    let mut stack = stack.clone();
    stack.services.get_mut(service).map(edit);
    stack
}

/// A future that is dropped when it has been polled so often.
pub(super) struct Cut<F> {
    pub future: F,
    pub polls: usize,
}

impl<F: Future + Unpin> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match Pin::new(&mut self.future).poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // Not woken again when this was the last poll: ask for one more, which drops it.
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
