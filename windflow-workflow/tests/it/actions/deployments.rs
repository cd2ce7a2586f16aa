//! What is told of stacks while runs change them.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use windflow_core::target::{EnvValue, Rollout, Strategy};
use windflow_core::{Node, Retry, RunState, Workflow};
use windflow_workflow::ActionOptions;
use windflow_workflow::deployments::{DeploymentEvent, DeploymentEventType, DeploymentEvents};

use super::world::{World, input, stack};

async fn told(world: &World, workflow: &Arc<Workflow>, given: Value) -> (RunState, Vec<DeploymentEvent>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let queue = Arc::clone(&told);
    let sink = DeploymentEvents::to(move |event| queue.lock().unwrap().push(event));
    let engine = world.engine(ActionOptions::default(), Some(Arc::new(sink)));
    let report = engine.start(Arc::clone(workflow), given).await.unwrap().wait().await.unwrap();
    let told = told.lock().unwrap().clone();
    (report.state, told)
}

/// Type, node and target of each.
fn lines(told: &[DeploymentEvent]) -> Vec<String> {
    let text = |event: &DeploymentEvent, key: &str| event.metadata.get(key).and_then(Value::as_str).map(str::to_owned);
    let line = |event: &DeploymentEvent| {
        let why = text(event, "why").map(|why| format!(" ({why})")).unwrap_or_default();
        let (node, target) = (text(event, "node").unwrap(), text(event, "target").unwrap());
        format!("{} {node} on {target}{why}", event.event_type.as_str())
    };
    told.iter().map(line).collect()
}

fn step(name: &str, uses: &str, input: Value) -> Node {
    Node::new(name, uses).input(input).retry(Retry::attempts(2))
}

#[tokio::test(start_paused = true)]
async fn each_thing_that_happens_to_a_stack_is_told_in_the_form_others_read() {
    let world = World::of(&["main"]);
    let on_main = |more: Value| {
        let mut input = json!({ "target": "main", "stack": "shop" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let workflow = Workflow::builder("release")
        .node(step("web", "deploy", input("main", "1")))
        .node(step("more", "scale", on_main(json!({ "service": "web", "replicas": 2 }))).needs(["web"]))
        .node(step("back", "rollback", on_main(json!({}))).needs(["more"]))
        .node(step("pause", "wait", json!({ "for": "1s" })).needs(["back"]))
        .node(step("gone", "destroy", on_main(json!({}))).needs(["pause"]))
        .build()
        .unwrap();
    let (state, told) = told(&world, &workflow, Value::Null).await;
    assert_eq!(state, RunState::Succeeded);
    assert_eq!(
        lines(&told),
        [
            "deployments.started web on main",
            "deployments.healthy web on main",
            "deployments.started more on main",
            "deployments.healthy more on main",
            "deployments.started back on main",
            "deployments.rolled_back back on main (rollback)",
            "deployments.started gone on main",
            "deployments.destroyed gone on main",
        ]
    );
    let run = told[1].metadata["run"].as_str().unwrap();
    let written = serde_json::to_value(&told[1]).unwrap();
    assert_eq!(
        written,
        json!({
            "event_type": "deployments.healthy",
            "deployment_id": format!("{run}/web"),
            "stack_id": "shop",
            "timestamp": told[1].timestamp,
            "metadata": {
                "run": run, "node": "web", "workflow": "release", "action": "deploy", "target": "main",
                "revision": 1, "seq": told[1].metadata["seq"],
            },
        })
    );
    assert!(told[1].timestamp.starts_with("1970-01-01T00:16:40"), "{}", told[1].timestamp);
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_staged_revision_is_told() {
    let world = World::of(&["main"]);
    let staged = |version: &str| {
        let mut stack = stack(version);
        let rollout = Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() };
        stack.services.values_mut().for_each(|service| service.rollout = Some(rollout.clone()));
        json!({ "target": "main", "stack": stack })
    };
    let decide = json!({ "target": "main", "stack": "shop" });
    let workflow = Workflow::builder("release")
        .node(step("blue", "deploy", staged("1")))
        .node(step("green", "deploy", staged("2")).needs(["blue"]))
        .node(step("go", "promote", decide.clone()).needs(["green"]))
        .node(step("next", "deploy", staged("3")).needs(["go"]))
        .node(step("no", "abort", decide).needs(["next"]))
        .build()
        .unwrap();
    let (state, told) = told(&world, &workflow, Value::Null).await;
    assert_eq!(state, RunState::Succeeded);
    assert_eq!(
        lines(&told)[2..],
        [
            "deployments.started green on main",
            "deployments.healthy green on main",
            "deployments.started go on main",
            "deployments.healthy go on main",
            "deployments.started next on main",
            "deployments.healthy next on main",
            "deployments.started no on main",
            "deployments.rolled_back no on main (aborted)",
        ]
    );
    assert_eq!((&told[5].metadata["revision"], &told[9].metadata["revision"]), (&json!(2), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_and_what_is_undone_are_told() {
    let world = World::of(&["main", "spare"]);
    world.deploy("main", "1").await;
    world.target("spare").faults().fail_at(1);
    let workflow = Workflow::builder("release")
        .node(step("web", "deploy", input("main", "2")))
        .node(step("too", "deploy", input("spare", "broken")).needs(["web"]))
        .build()
        .unwrap();
    let (state, told) = told(&world, &workflow, Value::Null).await;
    assert_eq!(state, RunState::Compensated);
    assert_eq!(
        lines(&told),
        [
            "deployments.started web on main",
            "deployments.healthy web on main",
            "deployments.started too on spare",
            "deployments.retrying too on spare",
            "deployments.started too on spare",
            "deployments.rolled_back too on spare (unhealthy)",
            "deployments.failed too on spare",
            "deployments.rolled_back web on main (undone)",
        ]
    );
    assert_eq!(told[3].metadata["code"], json!("target.transient"));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_an_expression_or_a_fallback_names_is_told_and_no_value_of_the_stack() {
    let world = World::of(&["main", "spare"]);
    world.target("main").faults().set_unreachable(true);
    let mut secret = stack("1");
    let web = secret.services.values_mut().next().unwrap();
    web.environment.insert("PASSWORD".to_owned(), EnvValue::Plain("hunter2-hunter2".to_owned()));
    let with = json!({
        "target": "${{ inputs.where }}", "stack": secret, "fallback": ["spare"], "allow_two_copies": true,
    });
    let workflow = Workflow::builder("release").node(step("web", "deploy", with)).build().unwrap();
    let (state, told) = told(&world, &workflow, json!({ "where": "main" })).await;
    assert_eq!(state, RunState::Succeeded);
    assert_eq!(lines(&told), ["deployments.started web on main", "deployments.healthy web on spare"]);
    assert_eq!(told[1].metadata["fallback_from"], json!("main"));
    assert!(!serde_json::to_string(&told).unwrap().contains("hunter2"));
}

#[test]
fn the_list_of_types_is_closed_and_documented() {
    let names: Vec<&str> = DeploymentEventType::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(
        names,
        [
            "deployments.started",
            "deployments.healthy",
            "deployments.retrying",
            "deployments.failed",
            "deployments.rolled_back",
            "deployments.destroyed",
            "deployments.adopted",
        ]
    );
}
