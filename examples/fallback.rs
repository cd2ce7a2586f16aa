//! A stack on a Docker Engine, and on a Swarm as long as that engine cannot be reached. The next run brings it back.
//!
//! `fallback DOCKER SWARM [IMAGE]`: two endpoints as `DOCKER_HOST` has them, and an image that the engines have or can pull.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use windflow_core::target::{Breaker, MemoryPlacements, Remembered, Target, Timeout};
use windflow_core::{Engine, MemoryStore, Node, OwnerId, Retry, RunState, Workflow};
use windflow_targets::docker::{DockerConfig, DockerTarget};
use windflow_targets::swarm::{SwarmConfig, SwarmTarget};
use windflow_workflow::deployments::DeploymentEvents;
use windflow_workflow::{ActionOptions, builtin_actions};

/// What stands over a target: a memory of what it may hold, no endless waiting, and no asking again and again where nobody
/// answers.
fn layered(target: impl Target, placements: &Arc<MemoryPlacements>) -> Arc<dyn Target> {
    let target = Remembered::over(Arc::new(target), Arc::clone(placements) as _);
    let target = Timeout::over(Arc::new(target)).questions(Duration::from_secs(5));
    Arc::new(Breaker::over(Arc::new(target)))
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: fallback DOCKER SWARM [IMAGE]";
    let (docker, swarm) = (args.next().ok_or(usage)?.parse()?, args.next().ok_or(usage)?.parse()?);
    let image = args.next().unwrap_or_else(|| "nginx:alpine".to_owned());
    let owner = OwnerId::new("example")?;

    // Forgotten with the process: a program that is started again keeps its own `Placements`, in files or a database, or the
    // next start would not know that the stack may run where nobody answers.
    let placements = Arc::new(MemoryPlacements::default());
    let docker = DockerTarget::new(DockerConfig::new("docker".parse()?, owner.clone(), docker));
    let swarm = SwarmTarget::new(SwarmConfig::new("swarm".parse()?, owner, swarm));
    let tell = |event| println!("{}", serde_json::to_string(&event).unwrap_or_default());
    let engine = Engine::builder(MemoryStore::new())
        .actions(builtin_actions(ActionOptions::default().placements(Arc::clone(&placements) as _)))
        .target(layered(docker, &placements))
        .target(layered(swarm, &placements))
        .sink(Arc::new(DeploymentEvents::to(tell)))
        .build();

    let stack = json!({ "name": "example", "services": { "web": { "image": image } } });
    let deploy = Node::new("web", "deploy").retry(Retry::attempts(1)).input(json!({
        "target": "docker", "fallback": ["swarm"], "stack": stack,
    }));
    let workflow =
        Workflow::builder("release").node(deploy).outputs("${{ nodes.web.output.target }}".into()).build()?;
    let report = engine.start(workflow, Value::Null).await?.wait().await?;
    println!("{}: {}", report.state, report.output);
    engine.shutdown().await;
    Ok(if report.state == RunState::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
