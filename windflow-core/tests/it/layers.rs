//! The target suite over every layer, and over all of them together.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_core::StackName;
use windflow_core::conformance::target::{Foreign, Profile, TargetFixture, apply_converges, cut_calls_converge};
use windflow_core::target::{Breaker, DryRun, Limit, MemoryPlacements, Remembered, Stack, Target, Timeout, Traced};

use crate::target::Memory;

/// A layer, or several, over the target in memory.
struct Over {
    memory: Memory,
    layer: fn(Arc<dyn Target>) -> Arc<dyn Target>,
    is_dry: bool,
}

fn over(layer: fn(Arc<dyn Target>) -> Arc<dyn Target>) -> Over {
    Over { memory: Memory::new(), layer, is_dry: false }
}

#[async_trait]
impl TargetFixture for Over {
    async fn target(&self) -> Arc<dyn Target> {
        (self.layer)(self.memory.target().await)
    }
    async fn neighbour(&self) -> Arc<dyn Target> {
        let neighbour = self.memory.neighbour().await;
        if self.is_dry { neighbour } else { (self.layer)(neighbour) }
    }
    fn profile(&self) -> Profile {
        match self.is_dry {
            true => Profile::ChangesNothing { beneath: Arc::new(self.memory.0.clone()) },
            false => Profile::Whole,
        }
    }
    fn stack(&self) -> Stack {
        self.memory.stack()
    }
    fn changed(&self) -> Stack {
        self.memory.changed()
    }
    fn unhealthy(&self) -> Option<Stack> {
        self.memory.unhealthy()
    }
    async fn meddle(&self, stack: &StackName) {
        self.memory.meddle(stack).await;
    }
    async fn leftovers(&self, stack: &StackName) -> Vec<String> {
        self.memory.leftovers(stack).await
    }
    fn mutations(&self) -> Option<u64> {
        self.memory.mutations()
    }
    async fn cut_at(&self, n: u64) -> bool {
        self.memory.cut_at(n).await
    }
    async fn heal(&self) {
        self.memory.heal().await;
    }
    fn staged(&self) -> Option<[Stack; 3]> {
        self.memory.staged()
    }
    async fn foreign(&self) -> Option<Foreign> {
        self.memory.foreign().await
    }
}

mod timeout {
    use super::*;
    windflow_core::target_conformance!(over(|target| Arc::new(Timeout::over(target))));
}

mod breaker {
    use super::*;
    windflow_core::target_conformance!(over(|target| Arc::new(Breaker::over(target))));
}

mod limit {
    use super::*;
    windflow_core::target_conformance!(over(|target| Arc::new(Limit::over(target).at_once(1))));
}

mod traced {
    use super::*;
    windflow_core::target_conformance!(over(|target| Arc::new(Traced::over(target))));
}

mod remembered {
    use super::*;
    windflow_core::target_conformance!(over(|target| {
        Arc::new(Remembered::over(target, Arc::new(MemoryPlacements::new())))
    }));
}

mod dry_run {
    use super::*;
    windflow_core::target_conformance!(Over { is_dry: true, ..over(|target| Arc::new(DryRun::over(target))) });
}

#[tokio::test]
async fn whoever_promises_something_else_than_it_does_is_found_out() {
    let applies = Over { is_dry: true, ..over(|target| target) };
    let told = apply_converges(&applies).await.unwrap_err().to_string();
    assert!(told.starts_with("an apply that would change something is refused"), "{told}");
    let refuses = over(|target| Arc::new(DryRun::over(target)));
    let told = apply_converges(&refuses).await.unwrap_err().to_string();
    assert!(told.contains("it is a dry run of 2 changes"), "{told}");
    let told = cut_calls_converge(&refuses).await.unwrap_err().to_string();
    assert!(told.starts_with("a call that was cut gives no verdict"), "{told}");
}

mod together {
    use super::*;
    windflow_core::target_conformance!(over(|target| {
        let target = Arc::new(Breaker::over(Arc::new(Timeout::over(target))));
        Arc::new(Traced::over(Arc::new(Limit::over(target))))
    }));
}
