//! `--events FILE`: what happens to stacks, told to other programs.

use serde_json::Value;

use crate::world::World;

const STACK: &str = "name: s\nservices:\n  a: { x-windflow: { process: { command: ['${RUN:-sleep}', '1000'] } } }\n";
const FLOW: &str = "name: flow\nnodes:\n  up: { uses: deploy, with: { target: local, stack: s.yaml } }\n  \
    down: { uses: destroy, needs: [up], with: { target: local, stack: s } }\n";

fn told(world: &World) -> Vec<Value> {
    let text = std::fs::read_to_string(world.dir.join("events")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The type, and what brought it about.
fn lines(told: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    told.iter().map(|event| format!("{} {}", word(&event["event_type"]), word(&event["metadata"]["action"]))).collect()
}

#[test]
fn a_command_and_a_run_tell_what_happens_to_a_stack_in_the_same_form() {
    let world = World::with("s.yaml", STACK);
    world.write("flow.yaml", FLOW);
    world.expect(0, "apply s.yaml --yes --events events");
    // What changes nothing tells nothing.
    world.expect(0, "apply s.yaml --yes --events events");
    world.expect(0, "plan s.yaml --events events");
    world.write(".env", "RUN=false\n");
    let failed = world.expect(1, "apply s.yaml --yes --events events");
    world.expect(0, "destroy s --yes --events events");
    world.write(".env", "");
    let run = world.expect(0, "run flow.yaml --run-id one --events events");
    let all = told(&world);
    assert_eq!(
        lines(&all),
        [
            "deployments.started apply",
            "deployments.healthy apply",
            "deployments.started apply",
            "deployments.rolled_back apply",
            "deployments.failed apply",
            "deployments.started destroy",
            "deployments.destroyed destroy",
            "deployments.started deploy",
            "deployments.healthy deploy",
            "deployments.started destroy",
            "deployments.destroyed destroy",
        ],
        "{}{}",
        failed.err,
        run.err
    );
    for event in &all {
        let keys: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["deployment_id", "event_type", "metadata", "stack_id", "timestamp"]);
        assert_eq!((&event["stack_id"], &event["metadata"]["target"]), (&"s".into(), &"local".into()), "{event}");
    }
    assert_eq!(all[0]["deployment_id"], all[1]["deployment_id"]);
    assert_ne!(all[1]["deployment_id"], all[2]["deployment_id"]);
    assert_eq!(all[7]["deployment_id"], "one/up");
    assert_eq!(all[1]["metadata"]["revision"], 1);
    assert_eq!(all[3]["metadata"]["why"], "unhealthy");
}

#[test]
fn a_file_of_events_that_cannot_be_written_is_told_before_anything_begins() {
    let world = World::with("s.yaml", STACK);
    let refused = world.expect(64, "apply s.yaml --yes --events nowhere/events");
    assert!(refused.err.contains("nowhere/events: No such file"), "{}", refused.err);
    assert!(world.expect(0, "status s.yaml").out.contains("is not deployed"));
    let lost = world.expect(1, "apply s.yaml --yes --events /dev/full");
    assert!(lost.err.contains("cannot be written"), "{}", lost.err);
}
