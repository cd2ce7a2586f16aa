//! Projects of the Compose tool, taken over, and what becomes of them.

use std::time::Duration;

use windflow_bed::Cut;
use windflow_core::target::{
    Applied, Change, ChangeKind, Command, Desired, Service, Stack, Target as _, TargetExt as _,
};

use super::place::{Place, compose, cx, stack, with_variable};

/// A project of the Compose tool with services that do nothing, taken over as services that have this variable besides.
async fn taken_over(place: &Place, runs: &str, said: &str) -> Stack {
    let target = place.target();
    let project = format!("taken-{}", place.owner);
    let service = format!(
        "{{ image: 'wf-busybox:1', command: [sleep, '100000'], stop_grace_period: 1s, environment: {{ VERSION: '{runs}' }} }}"
    );
    let file: Vec<String> = ["a", "b"].iter().map(|name| format!("{name}: {service}")).collect();
    compose(&project, &format!("services: {{ {} }}", file.join(", ")), &["up", "-d"]);
    let as_theirs = || Service {
        image: Some("wf-busybox:1".to_owned()),
        command: Some(Command::Argv(["sleep", "100000"].map(str::to_owned).into())),
        stop_grace_period: Some(Duration::from_secs(1)),
        ..Service::default()
    };
    let mut theirs = stack("taken", ["a", "b"].map(|name| (name, with_variable(as_theirs(), "VERSION", said))));
    theirs.name = project.parse().unwrap();
    let running = || {
        let label = format!("label=com.docker.compose.project={project}");
        let ids = place.docker(&["ps", "-q", "--filter", &label]);
        let since = |id| place.docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", id]);
        ids.lines().map(since).collect::<Vec<String>>()
    };
    let before = running();
    let found = target.discover(&cx("discover")).await.unwrap();
    let found = found.iter().find(|found| found.name == theirs.name).unwrap();
    target.adopt(&cx("adopt"), found, &Desired::Present(theirs.clone())).await.unwrap();
    assert_eq!((running(), before.len()), (before, 2), "the same containers, since the same moment");
    theirs
}

/// Which container is a service's, and since when it runs.
async fn runs(place: &Place, of: &Stack, service: &str) -> Vec<(String, Option<windflow_core::Timestamp>)> {
    let observed = place.target().observe(&cx("look"), &of.name).await.unwrap();
    let instances = observed.services[service].instances.iter();
    instances.map(|instance| (instance.id.clone(), instance.since)).collect()
}

/// A project of the Compose tool of which `b` has been changed since it was taken over; cut at this call that changes something.
async fn taken_over_and_changed(cut: Option<(usize, Cut)>) -> Place {
    let place = Place::new();
    let theirs = taken_over(&place, "1", "1").await;
    let target = place.target();
    let before = runs(&place, &theirs, "a").await;
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
    assert_eq!(runs(&place, &theirs, "a").await, before, "what was taken over is known after a cut at {cut:?}");
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

/// The file a project was taken over with says another value than runs; the right file is applied, and cut at this call.
async fn taken_over_with_a_wrong_word(cut: Option<(usize, Cut)>) -> usize {
    let place = Place::new();
    let wrong = taken_over(&place, "1", "2").await;
    let target = place.target();
    let before = [runs(&place, &wrong, "a").await, runs(&place, &wrong, "b").await];
    let drift = target.drift(&cx("drift"), &wrong.name).await.unwrap();
    assert_eq!(drift.changes.len(), 2, "that it says something else is told: {drift:?}");
    let mut right = wrong.clone();
    for service in right.services.values_mut() {
        *service = with_variable(service.clone(), "VERSION", "1");
    }
    let plan = target.plan_for(&cx("two"), &Desired::Present(right.clone())).await.unwrap();
    // It may be starting still, which is waited for; else the record alone changes.
    let kept = |change: &Change| change.kind == ChangeKind::Update && !change.path.contains("environment");
    assert!(!plan.is_empty() && plan.changes.iter().all(kept), "they are as it says: {:?}", plan.changes);
    place.proxy.forget();
    if let Some((call, when)) = cut {
        place.proxy.cut_at(call, when);
        assert!(target.apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
        place.proxy.heal().unwrap();
    }
    assert_eq!(target.apply(&cx("two"), &plan).await.unwrap(), Applied::Revision(Some(2)), "{cut:?}");
    let mutating = place.proxy.calls().iter().filter(|call| call.mutates).count();
    let again = target.plan_for(&cx("three"), &Desired::Present(right)).await.unwrap();
    assert!(again.is_empty() && target.drift(&cx("drift"), &wrong.name).await.unwrap().is_empty(), "{cut:?}");
    assert_eq!([runs(&place, &wrong, "a").await, runs(&place, &wrong, "b").await], before, "nothing is started anew");
    // What has the other value in truth is made anew.
    let wrong_again = target.plan_for(&cx("four"), &Desired::Present(wrong.clone())).await.unwrap();
    let mut paths: Vec<_> = wrong_again.changes.iter().map(|change| change.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["services.a.environment.VERSION", "services.b.environment.VERSION"]);
    target.destroy(&cx("end"), &wrong.name).await.unwrap();
    mutating
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_as_a_file_says_is_not_made_anew_because_it_was_taken_over_with_another() {
    let calls = taken_over_with_a_wrong_word(None).await;
    assert!(calls >= 4, "it is written down: {calls}");
    for call in 1..=calls {
        taken_over_with_a_wrong_word(Some((call, Cut::After))).await;
    }
}
