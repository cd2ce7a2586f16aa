//! A secret that has another value under the same reference: it is told, and who holds it is made anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use windflow_core::secret::MemorySecrets;
use windflow_core::target::{
    Applied, ChangeKind, Context, Desired, EnvValue, FileMount, FileObject, FileSource, Service, Stack, Target as _,
    TargetExt as _,
};
use windflow_core::{Masker, SecretSources};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, cx, docker, idle, stack};

/// A call that finds these values.
fn with(key: &str, token: &str, key_file: &str) -> Context {
    let secrets = MemorySecrets::new().with("token", token).with("key", key_file);
    cx(key).with_secrets(SecretSources::new().with("memory", Arc::new(secrets)), Masker::new())
}

fn with_file(source: &str) -> Service {
    let mount = FileMount { source: source.to_owned(), ..FileMount::default() };
    let mut service = idle();
    match source {
        "settings" => service.configs = vec![mount],
        _ => service.secrets = vec![mount],
    }
    service
}

fn vault() -> Stack {
    let token = || "secret://memory/token".parse().unwrap();
    let from = |reference| FileObject { source: Some(FileSource::Secret(reference)), ..FileObject::default() };
    let mut api = idle();
    api.environment.insert("TOKEN".to_owned(), EnvValue::Secret(token()));
    let all = [("api", api), ("file", with_file("key")), ("config", with_file("settings")), ("none", idle())];
    let mut vault = stack("vault", all);
    vault.secrets.insert("key".to_owned(), from("secret://memory/key".parse().unwrap()));
    vault.configs.insert("settings".to_owned(), from(token()));
    vault
}

async fn ids(target: &DockerTarget, stack: &Stack) -> BTreeMap<String, String> {
    let observed = target.observe(&cx("ids"), &stack.name).await.unwrap();
    let id = |name: &windflow_core::ServiceName| observed.services[name].instances[0].id.clone();
    observed.services.keys().map(|name| (name.to_string(), id(name))).collect()
}

/// The services whose containers are others now.
fn replaced(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    before.keys().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_value_under_the_same_reference_is_told_and_replaces_who_holds_it_and_nobody_else() {
    let place = Place::new();
    let target = place.target();
    let vault = vault();
    let wanted = Desired::Present(vault.clone());
    target.deploy(&with("one", "value-one", "key-one"), vault.clone()).await.unwrap();
    let before = ids(&target, &vault).await;
    let same = target.plan_for(&with("same", "value-one", "key-one"), &wanted).await.unwrap();
    assert!(same.is_empty(), "{:?}", same.changes);

    let two = with("two", "value-two", "key-one");
    let plan = target.plan_for(&two, &wanted).await.unwrap();
    let told: Vec<(ChangeKind, &str)> = plan.changes.iter().map(|change| (change.kind, change.path.as_str())).collect();
    let expected = ["services.api.environment.TOKEN", "services.config.configs.settings"];
    assert_eq!(told, expected.map(|path| (ChangeKind::Replace, path)));
    for change in &plan.changes {
        assert!(
            change.note.as_deref().unwrap_or_default().contains("the value of the secret has changed"),
            "{change:?}"
        );
    }
    assert!(!format!("{plan:?}").contains("value-"), "a plan shows no value: {plan:?}");
    assert_eq!(target.apply(&two, &plan).await.unwrap(), Applied::Revision(Some(1)), "it stays the revision it is");
    let after = ids(&target, &vault).await;
    assert_eq!(replaced(&before, &after), ["api", "config"]);
    assert!(docker(&["exec", &after["api"], "env"]).contains("TOKEN=value-two"));
    assert_eq!(docker(&["exec", &after["config"], "cat", "/settings"]), "value-two");
    let again = target.plan_for(&with("again", "value-two", "key-one"), &wanted).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);

    // Drift tells it too; a secret that is not there is no change, and told as what an apply needs.
    let drift = target.drift(&with("drift", "value-two", "key-two"), &vault.name).await.unwrap();
    let paths: Vec<&str> = drift.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["services.file.secrets.key"]);
    let blind = target.plan_for(&cx("blind"), &wanted).await.unwrap();
    assert!(blind.is_empty(), "{:?}", blind.changes);
    let told =
        |path: &str| blind.degradations.iter().any(|told| told.starts_with(path) && told.contains("the apply needs"));
    for path in ["services.api.environment.TOKEN: ", "secrets.key: ", "configs.settings: "] {
        assert!(told(path), "a plan says what an apply will not find: {:?}", blind.degradations);
    }
    for id in after.values() {
        let labels = docker(&["inspect", "-f", "{{json .Config.Labels}}", id]);
        assert!(!labels.contains("value-") && !labels.contains("key-one"), "{labels}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_leaves_what_runs_with_an_older_value_alone() {
    let place = Place::new();
    let target = place.target();
    let vault = vault();
    target.deploy(&with("one", "value-one", "key-one"), vault.clone()).await.unwrap();
    let before = ids(&target, &vault).await;
    let mut broken = vault.clone();
    let api = broken.services.remove("api").unwrap();
    broken
        .services
        .insert("api".parse().unwrap(), Service { image: Some("wf-broken:1".to_owned()), command: None, ..api });
    // Nothing else is touched before this has failed.
    for name in ["config", "file", "none"] {
        let service = broken.services.remove(name).unwrap();
        let needing = super::place::needing(service, "api", windflow_core::target::Condition::ServiceHealthy);
        broken.services.insert(name.parse().unwrap(), needing);
    }
    let back = target.deploy(&with("two", "value-two", "key-two"), broken).await.unwrap();
    assert!(matches!(back, Applied::RolledBack { to: Some(1), .. }), "{back:?}");
    assert_eq!(replaced(&before, &ids(&target, &vault).await), [""; 0]);
}
