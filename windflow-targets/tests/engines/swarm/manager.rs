//! A target that lives for long notices what becomes of the engine it talks to.

use std::process::Command;

use windflow_bed::Engine;
use windflow_core::target::{Applied, Context, Exec, ServiceRef, Target as _, TargetErrorKind, TargetExt as _};
use windflow_targets::swarm::{SwarmConfig, SwarmTarget};

use super::place::{Place, sh};

fn swarm(engine: &Engine, words: &[&str]) {
    let said = Command::new("docker").env("DOCKER_HOST", engine.endpoint()).arg("swarm").args(words).output().unwrap();
    assert!(said.status.success(), "swarm {words:?}: {}", String::from_utf8_lossy(&said.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_leaves_its_swarm_is_no_manager_and_in_another_one_it_is_another_node() {
    let engine = Engine::start_swarm();
    let config =
        SwarmConfig::new("swarm".parse().unwrap(), "test-left".parse().unwrap(), engine.endpoint().parse().unwrap());
    let target = SwarmTarget::new(config);
    let (cx, stack) = (Context::new("one"), Place::new().stack([("one", sh("exec sleep 1000"))]));
    assert!(target.observe(&cx, &stack.name).await.unwrap().is_absent());
    swarm(&engine, &["leave", "--force"]);
    let left = [
        target.observe(&cx, &stack.name).await.unwrap_err(),
        target.probe(&cx).await.unwrap_err(),
        target.stacks(&cx).await.unwrap_err(),
        target.revisions(&cx, &stack.name).await.unwrap_err(),
    ];
    for error in left {
        assert_eq!(error.kind, TargetErrorKind::Refused, "{error}");
        assert!(error.message.contains("is no manager of a Swarm"), "{error}");
        assert!(error.hint.as_ref().unwrap().contains("docker swarm init"), "{error}");
    }
    swarm(&engine, &["init", "--advertise-addr", "127.0.0.1"]);
    assert_eq!(target.deploy(&Context::new("two"), stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    // Commands are run on the node that is talked to: it is told by its new id.
    let one = ServiceRef::service(stack.name.clone(), "one".parse().unwrap());
    target.exec(&cx, &one, Exec::new(["true"])).await.unwrap();
}
