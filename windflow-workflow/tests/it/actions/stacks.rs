//! `wait_healthy`, `scale`, `rollback`, `exec` and `adopt`, through the real engine.

use std::sync::Arc;

use serde_json::{Value, json};
use windflow_core::target::{Context, MEMORY_HEALTH_LABEL, Target as _, TargetExt as _};
use windflow_core::{Event, Node, OwnerId, Retry, RunState, Workflow};
use windflow_workflow::{ActionOptions, builtin_actions};

use super::world::{World, name, outputs, stack};

fn one(uses: &str, input: Value) -> Arc<Workflow> {
    Workflow::builder("one").node(Node::new("a", uses).input(input).retry(Retry::attempts(2))).build().unwrap()
}

/// The same, and then something that fails.
fn taken_back(uses: &str, input: Value) -> Arc<Workflow> {
    let broken = Node::new("broken", "deploy").input(super::world::input("other", "broken")).needs(["a"]);
    let first = Node::new("a", uses).input(input).retry(Retry::attempts(2));
    Workflow::builder("two").node(first).node(broken).build().unwrap()
}

fn on_main(more: Value) -> Value {
    let mut input = json!({ "target": "main", "stack": "shop" });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

async fn deployed(versions: &[&str]) -> World {
    let world = World::of(&["main", "other"]);
    for version in versions {
        world.deploy("main", version).await;
    }
    world
}

async fn replicas(world: &World) -> usize {
    let observed = world.target("main").observe(&Context::new("look"), &name()).await.unwrap();
    observed.services["web"].instances.len()
}

fn error_of(events: &[Event]) -> (String, String) {
    let error = events.iter().rev().find_map(|event| match event {
        Event::Failed { error, .. } => Some((error.code.clone(), error.to_string())),
        _ => None,
    });
    error.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_scaled_and_scaled_back() {
    let world = deployed(&["1"]).await;
    let scale = on_main(json!({ "service": "web", "replicas": 3 }));
    let (report, events) = world.run(&one("scale", scale.clone())).await;
    assert_eq!(report.state, RunState::Succeeded, "{:?}", report.problem);
    let output = &outputs(&events)[0];
    assert_eq!((&output["before"], &output["replicas"], &output["revision"]), (&json!(1), &json!(3), &json!(2)));
    assert_eq!(replicas(&world).await, 3);
    let scale = on_main(json!({ "service": "web", "replicas": 5 }));
    let (report, _) = world.run(&taken_back("scale", scale)).await;
    assert_eq!((report.state, replicas(&world).await), (RunState::Compensated, 3), "{:?}", report.leftovers);
    let (_, events) = world.run(&one("scale", on_main(json!({ "service": "db", "replicas": 5 })))).await;
    assert_eq!(error_of(&events).1, "main/shop: there is no service 'db'");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_goes_back_once_and_forward_again_when_undone() {
    let world = deployed(&["1", "2"]).await;
    let (report, events) = world.run(&one("rollback", on_main(json!({})))).await;
    assert_eq!(report.state, RunState::Succeeded, "{:?}", report.problem);
    assert_eq!((&outputs(&events)[0]["from"], &outputs(&events)[0]["revision"]), (&json!(2), &json!(3)));
    assert_eq!(world.version("main").await.as_deref(), Some("1"));
    let (report, _) = world.run(&taken_back("rollback", on_main(json!({ "to": 2 })))).await;
    assert_eq!(report.state, RunState::Compensated, "{:?}", report.leftovers);
    assert_eq!(world.version("main").await.as_deref(), Some("1"));
    let (_, events) = world.run(&one("rollback", on_main(json!({ "to": 9 })))).await;
    assert_eq!(error_of(&events).0, "target.not_found");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_or_a_scale_killed_at_any_event_happens_once() {
    for (uses, more) in [("rollback", json!({})), ("scale", json!({ "service": "web", "replicas": 2 }))] {
        let mut kills = 0;
        for at in 1.. {
            let world = deployed(&["0", "1", "2"]).await;
            let (report, _, died) = world.killed_at(&one(uses, on_main(more.clone())), at).await;
            assert_eq!(report.state, RunState::Succeeded, "{uses} {at}: {:?}", report.problem);
            let kept = world.target("main").revisions(&Context::new("list"), &name()).await.unwrap();
            assert_eq!(kept.len(), 4, "{uses} {at}");
            // Not the one before the one before.
            let version = if uses == "rollback" { "1" } else { "2" };
            assert_eq!(world.version("main").await.as_deref(), Some(version), "{uses} {at}");
            if !died {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 4, "{uses}: {kills} kills");
    }
}

#[tokio::test(start_paused = true)]
async fn steps_on_one_stack_are_undone_one_after_the_other() {
    let world = deployed(&["1"]).await;
    let step = |name: &str, uses: &str, input: Value| Node::new(name, uses).input(input).retry(Retry::attempts(1));
    let workflow = Workflow::builder("many")
        .node(step("two", "deploy", super::world::input("main", "2")))
        .node(step("three", "deploy", super::world::input("main", "3")).needs(["two"]))
        .node(step("more", "scale", on_main(json!({ "service": "web", "replicas": 2 }))).needs(["three"]))
        .node(step("gone", "destroy", on_main(json!({}))).needs(["more"]))
        .node(step("broken", "deploy", super::world::input("other", "broken")).needs(["gone"]))
        .build()
        .unwrap();
    let (report, _) = world.run(&workflow).await;
    assert_eq!((report.state, &report.leftovers), (RunState::Compensated, &Vec::new()));
    assert_eq!((world.version("main").await.as_deref(), replicas(&world).await), (Some("1"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_stack_is_waited_for_until_it_is_healthy_or_never_will_be() {
    let world = deployed(&["1"]).await;
    let web = "web".parse().unwrap();
    let label = |health: &'static str| {
        world.target("main").meddle(&name(), &web, |service| {
            service.labels.insert(MEMORY_HEALTH_LABEL.to_owned(), health.to_owned());
        })
    };
    assert!(label("starting"));
    let engine = world.engine(ActionOptions::default(), None);
    let handle = engine.start(one("wait_healthy", on_main(json!({}))), Value::Null).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.summary().await.unwrap().state, RunState::Running);
    label("healthy");
    assert_eq!(handle.wait().await.unwrap().state, RunState::Succeeded);
    label("failed");
    let (report, events) = world.run(&one("wait_healthy", on_main(json!({})))).await;
    assert_eq!((report.state, &*error_of(&events).0), (RunState::Compensated, "target.unhealthy"));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_runs_is_adopted_and_cannot_be_given_back() {
    let world = deployed(&[]).await;
    let theirs = world.target("main").for_owner(OwnerId::new("somebody").unwrap());
    theirs.deploy(&Context::new("theirs"), stack("1")).await.unwrap();
    let input = json!({ "target": "main", "stack": stack("1") });
    let (report, events) = world.run(&one("adopt", input.clone())).await;
    assert_eq!(report.state, RunState::Succeeded, "{:?}", report.problem);
    let output = &outputs(&events)[0];
    assert_eq!((&output["revision"], &output["owner"]), (&json!(1), &json!("somebody")));
    assert_eq!(world.version("main").await.as_deref(), Some("1"));
    let (_, events) = world.run(&one("adopt", input.clone())).await;
    let (code, told) = error_of(&events);
    assert_eq!(
        (&*code, &*told),
        ("adopt.not_found", "main runs nothing called 'shop' that is not ours (found there: nothing)")
    );
    let world = deployed(&[]).await;
    for owner in ["ada", "bob"] {
        let theirs = world.target("main").for_owner(OwnerId::new(owner).unwrap());
        theirs.deploy(&Context::new("theirs"), stack("1")).await.unwrap();
    }
    let (_, events) = world.run(&one("adopt", input.clone())).await;
    let (code, told) = error_of(&events);
    assert_eq!(code, "adopt.ambiguous");
    assert!(told.ends_with("(say whose it is with 'owner'; found there: shop of ada, shop of bob)"), "{told}");
    let mut of_bob = input;
    of_bob["owner"] = json!("bob");
    let (report, _) = world.run(&taken_back("adopt", of_bob)).await;
    let why = "what was taken over cannot be given back; it runs as before";
    assert_eq!(report.leftovers.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>(), [why]);
    assert_eq!(world.version("main").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_command_on_a_target_that_runs_none_fails_for_good() {
    let world = deployed(&["1"]).await;
    let input = on_main(json!({ "service": "web", "argv": ["true"] }));
    let (report, events) = world.run(&one("exec", input)).await;
    assert_eq!(report.state, RunState::Compensated);
    assert_eq!(error_of(&events).0, "target.unsupported");
}

#[test]
fn their_inputs_are_checked() {
    let registry = builtin_actions(ActionOptions::default());
    let told = |uses: &str, input: Value| {
        let action = registry.get(&uses.parse().unwrap()).unwrap();
        action.check(&input).into_iter().map(|(path, why)| format!("{path}: {why}")).collect::<Vec<_>>()
    };
    for (uses, more, wrong) in [
        ("scale", json!({ "service": "web", "replicas": 2 }), None),
        ("scale", json!({ "service": "web", "replicas": "${{ inputs.n }}" }), None),
        ("scale", json!({ "service": "web" }), Some("/replicas: is missing")),
        ("scale", json!({ "service": "web", "replicas": -1 }), Some("/replicas: must be a whole number")),
        ("rollback", json!({ "to": 3, "allow_destroy": ["volume"] }), None),
        ("rollback", json!({ "to": 0 }), Some("/to: must be the number of a revision, 1 or more")),
        ("wait_healthy", json!({}), None),
        ("wait_healthy", json!({ "service": "web" }), Some("/service: is not known here; known are stack, target")),
        ("exec", json!({ "service": "web", "argv": ["true"], "expect": { "exit": [0, 3] } }), None),
        (
            "exec",
            json!({ "service": "web", "argv": [] }),
            Some("/argv: must be a list: the program, then its arguments"),
        ),
        (
            "exec",
            json!({ "service": "web", "argv": ["login", "secret://env/TOKEN"] }),
            Some("/argv: must not hold secrets: arguments can be read by others; give them in 'env'"),
        ),
        ("adopt", json!({ "owner": "bob", "found": "a b" }), Some("/found: ")),
    ] {
        let told = told(uses, on_main(more.clone()));
        match wrong {
            None => assert_eq!(told, [""; 0], "{uses} {more}"),
            Some(wrong) => assert!(told.len() == 1 && told[0].starts_with(wrong), "{uses} {more}: {told:?}"),
        }
    }
}
