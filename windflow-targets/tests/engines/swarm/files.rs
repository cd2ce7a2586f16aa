//! Configs and secrets: handed in, led over to new ones when their content changes, and shown to nobody.

use std::sync::Arc;

use futures_util::StreamExt as _;
use windflow_core::target::{
    Applied, Context, EnvValue, Exec, ExecEvent, FileMount, FileObject, FileSource, ServiceRef, Stack, Target as _,
    TargetErrorKind, TargetExt as _,
};
use windflow_core::{Masker, MemorySecrets, SecretSources};
use windflow_targets::swarm::SwarmTarget;

use super::place::{Place, docker, docker_says, marked, sh};

fn holding(key: &str, password: &str) -> Context {
    let secrets = MemorySecrets::new().with("db", password);
    Context::new(key).with_secrets(SecretSources::new().with("test", Arc::new(secrets)), Masker::new())
}

fn stack(place: &Place, config: &str) -> Stack {
    let mut one = sh("exec sleep 1000");
    one.environment.insert("PASSWORD".to_owned(), EnvValue::Secret("secret://test/db".parse().unwrap()));
    one.secrets = vec![FileMount { source: "password".to_owned(), mode: Some(0o400), ..FileMount::default() }];
    one.configs =
        vec![FileMount { source: "motd".to_owned(), target: Some("/etc/motd".into()), ..FileMount::default() }];
    let mut stack = place.stack([("one", one), ("other", sh("exec sleep 1000"))]);
    let file = |source| FileObject { source: Some(source), ..FileObject::default() };
    stack.configs.insert("motd".to_owned(), file(FileSource::Content(config.to_owned())));
    stack.secrets.insert("password".to_owned(), file(FileSource::Secret("secret://test/db".parse().unwrap())));
    stack
}

async fn read(target: &SwarmTarget, stack: &Stack) -> String {
    let of = ServiceRef::service(stack.name.clone(), "one".parse().unwrap());
    let command = Exec::new(["sh", "-c", "cat /etc/motd /run/secrets/password; echo; echo $PASSWORD"]);
    let session = target.exec(&Context::new("read"), &of, command).await.unwrap();
    let said = session.events.filter_map(async |event| match event.unwrap() {
        ExecEvent::Stdout(bytes) => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    });
    said.collect::<Vec<String>>().await.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_changes_is_told_and_rotated_and_its_value_is_nowhere_to_be_read() {
    let place = Place::new();
    let target = place.target();
    let stack = stack(&place, "hello\n");
    let first = holding("one", "hunter2-first");
    assert_eq!(target.deploy(&first, stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    assert_eq!(read(&target, &stack).await, "hello\nhunter2-first\nhunter2-first\n");
    let none = target.plan_for(&first, &windflow_core::target::Desired::Present(stack.clone())).await.unwrap();
    assert!(none.is_empty(), "{:?}", none.changes);
    let second = holding("two", "hunter2-second");
    let plan = target.plan_for(&second, &windflow_core::target::Desired::Present(stack.clone())).await.unwrap();
    let paths: Vec<&str> = plan.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["secrets.password", "services.one.environment.PASSWORD"]);
    assert!(!serde_json::to_string(&plan).unwrap().contains("hunter2"));
    let blind = target.plan_for(&Context::new("blind"), &plan.desired).await.unwrap();
    let needs = |told: &String| told.starts_with("secrets.password: ") && told.ends_with("; the apply needs it");
    assert!(blind.degradations.iter().any(needs), "{:?}", blind.degradations);
    let other = target.observe(&first, &stack.name).await.unwrap().services["other"].instances.clone();
    assert_eq!(target.apply(&second, &plan).await.unwrap(), Applied::Revision(Some(1)));
    assert_eq!(read(&target, &stack).await, "hello\nhunter2-second\nhunter2-second\n");
    assert_eq!(target.observe(&first, &stack.name).await.unwrap().services["other"].instances, other);
    let docker = docker().await;
    let left = marked(&docker, &place.owner, Some(stack.name.as_str())).await;
    assert_eq!(left.iter().filter(|(kind, _)| *kind == "secret").count(), 1, "the old one is gone");
    // Nothing that is kept in the Swarm shows the value, but for the variable, which the plan has said.
    assert!(plan.degradations.iter().any(|told| told.starts_with("services.one.environment.PASSWORD:")));
    for (kind, id) in left.iter().filter(|(kind, _)| *kind != "service") {
        let said = docker_says(&[*kind, "inspect", id]);
        let plain = said.contains("hunter2") || said.contains("aHVudGVyMi");
        assert!(said.contains(id) && !plain, "{kind}: {said}");
    }
    let observed = serde_json::to_string(&target.observe(&first, &stack.name).await.unwrap()).unwrap();
    assert!(!observed.contains("hunter2"), "{observed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_changes_is_another_one_and_a_secret_that_is_missing_costs_nothing() {
    let place = Place::new();
    let target = place.target();
    let cx = holding("one", "hunter2");
    target.deploy(&cx, stack(&place, "hello\n")).await.unwrap();
    let changed = stack(&place, "goodbye\n");
    let plan = target.plan_for(&cx, &windflow_core::target::Desired::Present(changed.clone())).await.unwrap();
    assert!(plan.changes.iter().any(|change| change.path == "configs.motd.source.content"), "{:?}", plan.changes);
    assert_eq!(target.apply(&holding("two", "hunter2"), &plan).await.unwrap(), Applied::Revision(Some(2)));
    assert!(read(&target, &changed).await.starts_with("goodbye\n"));
    let before = target.observe(&cx, &changed.name).await.unwrap();
    let without = Context::new("three");
    let error = target.deploy(&without, stack(&place, "again\n")).await.unwrap_err();
    assert!(error.to_string().contains("services.one.environment.PASSWORD: "), "{error}");
    assert!(matches!(&error, windflow_core::target::PlanError::Target(e) if e.kind == TargetErrorKind::Refused));
    assert_eq!(target.observe(&cx, &changed.name).await.unwrap(), before);
}
