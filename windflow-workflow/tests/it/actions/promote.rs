//! `promote` and `abort`, and `deploy` of what is staged, through the real engine.

use std::sync::Arc;

use serde_json::{Value, json};
use windflow_core::target::{Context, MEMORY_HEALTH_LABEL, Rollout, Stack, Strategy, Target as _, TargetExt as _};
use windflow_core::{Event, Node, Retry, RunState, Workflow};

use super::world::{World, input, name, outputs, stack};

/// A version that waits beside the one before.
fn staged(version: &str) -> Stack {
    let mut stack = stack(version);
    let rollout = Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() };
    stack.services.values_mut().for_each(|service| service.rollout = Some(rollout.clone()));
    stack
}

async fn deployed() -> World {
    let world = World::of(&["main", "other"]);
    world.target("main").deploy(&Context::new("before"), staged("1")).await.unwrap();
    world
}

/// These steps one after the other: `deploy` of the second version, `promote`, `abort`, and `broken`, which fails.
fn steps(uses: &[&str]) -> Arc<Workflow> {
    let mut builder = Workflow::builder("steps");
    let mut before: Option<String> = None;
    for step in uses {
        let (action, with) = match *step {
            "deploy" => ("deploy", json!({ "target": "main", "stack": staged("2") })),
            "broken" => ("deploy", input("other", "broken")),
            verdict => (verdict, json!({ "target": "main", "stack": "shop" })),
        };
        let node = Node::new(*step, action).input(with).retry(Retry::attempts(2)).needs(before.take());
        builder = builder.node(node);
        before = Some((*step).to_owned());
    }
    builder.build().unwrap()
}

/// The current revision, the staged one, and the version that runs.
async fn seen(world: &World) -> (Option<u64>, Option<u64>, Option<String>) {
    let observed = world.target("main").observe(&Context::new("look"), &name()).await.unwrap();
    let number = |revision: Option<windflow_core::target::Revision>| revision.map(|revision| revision.number);
    (number(observed.current), number(observed.staged), world.version("main").await)
}

fn version(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_is_staged_waits_for_a_step_that_promotes_it() {
    let world = deployed().await;
    let (report, events) = world.run(&steps(&["deploy"])).await;
    assert_eq!(report.state, RunState::Succeeded, "{:?}", report.problem);
    assert_eq!((&outputs(&events)[0]["revision"], &outputs(&events)[0]["baking"]["kept"]), (&json!(2), &json!(1)));
    assert_eq!(seen(&world).await, (Some(1), Some(2), version("2")));
    let (_, events) = world.run(&steps(&["promote"])).await;
    let promoted = json!({ "target": "main", "stack": "shop", "revision": 2, "promoted": true });
    assert_eq!(outputs(&events), [promoted]);
    assert_eq!(seen(&world).await, (Some(2), None, version("2")));
    let (_, events) = world.run(&steps(&["promote", "abort"])).await;
    assert_eq!((&outputs(&events)[0]["promoted"], &outputs(&events)[1]["aborted"]), (&json!(false), &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn what_is_staged_is_aborted_by_a_step_by_an_undoing_and_by_lost_health() {
    let world = deployed().await;
    let (_, events) = world.run(&steps(&["deploy", "abort"])).await;
    assert_eq!((&outputs(&events)[1]["revision"], &outputs(&events)[1]["aborted"]), (&json!(1), &json!(true)));
    assert_eq!(seen(&world).await, (Some(1), None, version("1")));

    let (report, _) = world.run(&steps(&["deploy", "broken"])).await;
    assert_eq!((report.state, &report.leftovers), (RunState::Compensated, &Vec::new()));
    assert_eq!(seen(&world).await, (Some(1), None, version("1")));

    world.run(&steps(&["deploy"])).await;
    let unhealthy = |service: &mut windflow_core::target::Service| {
        drop(service.labels.insert(MEMORY_HEALTH_LABEL.to_owned(), "unhealthy".to_owned()));
    };
    assert!(world.target("main").meddle(&name(), &"web".parse().unwrap(), unhealthy));
    let (report, events) = world.run(&steps(&["promote"])).await;
    assert_eq!(report.state, RunState::Compensated, "{report:?}");
    let told = events.iter().find_map(|event| match event {
        Event::Failed { error, .. } => Some((error.code.as_str(), error.to_string())),
        _ => None,
    });
    let (code, why) = told.unwrap();
    assert!(code == "deploy.rolled_back" && why.contains("was not promoted: web: its label says so"), "{code} {why}");
    assert_eq!(seen(&world).await, (Some(1), None, version("1")));
}

#[tokio::test(start_paused = true)]
async fn what_was_promoted_is_taken_back_with_its_run_and_nothing_is_left_baking() {
    let world = deployed().await;
    let (report, _) = world.run(&steps(&["deploy", "promote", "broken"])).await;
    assert_eq!((report.state, &report.leftovers), (RunState::Compensated, &Vec::new()));
    assert_eq!(seen(&world).await, (Some(3), None, version("1")));
}

#[tokio::test(start_paused = true)]
async fn an_engine_killed_at_any_event_promotes_or_aborts_once() {
    for (verdict, expected) in [("promote", (Some(2), None, version("2"))), ("abort", (Some(1), None, version("1")))] {
        let mut kills = 0;
        for at in 1.. {
            let world = deployed().await;
            let (report, _, died) = world.killed_at(&steps(&["deploy", verdict]), at).await;
            assert_eq!(report.state, RunState::Succeeded, "{verdict} {at}: {:?}", report.problem);
            assert_eq!(seen(&world).await, expected, "{verdict} {at}");
            if !died {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 8, "{verdict}: {kills} kills");
    }
}

#[test]
fn their_inputs_are_checked() {
    let registry = windflow_workflow::builtin_actions(Default::default());
    for uses in ["promote", "abort"] {
        let action = registry.get(&uses.parse().unwrap()).unwrap();
        let told = |more: Value| action.check(&more).into_iter().map(|(path, why)| format!("{path}: {why}")).collect();
        let good: Vec<String> = told(json!({ "target": "main", "stack": "shop" }));
        assert_eq!(good, [""; 0], "{uses}");
        let bad: Vec<String> = told(json!({ "target": "main", "stack": "shop", "to": 3 }));
        assert_eq!(bad, ["/to: is not known here; known are stack, target"], "{uses}");
    }
}
