//! Where `deploy` goes when its target cannot be reached, through the real engine.

use std::sync::Arc;

use serde_json::{Value, json};
use windflow_core::target::{Context, MemoryPlacements, Placements as _, Target as _, TargetExt as _};
use windflow_core::{Action, Node, Retry, RunState, Workflow};
use windflow_workflow::ActionOptions;
use windflow_workflow::actions::DeployAction;

use super::world::{World, checkpoints, input, outputs, stack};

fn falling_back(version: &str, allow_two_copies: bool) -> Value {
    let mut input = input("main", version);
    input["fallback"] = json!(["spare", "last"]);
    input["allow_two_copies"] = json!(allow_two_copies);
    input
}

fn deploys(input: Value) -> Arc<Workflow> {
    let web = Node::new("web", "deploy").input(input).retry(Retry::attempts(2));
    Workflow::builder("release").node(web).build().unwrap()
}

/// A node more, which fails after the deployment.
fn deploys_and_fails(input: Value) -> Arc<Workflow> {
    let web = Node::new("web", "deploy").input(input).retry(Retry::attempts(2));
    let broken = Node::new("broken", "deploy").input(super::world::input("last", "broken")).needs(["web"]);
    Workflow::builder("release").node(web).node(broken).build().unwrap()
}

fn world() -> World {
    World::of(&["main", "spare", "last"])
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_reached_is_passed_over_and_the_journal_says_so() {
    let world = world();
    world.target("main").faults().set_unreachable(true);
    let (report, events) = world.run(&deploys(falling_back("2", true))).await;
    assert_eq!(report.state, RunState::Succeeded, "{:?}", report.problem);
    let output = &outputs(&events)[0];
    assert_eq!((&output["target"], &output["fallback_from"]), (&json!("spare"), &json!("main")));
    assert_eq!((&output["revision"], &output["returned_from"]), (&json!(1), &json!([])));
    let noted = &checkpoints(&events)[0];
    assert_eq!((&noted["target"], &noted["fallback_from"]), (&json!("spare"), &json!("main")));
    assert_eq!((world.version("main").await, world.version("spare").await.as_deref()), (None, Some("2")));
}

#[tokio::test(start_paused = true)]
async fn the_list_is_followed_to_its_end() {
    let world = world();
    for gone in ["main", "spare"] {
        world.target(gone).faults().set_unreachable(true);
    }
    let (report, events) = world.run(&deploys(falling_back("2", true))).await;
    assert_eq!(report.state, RunState::Succeeded);
    assert_eq!(outputs(&events)[0]["target"], json!("last"));
    for gone in ["main", "spare", "last"] {
        world.target(gone).faults().set_unreachable(true);
    }
    let (report, _) = world.run(&deploys(falling_back("3", true))).await;
    assert_eq!(report.state, RunState::Compensated);
    assert_eq!(world.version("last").await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_may_still_run_the_stack_keeps_it() {
    // Nobody has seen that it is absent.
    let world = world();
    world.deploy("main", "1").await;
    world.target("main").faults().set_unreachable(true);
    let (report, events) = world.run(&deploys(falling_back("2", false))).await;
    assert_eq!(report.state, RunState::Compensated);
    assert!(report.problem.as_ref().unwrap().contains("the target does not answer"), "{:?}", report.problem);
    let told = events.iter().find_map(|event| match event {
        windflow_core::Event::Failed { error, .. } => error.hint.clone(),
        _ => None,
    });
    let hint = "main may still run shop, so it is not deployed on spare; 'allow_two_copies: true' says that two copies do no harm";
    assert_eq!(told.as_deref(), Some(hint));
    assert_eq!((world.version("main").await.as_deref(), world.version("spare").await), (Some("1"), None));
}

#[tokio::test(start_paused = true)]
async fn a_memory_tells_where_the_stack_was() {
    for (held, lands) in [("main", false), ("spare", true)] {
        let world = world();
        world.target("main").faults().set_unreachable(true);
        let placements = MemoryPlacements::new();
        placements.note(&held.parse().unwrap(), &stack("2").name, true).unwrap();
        let options = ActionOptions::default().placements(Arc::new(placements));
        let (report, _) = world.run_with(&deploys(falling_back("2", false)), options).await;
        assert_eq!(report.state == RunState::Succeeded, lands);
        assert_eq!(world.version("spare").await.is_some(), lands);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_target_answers_is_no_reason_to_go_elsewhere() {
    let mut unknown_field = falling_back("2", true);
    unknown_field["stack"]["services"]["web"]["user"] = json!("nobody");
    for input in [falling_back("broken", true), unknown_field] {
        let world = world();
        let (report, _) = world.run(&deploys(input)).await;
        assert_eq!(report.state, RunState::Compensated);
        assert_eq!((world.version("main").await, world.version("spare").await), (None, None));
    }
    let world = world();
    world.target("main").faults().fail_at(1);
    let (report, events) = world.run(&deploys(falling_back("2", true))).await;
    assert_eq!(report.state, RunState::Succeeded, "a failure that may pass is tried again");
    assert_eq!(outputs(&events)[0]["target"], json!("main"));
}

#[tokio::test(start_paused = true)]
async fn it_is_undone_where_it_landed() {
    let world = world();
    world.deploy("main", "1").await;
    world.deploy("spare", "0").await;
    world.target("main").faults().set_unreachable(true);
    let (report, _) = world.run(&deploys_and_fails(falling_back("2", true))).await;
    assert_eq!(report.state, RunState::Compensated, "{:?}", report.leftovers);
    assert_eq!(world.version("main").await.as_deref(), Some("1"));
    assert_eq!(world.version("spare").await.as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_later_deployment_comes_back_and_its_undoing_restores_both() {
    let world = world();
    world.target("main").faults().set_unreachable(true);
    world.run(&deploys(falling_back("1", true))).await;
    assert_eq!(world.version("spare").await.as_deref(), Some("1"));
    world.target("main").faults().set_unreachable(false);
    // Somebody's own deployment on the other fallback is no copy of ours to come back from.
    world.deploy("last", "own").await;
    let (report, _) = world.run(&deploys_and_fails(falling_back("2", true))).await;
    assert_eq!(report.state, RunState::Compensated, "{:?}", report.leftovers);
    assert_eq!((world.version("main").await, world.version("spare").await.as_deref()), (None, Some("1")));

    // What was brought back does not carry the mark: it is fallen back to once more, to be returned from.
    world.target("spare").destroy(&Context::new("gone"), &stack("1").name).await.unwrap();
    world.target("main").faults().set_unreachable(true);
    world.run(&deploys(falling_back("1", true))).await;
    world.target("main").faults().set_unreachable(false);
    let (report, events) = world.run(&deploys(falling_back("2", false))).await;
    assert_eq!(report.state, RunState::Succeeded, "{:?}", report.problem);
    let output = &outputs(&events)[0];
    assert_eq!((&output["target"], &output["fallback_from"]), (&json!("main"), &Value::Null));
    assert_eq!((&output["returned_from"], &output["left_on"]), (&json!(["spare"]), &json!([])));
    assert_eq!((world.version("main").await.as_deref(), world.version("spare").await), (Some("2"), None));
    assert_eq!(world.version("last").await.as_deref(), Some("own"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_looked_at_is_left_and_told() {
    let world = world();
    world.target("spare").faults().set_unreachable(true);
    let (report, events) = world.run(&deploys(falling_back("1", false))).await;
    assert_eq!(report.state, RunState::Succeeded);
    let left = json!([{ "target": "spare", "why": "the target does not answer" }]);
    assert_eq!(outputs(&events)[0]["left_on"], left);
}

#[tokio::test(start_paused = true)]
async fn an_engine_killed_at_any_event_of_a_fallback_or_a_return_ends_in_one_place() {
    let (mut kills, mut returns) = (0, 0);
    for at in 1.. {
        let world = world();
        world.target("main").faults().set_unreachable(true);
        let (report, _, fell) = world.killed_at(&deploys(falling_back("1", true)), at).await;
        assert_eq!(report.state, RunState::Succeeded, "{at}: {:?}", report.problem);
        assert_eq!(world.version("spare").await.as_deref(), Some("1"), "{at}");
        let made = world.target("spare").revisions(&Context::new("list"), &stack("1").name).await.unwrap();
        assert_eq!(made.len(), 1, "{at}");
        world.target("main").faults().set_unreachable(false);
        let (report, events, came) = world.killed_at(&deploys(falling_back("2", false)), at).await;
        assert_eq!(report.state, RunState::Succeeded, "{at}: {:?}", report.problem);
        assert_eq!(world.version("main").await.as_deref(), Some("2"), "{at}");
        assert_eq!(world.version("spare").await, None, "{at}");
        assert_eq!(outputs(&events)[0]["returned_from"], json!(["spare"]), "{at}");
        kills += u32::from(fell);
        returns += u32::from(came);
        if !fell && !came {
            break;
        }
    }
    assert!(kills >= 3 && returns >= 4, "{kills} kills, {returns} on the way back");
}

#[test]
fn the_list_is_checked() {
    let check = |fallback: Value, two: Value| {
        let mut input = input("main", "1");
        (input["fallback"], input["allow_two_copies"]) = (fallback, two);
        let told = DeployAction::default().check(&input);
        told.into_iter().map(|(path, why)| format!("{path}: {why}")).collect::<Vec<_>>()
    };
    assert_eq!(check(json!(["spare", "${{ inputs.last }}"]), json!(true)), [""; 0]);
    let agreed = |what: Value| json!(["last", { "target": "spare", "allow_destroy": what }]);
    assert_eq!(check(agreed(json!(["volume"])), json!(true)), [""; 0]);
    assert_eq!(
        check(agreed(json!("volume")), json!(true)),
        ["/fallback: 'allow_destroy' must be a list such as [volume]"]
    );
    let unknown = check(json!([{ "target": "spare", "allow": [] }]), json!(true));
    assert_eq!(unknown, ["/fallback: 'allow' is no key of a fallback (known: target, allow_destroy)"]);
    assert_eq!(
        check(json!([{ "target": "main" }]), json!(true)),
        ["/fallback: names 'main' twice, or the target itself"]
    );
    assert_eq!(check(json!(["main"]), json!(false)), ["/fallback: names 'main' twice, or the target itself"]);
    assert_eq!(check(json!([]), json!(true)), ["/fallback: must be a list of targets such as [other]"]);
    assert_eq!(check(json!(["spare"]), json!("yes")), ["/allow_two_copies: must be true or false"]);
}
