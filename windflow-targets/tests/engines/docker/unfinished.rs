//! What an apply that fails, or is cut off, leaves: nothing unseen, nothing of what ran, and a plan that says why.

use std::time::Duration;

use windflow_bed::Cut;
use windflow_core::target::{
    Applied, Command, Desired, Mount, MountKind, Service, Stack, Target as _, TargetErrorKind, TargetExt as _, Volume,
};

use super::beside::kind;
use super::place::{Place, compose, cx, docker, idle, shell, stack, with_variable};

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

/// A project of the Compose tool of which `b` has been changed since it was taken over; cut at this call that changes something.
async fn taken_over_and_changed(cut: Option<(usize, Cut)>) -> Place {
    let place = Place::new();
    let target = place.target();
    let project = format!("taken-{}", place.owner);
    let service = "{ image: 'wf-busybox:1', command: [sleep, '100000'], stop_grace_period: 1s }";
    compose(&project, &format!("services: {{ a: {service}, b: {service} }}"), &["up", "-d"]);
    let as_theirs = || Service {
        image: Some("wf-busybox:1".to_owned()),
        command: Some(Command::Argv(["sleep", "100000"].map(str::to_owned).into())),
        stop_grace_period: Some(Duration::from_secs(1)),
        ..Service::default()
    };
    let mut theirs = stack("taken", [("a", as_theirs()), ("b", as_theirs())]);
    theirs.name = project.parse().unwrap();
    let found = target.discover(&cx("discover")).await.unwrap();
    let found = found.iter().find(|found| found.name == theirs.name).unwrap();
    target.adopt(&cx("adopt"), found, &Desired::Present(theirs.clone())).await.unwrap();
    let a = async || {
        let a = place.target().observe(&cx("look"), &theirs.name).await.unwrap().services["a"].clone();
        a.instances.into_iter().map(|instance| (instance.id, instance.since)).collect::<Vec<_>>()
    };
    let before = a().await;
    let mut changed = theirs.clone();
    let b = changed.services.get_mut("b").unwrap();
    *b = with_variable(b.clone(), "VERSION", "2");
    let plan = target.plan_for(&cx("two"), &Desired::Present(changed)).await.unwrap();
    place.proxy.forget();
    if let Some((call, when)) = cut {
        place.proxy.cut_at(call, when);
        assert!(place.target().apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
        place.proxy.heal().unwrap();
    }
    place.target().apply(&cx("two"), &plan).await.unwrap();
    assert_eq!(a().await, before, "what was taken over is known after a cut at {cut:?}");
    place.target().destroy(&cx("end"), &theirs.name).await.unwrap();
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_over_is_not_forgotten_by_a_cut() {
    let uncut = taken_over_and_changed(None).await;
    let calls = uncut.proxy.calls();
    let mutating = || calls.iter().filter(|call| call.mutates);
    let drop = mutating().position(|call| call.method == "DELETE" && call.path.contains("-adopted"));
    let drop = drop.unwrap_or_else(|| panic!("what was taken over is less now: {calls:?}")) + 1;
    for cut in [(drop - 1, Cut::Before), (drop - 1, Cut::After), (drop, Cut::After)] {
        taken_over_and_changed(Some(cut)).await;
    }
}
