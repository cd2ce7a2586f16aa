//! `deploy` and `destroy`, on a target in memory.

use std::sync::Arc;

use serde_json::{Value, json};
use windflow_core::action::Services;
use windflow_core::target::{Context, MemoryTarget, Service, Stack, Target, TargetExt as _};
use windflow_core::{
    Action, ErrorClass, Outcome, OwnerId, Seen, ServiceName, StackName, StepContext, TargetName, Undone,
};
use windflow_workflow::actions::{DeployAction, DestroyAction};

fn target() -> MemoryTarget {
    MemoryTarget::new(TargetName::new("local").unwrap(), OwnerId::new("tests").unwrap())
}

fn stack(version: &str, health: &str) -> Stack {
    let labels = [("windflow.memory.health".to_owned(), health.to_owned())].into();
    let service = |image: String| Service { image: Some(image), labels, ..Service::default() };
    let services = [
        (ServiceName::new("db").unwrap(), Service { image: Some("db:1".into()), ..Service::default() }),
        (ServiceName::new("web").unwrap(), service(format!("web:{version}"))),
    ];
    Stack::new(StackName::new("shop").unwrap(), services.into())
}

fn name() -> StackName {
    StackName::new("shop").unwrap()
}

fn input(version: &str) -> Value {
    json!({"target": "local", "stack": stack(version, "healthy")})
}

fn cx(target: &MemoryTarget, checkpoint: Option<Value>) -> StepContext {
    let shared: Arc<dyn Target> = Arc::new(target.clone());
    let services = Services { targets: [(target.name().clone(), shared)].into(), ..Services::default() };
    let builder = super::builder(services);
    let builder = match checkpoint {
        Some(value) => builder.last_checkpoint(value),
        None => builder,
    };
    builder.build().0
}

/// What a first attempt leaves as its checkpoint when `base` was current before.
fn noted(base: Option<(u64, Stack)>) -> Value {
    let (revision, stack) = base.unzip();
    json!({
        "key": "run/step/0",
        "intent": windflow_core::ContentHash::of(b"any"),
        "revision": revision,
        "stack": stack,
    })
}

async fn current(target: &MemoryTarget) -> Option<String> {
    let observed = target.observe(&Context::new("look"), &name()).await.unwrap();
    let web = observed.current?.stack.services.remove(&ServiceName::new("web").unwrap())?;
    web.image
}

#[tokio::test]
async fn a_stack_is_deployed_once_and_seen_afterwards() {
    let target = target();
    let Outcome::Done(output) = DeployAction::default().perform(&cx(&target, None), input("1")).await.unwrap() else {
        panic!()
    };
    assert_eq!(
        (&output["target"], &output["stack"], &output["revision"]),
        (&json!("local"), &json!("shop"), &json!(1))
    );
    assert!(!output["changes"].as_array().unwrap().is_empty());
    assert!(output["endpoints"].as_object().unwrap().contains_key("web"));
    let seen = DeployAction::default().observe(&cx(&target, Some(noted(None))), &input("1")).await.unwrap();
    assert!(matches!(seen, Seen::Happened(output) if output["revision"] == json!(1)));
    let mutations = target.mutations();
    // After a crash that lost the answer: the next attempt finds its own revision and changes nothing.
    let again = DeployAction::default().perform(&cx(&target, Some(noted(None))), input("1")).await.unwrap();
    assert!(matches!(again, Outcome::Done(output) if output["revision"] == json!(1)));
    assert_eq!(target.mutations(), mutations);
    assert_eq!(DeployAction::default().observe(&cx(&target, None), &input("2")).await.unwrap(), Seen::DidNot);
}

#[tokio::test]
async fn an_apply_cut_anywhere_is_finished_by_the_next_attempt_and_undone_by_a_compensation() {
    let (mut cuts, mut reversed) = (0, 0);
    for n in 1..20 {
        let target = target();
        target.deploy(&Context::new("before"), stack("1", "healthy")).await.unwrap();
        target.faults().cut_at(n);
        let first = DeployAction::default().perform(&cx(&target, None), input("2")).await;
        let base = noted(Some((1, stack("1", "healthy"))));
        // Past the last change there is nothing left to cut.
        let Err(error) = first else { break };
        assert_eq!(error.class, ErrorClass::Unknown, "{error}");
        cuts += 1;
        if n % 2 == 0 {
            let done = DeployAction::default().perform(&cx(&target, Some(base.clone())), input("2")).await.unwrap();
            assert!(matches!(done, Outcome::Done(_)));
            assert_eq!(current(&target).await.as_deref(), Some("web:2"), "cut {n}");
        }
        let undone =
            DeployAction::default().compensate(&cx(&target, Some(base.clone())), &input("2"), None).await.unwrap();
        // A cut before any service was touched leaves nothing to undo.
        assert!(matches!(undone, Undone::Reversed | Undone::NothingToUndo), "cut {n}");
        reversed += u32::from(undone == Undone::Reversed);
        assert_eq!(current(&target).await.as_deref(), Some("web:1"), "cut {n}");
        let again = DeployAction::default().compensate(&cx(&target, Some(base)), &input("2"), None).await.unwrap();
        assert_eq!(again, Undone::NothingToUndo, "cut {n}");
    }
    assert!(cuts >= 2 && reversed >= 1, "{cuts} cuts, {reversed} reversed");
}

