//! What an apply that fails, or is cut off, leaves: nothing unseen, nothing of what ran, and a plan that says why.

use windflow_bed::Cut;
use windflow_core::target::{
    Applied, Desired, Mount, MountKind, Stack, Target as _, TargetErrorKind, TargetExt as _, Volume,
};

use super::beside::kind;
use super::place::{Place, cx, docker, idle, shell, stack, with_variable};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_about_unseen_after_one_of_many_services_has_failed() {
    let place = Place::new();
    let target = place.target();
    let mut bad = idle();
    // The engine refuses to make it while the others are being made.
    bad.runtime = Some("there-is-no-such-runtime".to_owned());
    let others = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (name, idle()));
    let many = stack("many", others.into_iter().chain([("bad", bad)]));
    let told = target.deploy(&cx("one"), many).await.unwrap();
    assert!(matches!(told, Applied::RolledBack { to: None, .. }), "{told:?}");
    // Whatever was asked of the engine has been waited for: nothing can come about any more.
    let calls = place.proxy.calls();
    let open: Vec<_> = calls.iter().filter(|call| call.mutates && call.status.is_none()).collect();
    assert!(open.is_empty(), "asked for and not waited for: {open:?}");
    let made = calls.iter().filter(|call| call.path == "/containers/create" && call.status == Some(201)).count();
    let removed = calls.iter().filter(|call| call.method == "DELETE" && call.path.starts_with("/containers/")).count();
    assert_eq!((removed, place.marked(None).len()), (made, 0));
    assert!(made >= 1, "there was something to take back: {calls:?}");
}

/// `api` can run beside its next container; `db` cannot, because both would write to one volume.
fn running(version: &str) -> Stack {
    let mut db = with_variable(idle(), "VERSION", version);
    db.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let api = with_variable(idle(), "VERSION", version);
    let mut asked = stack("running", [("api", api), ("db", db)]);
    asked.volumes.insert("data".to_owned(), Volume::default());
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_apply_does_not_take_down_what_runs_though_the_records_are_lost() {
    let place = Place::new();
    let target = place.target();
    target.deploy(&cx("one"), running("1")).await.unwrap();
    let owner = format!("label=windflow.owner={}", place.owner);
    let runs = || docker(&["ps", "-q", "--no-trunc", "--filter", &owner]);
    let before = runs();
    assert_eq!(before.lines().count(), 2);
    for record in docker(&["volume", "ls", "-q", "--filter", &owner, "--filter", "label=windflow.record"]).lines() {
        docker(&["volume", "rm", record]);
    }
    assert!(target.revisions(&cx("look"), &running("1").name).await.unwrap().is_empty());
    let mut bad = running("2");
    for service in bad.services.values_mut() {
        service.command = shell("echo broken; exit 3").command;
    }
    let told = target.deploy(&cx("two"), bad).await.unwrap_err();
    assert_eq!(kind(&told), Some(TargetErrorKind::Unhealthy), "{told}");
    assert!(told.to_string().contains("what ran before is left as it is"), "{told}");
    assert_eq!(runs(), before, "the same containers run");
}

fn one(version: &str) -> Stack {
    stack("one", [("web", with_variable(idle(), "VERSION", version))])
}

/// Which of the calls that change something this one was, counted from 1.
fn number(place: &Place, ends: &str) -> usize {
    let calls = place.proxy.calls();
    let found = calls.iter().filter(|call| call.mutates).position(|call| call.path.ends_with(ends));
    found.unwrap_or_else(|| panic!("no call ends with {ends}: {calls:?}")) + 1
}

/// At which calls the first apply starts its container, and the second one starts and renames one.
async fn numbers() -> (usize, usize, usize) {
    let place = Place::new();
    let target = place.target();
    target.deploy(&cx("one"), one("1")).await.unwrap();
    let first = number(&place, "/start");
    place.proxy.forget();
    target.deploy(&cx("two"), one("2")).await.unwrap();
    (first, number(&place, "/start"), number(&place, "/rename"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_after_a_cut_says_why_and_names_are_as_they_should_be_in_the_end() {
    let (first, second, rename) = numbers().await;
    let place = Place::new();
    let target = place.target();
    let why = async |version: &str| -> Vec<String> {
        let plan = place.target().plan_for(&cx("why"), &Desired::Present(one(version))).await.unwrap();
        plan.changes
            .into_iter()
            .filter(|change| change.path == "services.web")
            .filter_map(|change| change.note)
            .collect()
    };
    place.proxy.cut_at(first, Cut::Before);
    assert!(target.deploy(&cx("one"), one("1")).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    assert_eq!(why("1").await, ["its container was never completed"]);
    place.target().deploy(&cx("one again"), one("1")).await.unwrap();
    assert!(why("1").await.is_empty());

    place.proxy.cut_at(second, Cut::After);
    assert!(place.target().deploy(&cx("two"), one("2")).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    assert_eq!(why("1").await, ["a container of it was left by an apply that did not come to its end"]);
    place.target().deploy(&cx("back"), one("1")).await.unwrap();
    assert!(why("1").await.is_empty());

    let target = place.target();
    let plan = target.plan_for(&cx("three"), &Desired::Present(one("3"))).await.unwrap();
    place.proxy.cut_at(rename, Cut::Before);
    assert!(target.apply(&cx("three"), &plan).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    let owner = format!("label=windflow.owner={}", place.owner);
    let names = || docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &owner]);
    assert!(names().starts_with("one-web-1-"), "the other had the name: {}", names());
    place.target().apply(&cx("three"), &plan).await.unwrap();
    assert_eq!(names(), "one-web-1");
    let again = place.target().plan_for(&cx("again"), &Desired::Present(one("3"))).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);
}

/// An engine goes on with what it was asked for by somebody who has died since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_apply_had_asked_for_may_come_about_between_the_next_plan_and_its_apply() {
    let place = Place::new();
    let target = place.target();
    let late = stack("late", [("web", idle())]);
    place.proxy.cut_at_call(1, "POST", "/containers/*/start", Cut::Before);
    assert!(target.deploy(&cx("killed"), late.clone()).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    let plan = target.plan_for(&cx("again"), &Desired::Present(late.clone())).await.unwrap();
    let owner = format!("label=windflow.owner={}", place.owner);
    docker(&["start", &docker(&["ps", "-aq", "--no-trunc", "--filter", &owner])]);
    assert_eq!(target.apply(&cx("again"), &plan).await.unwrap(), Applied::Revision(Some(1)));
    assert!(target.drift(&cx("drift"), &late.name).await.unwrap().is_empty());
}
