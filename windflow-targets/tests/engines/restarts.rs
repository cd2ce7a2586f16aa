//! `depends_on` with `restart: true`, on both engines: what depends goes along, is told to, and nothing else does.

use std::collections::BTreeMap;

use windflow_core::ServiceName;
use windflow_core::target::{
    Applied, Change, ChangeKind, Condition, Context, Dependency, Desired, EnvValue, Service, Stack, Target,
    TargetExt as _,
};

use crate::{docker, swarm};

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn needing(mut service: Service, need: &str, restart: bool) -> Service {
    let dependency = Dependency { condition: Condition::ServiceStarted, required: true, restart };
    service.depends_on.insert(name(need), dependency);
    service
}

/// `web` restarts with `api`, that with `db`; `other` depends on `db` and does not.
fn services(idle: impl Fn() -> Service) -> [(&'static str, Service); 4] {
    [
        ("db", idle()),
        ("api", needing(idle(), "db", true)),
        ("web", needing(idle(), "api", true)),
        ("other", needing(idle(), "db", false)),
    ]
}

/// Where each service runs.
async fn ids(target: &dyn Target, stack: &Stack) -> BTreeMap<String, String> {
    let observed = target.observe(&Context::new("ids"), &stack.name).await.unwrap();
    observed.services.iter().map(|(name, service)| (name.to_string(), service.instances[0].id.clone())).collect()
}

/// Applies it, and says who runs elsewhere now.
async fn moved(target: &dyn Target, key: &str, stack: &Stack) -> Vec<String> {
    let before = ids(target, stack).await;
    let done = target.deploy(&Context::new(key), stack.clone()).await.unwrap();
    assert!(matches!(done, Applied::Revision(Some(_))), "{done:?}");
    let after = ids(target, stack).await;
    let again = target.plan_for(&Context::new("again"), &Desired::Present(stack.clone())).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);
    before.into_iter().filter(|(name, id)| after[name] != *id).map(|(name, _)| name).collect()
}

fn told(changes: &[Change]) -> Vec<(&str, ChangeKind, &str)> {
    changes.iter().map(|change| (change.path.as_str(), change.kind, change.note.as_deref().unwrap_or(""))).collect()
}

async fn who_depends_goes_along(target: &dyn Target, shop: Stack) {
    let cx = Context::new("one");
    target.deploy(&cx, shop.clone()).await.unwrap();
    let mut second = shop.clone();
    let db = second.services.get_mut(&name("db")).unwrap();
    db.environment.insert("VERSION".to_owned(), EnvValue::Plain("2".to_owned()));
    let plan = target.plan_for(&cx, &Desired::Present(second.clone())).await.unwrap();
    assert_eq!(
        told(&plan.changes),
        [
            ("services.db.environment.VERSION", ChangeKind::Replace, ""),
            ("services.api", ChangeKind::Replace, "it restarts with db"),
            ("services.web", ChangeKind::Replace, "it restarts with api"),
        ]
    );
    assert_eq!(moved(target, "two", &second).await, ["api", "db", "web"]);

    // A restart that is asked for by name takes them along, too.
    let before = ids(target, &shop).await;
    let plan = target.plan_restart(&cx, &shop.name, Some(&name("api")), "now").await.unwrap();
    target.apply(&Context::new("restart"), &plan).await.unwrap();
    let after = ids(target, &shop).await;
    let restarted: Vec<&String> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert_eq!(restarted, ["api", "web"]);

    // Going back is a change like any other.
    let before = after;
    let plan = target.plan_rollback(&cx, &shop.name, Some(1)).await.unwrap();
    target.apply(&Context::new("back"), &plan).await.unwrap();
    let after = ids(target, &shop).await;
    assert!(["api", "db", "web"].iter().all(|name| before[*name] != after[*name]), "{before:?} {after:?}");
    assert_eq!(before["other"], after["other"]);

    // Who does not restart with it any more stays.
    let mut apart = shop.clone();
    apart.services.get_mut(&name("web")).unwrap().depends_on.values_mut().for_each(|how| how.restart = false);
    let plan = target.plan_for(&cx, &Desired::Present(apart.clone())).await.unwrap();
    let web = told(&plan.changes).into_iter().find(|(path, ..)| *path == "services.web");
    assert!(web.is_some_and(|(_, kind, _)| kind == ChangeKind::Replace), "{:?}", plan.changes);
    assert_eq!(moved(target, "apart", &apart).await, ["web"]);
    let db = apart.services.get_mut(&name("db")).unwrap();
    db.environment.insert("VERSION".to_owned(), EnvValue::Plain("3".to_owned()));
    assert_eq!(moved(target, "three", &apart).await, ["api", "db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_docker_who_depends_on_it_with_restart_goes_along_with_it() {
    let place = docker::place::Place::new();
    who_depends_goes_along(&place.target(), docker::place::stack("restarts", services(docker::place::idle))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_swarm_who_depends_on_it_with_restart_goes_along_with_it() {
    let place = swarm::place::Place::new();
    let shop = place.stack(services(|| swarm::place::sh("exec sleep 1000")));
    who_depends_goes_along(&place.target(), shop).await;
}
