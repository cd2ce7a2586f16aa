//! The suite every target passes, over the target of the example.

use std::sync::Arc;

use async_trait::async_trait;
use windflow_core::StackName;
use windflow_core::conformance::target::TargetFixture;
use windflow_core::target::{EnvValue, Process, Service, Stack, Target};
use windflow_examples::folder_target::FolderTarget;

struct Folder(tempfile::TempDir);

impl Folder {
    fn owned_by(&self, owner: &str) -> FolderTarget {
        FolderTarget::new("folder".parse().unwrap(), owner.parse().unwrap(), self.0.path())
    }
}

fn stack(version: &str) -> Stack {
    let service = |version: &str| Service {
        process: Some(Process { command: vec!["server".into()], search: Vec::new(), working_dir: None }),
        environment: [("VERSION".to_owned(), EnvValue::Plain(version.to_owned()))].into(),
        ..Service::default()
    };
    let services = [("web", service(version)), ("db", service("1"))];
    let services = services.map(|(name, service)| (name.parse().unwrap(), service)).into();
    Stack { name: "shop".parse().unwrap(), services }
}

#[async_trait]
impl TargetFixture for Folder {
    async fn target(&self) -> Arc<dyn Target> {
        Arc::new(self.owned_by("ours"))
    }
    async fn neighbour(&self) -> Arc<dyn Target> {
        Arc::new(self.owned_by("theirs"))
    }
    fn stack(&self) -> Stack {
        stack("1")
    }
    fn changed(&self) -> Stack {
        stack("2")
    }
    fn unhealthy(&self) -> Option<Stack> {
        // A file is there or it is not.
        None
    }
    async fn meddle(&self, stack: &StackName) {
        std::fs::remove_file(self.0.path().join("ours").join(stack.as_str()).join("services/web.json")).unwrap();
    }
    async fn leftovers(&self, stack: &StackName) -> Vec<String> {
        let folder = self.0.path().join("ours").join(stack.as_str());
        folder.exists().then(|| folder.display().to_string()).into_iter().collect()
    }
}

windflow_core::target_conformance!(Folder(tempfile::tempdir().unwrap()));
