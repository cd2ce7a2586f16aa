//! A folder to run the command in, and an owner nobody else has: on every engine nothing of it is left in the end.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::World;

/// A folder, and an owner.
pub struct Corner {
    pub world: World,
    pub owner: String,
}

impl Corner {
    /// One with these targets besides `local`, `docker` and `swarm`, as `windflow.yaml` has them; the engines of the bed
    /// are what `docker` and `swarm` are.
    pub fn new(more: &str) -> Self {
        let world = World::new();
        let owner = world.dir.file_name().unwrap().to_string_lossy().into_owned();
        let (docker, swarm) = (windflow_bed::docker(), windflow_bed::swarm().endpoint);
        world.write(
            "windflow.yaml",
            &format!(
                "owner: {owner}\ntargets:\n  docker: {{ kind: docker, endpoint: '{docker}', health_timeout: 1m }}\n  \
                 swarm: {{ kind: swarm, endpoint: '{swarm}', health_timeout: 1m }}\n{more}"
            ),
        );
        Self { world, owner }
    }

    /// What the containers of this owner's stack that run on an engine have as their version, each of them.
    pub fn versions(&self, endpoint: &str) -> Vec<String> {
        let owner = format!("label=windflow.owner={}", self.owner);
        let ids = docker(endpoint, &["ps", "-q", "--filter", &owner]);
        let version = |id: &str| match docker_may_fail(endpoint, &["exec", id, "sh", "-c", "echo $VERSION"]) {
            (true, version) => version.trim().to_owned(),
            // It has gone since it was listed, or is about to go.
            (false, why) => format!("none: {why}"),
        };
        ids.lines().map(version).collect()
    }

    /// A run's journal, as the command tells it.
    pub fn journal(&self, run: &str) -> Vec<Value> {
        let told = self.world.expect(0, &format!("runs events {run} --json"));
        told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything on an engine with this owner's mark.
    pub fn marked(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        let owner = format!("label=windflow.owner={}", self.owner);
        let mut kinds = vec![("container", vec!["ps", "-aq"])];
        if endpoint == windflow_bed::swarm().endpoint {
            // Its containers go with its services.
            kinds = ["service", "config", "secret"].map(|kind| (kind, vec![kind, "ls", "-q"])).to_vec();
        }
        kinds.extend(["network", "volume"].map(|kind| (kind, vec![kind, "ls", "-q"])));
        let mut all = Vec::new();
        for (kind, mut words) in kinds {
            words.extend(["--filter", &owner]);
            all.extend(docker(endpoint, &words).lines().map(|id| (kind, id.to_owned())));
        }
        all
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        for endpoint in [windflow_bed::docker(), windflow_bed::swarm().endpoint] {
            let deadline = Instant::now() + Duration::from_secs(30);
            // What is still in use goes the next time.
            while Instant::now() < deadline {
                let left = self.marked(&endpoint);
                if left.is_empty() {
                    break;
                }
                for (kind, id) in left {
                    let words = if kind == "container" { vec!["rm", "-fv", &id] } else { vec![kind, "rm", &id] };
                    docker_may_fail(&endpoint, &words);
                }
            }
        }
    }
}

/// The docker command on an engine: the second opinion of these tests.
pub fn docker(endpoint: &str, words: &[&str]) -> String {
    let (ok, text) = docker_may_fail(endpoint, words);
    assert!(ok, "docker {words:?}: {text}");
    text.trim().to_owned()
}

pub fn docker_may_fail(endpoint: &str, words: &[&str]) -> (bool, String) {
    let out = Command::new("docker").env("DOCKER_HOST", endpoint).args(words).output().unwrap();
    let text = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}