#[tokio::test]
async fn a_first_deployment_is_undone_to_nothing() {
    let target = target();
    DeployAction::default().perform(&cx(&target, None), input("1")).await.unwrap();
    let undone = DeployAction::default().compensate(&cx(&target, Some(noted(None))), &input("1"), None).await.unwrap();
    assert_eq!(undone, Undone::Reversed);
    assert!(target.observe(&Context::new("look"), &name()).await.unwrap().is_absent());
    // Without a checkpoint nothing was begun.
    let undone = DeployAction::default().compensate(&cx(&target, None), &input("1"), None).await.unwrap();
    assert_eq!(undone, Undone::NothingToUndo);
}

#[tokio::test]
async fn a_target_that_went_back_by_itself_fails_the_step_and_leaves_nothing_to_undo() {
    let target = target();
    target.deploy(&Context::new("before"), stack("1", "healthy")).await.unwrap();
    let broken = json!({"target": "local", "stack": stack("2", "failed")});
    let error = DeployAction::default().perform(&cx(&target, None), broken.clone()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Terminal, "{error}");
    let base = noted(Some((1, stack("1", "healthy"))));
    let undone = DeployAction::default().compensate(&cx(&target, Some(base)), &broken, None).await.unwrap();
    assert_eq!((undone, current(&target).await.as_deref()), (Undone::NothingToUndo, Some("web:1")));
}

#[tokio::test]
async fn what_somebody_else_deployed_since_is_left_as_it_is() {
    let target = target();
    DeployAction::default().perform(&cx(&target, None), input("1")).await.unwrap();
    target.deploy(&Context::new("somebody else"), stack("9", "healthy")).await.unwrap();
    let undone = DeployAction::default().compensate(&cx(&target, Some(noted(None))), &input("1"), None).await.unwrap();
    assert!(matches!(undone, Undone::NotUndoable { .. }), "{undone:?}");
    assert_eq!(current(&target).await.as_deref(), Some("web:9"));
}

#[tokio::test]
async fn a_stack_is_taken_down_and_brought_back() {
    let target = target();
    target.deploy(&Context::new("before"), stack("1", "healthy")).await.unwrap();
    let input = json!({"target": "local", "stack": "shop"});
    let Outcome::Done(output) = DestroyAction.perform(&cx(&target, None), input.clone()).await.unwrap() else {
        panic!()
    };
    assert_eq!(output["revision"], 1);
    assert_eq!(current(&target).await, None);
    let last = json!({"revision": 1, "stack": stack("1", "healthy")});
    let seen = DestroyAction.observe(&cx(&target, Some(last.clone())), &input).await.unwrap();
    assert!(matches!(seen, Seen::Happened(output) if output["revision"] == json!(1)));
    let undone = DestroyAction.compensate(&cx(&target, Some(last.clone())), &input, None).await.unwrap();
    assert_eq!((undone, current(&target).await.as_deref()), (Undone::Reversed, Some("web:1")));
    let undone = DestroyAction.compensate(&cx(&target, Some(last)), &input, None).await.unwrap();
    assert_eq!(undone, Undone::NothingToUndo);
}

#[tokio::test]
async fn an_unknown_target_names_the_known_ones_and_inputs_are_checked() {
    let error = DeployAction::default()
        .perform(&cx(&target(), None), json!({"target": "moon", "stack": stack("1", "healthy")}))
        .await
        .unwrap_err();
    assert_eq!((error.class, error.hint.as_deref()), (ErrorClass::Terminal, Some("known targets: local")));
    assert_eq!(DeployAction::default().check(&input("1")), []);
    for (bad, path) in [
        (json!({"target": "local"}), "/stack"),
        (json!({"target": "a b", "stack": "compose.yaml"}), "/target"),
        (json!({"target": "local", "stack": {"name": "x", "services": {"web": {"imagge": "y"}}}}), "/stack"),
        (json!({"target": "local", "stack": "x", "allow_destroy": "volume"}), "/allow_destroy"),
        (json!({"target": "local", "stack": "x", "force": true}), "/force"),
    ] {
        let problems = DeployAction::default().check(&bad);
        assert!(problems.iter().any(|(at, _)| at == path), "{bad}: {problems:?}");
    }
    assert_eq!(DestroyAction.check(&json!({"target": "local", "stack": "a b"})).len(), 1);
}
