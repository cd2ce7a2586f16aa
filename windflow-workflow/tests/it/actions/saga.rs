//! One stack on several targets in one run.

use std::sync::Arc;

use windflow_core::{Event, Node, Retry, RunState, Workflow};

use super::world::{World, input};

/// A release of `version` to three targets, one after the other; the third gets `third`.
fn release(version: &str, third: &str) -> Arc<Workflow> {
    let node = |name: &str, target: &str, version: &str| {
        Node::new(name, "deploy").input(input(target, version)).retry(Retry::attempts(1))
    };
    Workflow::builder("release")
        .node(node("one", "local", version))
        .node(node("two", "docker", version).needs(["one"]))
        .node(node("three", "swarm", third).needs(["two"]))
        .build()
        .unwrap()
}

const TARGETS: [&str; 3] = ["local", "docker", "swarm"];

async fn before() -> World {
    let world = World::of(&TARGETS);
    for target in TARGETS {
        world.deploy(target, "1").await;
    }
    world
}

async fn versions(world: &World) -> Vec<Option<String>> {
    let mut versions = Vec::new();
    for target in TARGETS {
        versions.push(world.version(target).await);
    }
    versions
}

#[tokio::test(start_paused = true)]
async fn when_the_third_fails_the_others_return_to_what_they_were_in_reverse_order() {
    let world = before().await;
    let workflow = release("2", "broken");
    let (report, events) = world.run(&workflow).await;
    assert_eq!(report.state, RunState::Compensated, "{:?}", report.leftovers);
    let undone = events.iter().filter_map(|event| match event {
        Event::Undone { node, .. } => Some(workflow.node(*node).name.as_str()),
        _ => None,
    });
    assert_eq!(undone.collect::<Vec<_>>(), ["three", "two", "one"]);
    assert_eq!(versions(&world).await, vec![Some("1".to_owned()); 3]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_killed_at_any_event_ends_in_all_new_or_all_old() {
    for (third, expected) in [("2", "2"), ("broken", "1")] {
        let mut kills = 0;
        for at in 1.. {
            let world = before().await;
            let (report, _, died) = world.killed_at(&release("2", third), at).await;
            let state = if third == "2" { RunState::Succeeded } else { RunState::Compensated };
            assert_eq!(report.state, state, "{at}: {:?} {:?}", report.problem, report.leftovers);
            assert_eq!(versions(&world).await, vec![Some(expected.to_owned()); 3], "{at}");
            if !died {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 10, "{kills} kills");
    }
}
