//! The suite every target passes, over the target of the example.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use windflow_core::StackName;
use windflow_core::conformance::target::TargetFixture;
use windflow_core::target::{EnvValue, Process, Service, Stack, Target};
use windflow_examples::folder_target::FolderTarget;

/// A folder, and what a file said before nonsense was put there.
struct Folder(tempfile::TempDir, Mutex<Option<(PathBuf, Vec<u8>)>>);

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
    Stack::new("shop".parse().unwrap(), services)
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
    async fn hostile(&self, n: usize) -> bool {
        let file = ["record.json", "services/web.json"][n % 2];
        let file = self.0.path().join("ours/shop").join(file);
        let before = std::fs::read(&file).unwrap();
        let nonsense = match n / 2 {
            0 => b"\xff\x00nonsense".to_vec(),
            1 => before[..before.len() / 2].to_vec(),
            2 => b"[1, 2, 3]".to_vec(),
            _ => return false,
        };
        std::fs::write(&file, nonsense).unwrap();
        *self.1.lock().unwrap() = Some((file, before));
        true
    }
    async fn heal(&self) {
        if let Some((file, before)) = self.1.lock().unwrap().take() {
            std::fs::write(file, before).unwrap();
        }
    }
}

windflow_core::target_conformance!(Folder(tempfile::tempdir().unwrap(), Mutex::new(None)));
