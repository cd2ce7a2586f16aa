//! What counts against a service that ends and is started again, and what does not.

use std::time::Duration;

use futures_util::StreamExt as _;
use windflow_bed::Cut;
use windflow_core::target::{
    Applied, Context, Desired, EnvValue, Exec, FailureAction, Health, Mode, Mount, MountKind, Order, Replicas, Restart,
    RestartPolicy, Rollout, Service, ServiceRef, Stack, Target as _, TargetExt as _, UpdateConfig, Volume,
};

use super::place::{Place, docker_says, port, sh, web};

fn quickly(on: Restart, max_attempts: Option<u32>) -> RestartPolicy {
    RestartPolicy { delay: Some(Duration::from_millis(100)), max_attempts, ..RestartPolicy::on(on) }
}

/// A stack of one service, which has a volume at `/data`.
fn remembering(place: &Place, script: &str, restart: RestartPolicy) -> Stack {
    let mut one = Service { restart, ..sh(script) };
    one.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut stack = place.stack([("one", one)]);
    stack.volumes.insert("data".to_owned(), Volume::default());
    stack
}

/// Counts how often it was tried, and does this at the fourth time.
fn at_last(what: &str) -> String {
    format!("n=$(cat /data/n || echo 1); echo $((n + 1)) >/data/n; echo try $n; test $n -lt 4 || {what}; exit 3")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_how_often_it_is_tried_has_failed_when_the_swarm_gives_up_and_not_before() {
    let place = Place::new();
    let some = remembering(&place, &at_last("exec sleep 1000"), quickly(Restart::OnFailure, Some(5)));
    assert_eq!(place.target().deploy(&Context::new("five"), some).await.unwrap(), Applied::Revision(Some(1)));
    let place = Place::new();
    let mut few = remembering(&place, &at_last("exec sleep 1000"), quickly(Restart::OnFailure, Some(2)));
    // A busy Swarm says late that a task has ended: until then it runs.
    let rollout = Rollout { min_healthy: Some(Duration::from_secs(5)), ..Rollout::default() };
    few.services.get_mut("one").unwrap().rollout = Some(rollout);
    let why = match place.target().deploy(&Context::new("two"), few).await.unwrap() {
        Applied::RolledBack { to: None, why } => why,
        other => {
            let name = format!("{}_one", place.stack);
            let tasks = docker_says(&["service", "ps", "--no-trunc", &name]);
            panic!(
                "it comes right at the fourth time only: {other:?}\n{tasks}\n{}",
                docker_says(&["service", "logs", &name])
            )
        }
    };
    assert!(why.contains("non-zero exit (3)") && why.ends_with("last lines: try 3"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_tried_again_has_failed_when_it_was_tried_so_often_and_not_before() {
    let job = |place: &Place, attempts| {
        let mut stack = remembering(place, &at_last("exit 0"), quickly(Restart::OnFailure, attempts));
        stack.services.get_mut("one").unwrap().mode = Mode::ReplicatedJob;
        stack
    };
    let place = Place::new();
    let done = place.target().deploy(&Context::new("any"), job(&place, None)).await.unwrap();
    assert_eq!(done, Applied::Revision(Some(1)));
    let place = Place::new();
    let few = place.target().deploy(&Context::new("two"), job(&place, Some(2))).await.unwrap();
    let Applied::RolledBack { to: None, why } = few else { panic!("it is done at the fourth time only") };
    assert!(why.contains("non-zero exit (3)"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_before_an_update_do_not_count_against_it() {
    let place = Place::new();
    let (target, cx) = (place.target(), Context::new("one"));
    // It ends when it is told to, and once more for each file that is there.
    let script = "for file in /data/end*; do test -e $file && rm $file && exit 3; done; trap 'exit 3' TERM; \
                  while true; do sleep 0.1; done";
    let stack = remembering(&place, script, quickly(Restart::Always, None));
    target.deploy(&cx, stack.clone()).await.unwrap();
    let one = ServiceRef::service(stack.name.clone(), "one".parse().unwrap());
    target.exec(&cx, &one, Exec::new(["sh", "-c", "touch /data/end1 /data/end2; kill 1"])).await.unwrap();
    let recovered = async {
        let mut watch = target.watch(&cx, &stack.name);
        while let Some(observed) = watch.next().await {
            let one = observed.unwrap().services["one"].instances[0].clone();
            if (one.health, one.restarts) == (Health::Healthy, 3) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered).await.unwrap();
    let mut other = stack.clone();
    let one = other.services.get_mut("one").unwrap();
    one.environment.insert("VERSION".to_owned(), EnvValue::Plain("2".to_owned()));
    assert_eq!(target.deploy(&Context::new("two"), other).await.unwrap(), Applied::Revision(Some(2)));
    // Its earlier tasks said the same as the new ones do.
    assert_eq!(target.deploy(&Context::new("three"), stack).await.unwrap(), Applied::Revision(Some(3)));
}

/// What an update comes to that the Swarm itself ends, of a service whose new tasks fail.
async fn broken_update(action: FailureAction) -> String {
    let place = Place::new();
    let mut one = sh("exec sleep 1000");
    // So that the end of one task is not the end of all.
    one.restart = RestartPolicy { delay: Some(Duration::from_secs(20)), ..RestartPolicy::on(Restart::Always) };
    one.update_config =
        Some(UpdateConfig { failure_action: Some(action), order: Some(Order::StartFirst), ..UpdateConfig::default() });
    let stack = place.stack([("one", one)]);
    place.target().deploy(&Context::new("one"), stack.clone()).await.unwrap();
    let mut broken = stack;
    broken.services.get_mut("one").unwrap().command = sh("echo broken; exit 5").command;
    match place.target().deploy(&Context::new("two"), broken).await.unwrap() {
        Applied::RolledBack { to: Some(1), why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_the_swarm_pauses_is_told_with_the_reason_of_its_task() {
    let why = broken_update(FailureAction::Pause).await;
    assert!(why.contains("one: the Swarm has paused its update: "), "{why}");
    assert!(why.contains(": on node ") && why.contains("non-zero exit (5)"), "{why}");
    assert!(why.ends_with("last lines: broken"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_the_swarm_takes_back_is_told_with_the_reason_of_its_task() {
    let why = broken_update(FailureAction::Rollback).await;
    assert!(why.contains("one: the Swarm has taken it back by itself: "), "{why}");
    assert!(why.contains(": on node ") && why.contains("non-zero exit (5)"), "{why}");
    assert!(why.ends_with("last lines: broken"), "{why}");
}

/// Scales a service of which one instance alone can run, is killed while it goes back, and does it again.
async fn scaled_in_vain(mut one: Service, volume: bool, when: Cut) {
    let place = Place::new();
    let target = place.target();
    if volume {
        one.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    }
    let mut stack = place.stack([("one", one)]);
    stack.volumes = volume.then(|| ("data".to_owned(), Volume::default())).into_iter().collect();
    target.deploy(&Context::new("one"), stack.clone()).await.unwrap();
    let mut three = stack.clone();
    three.services.get_mut("one").unwrap().replicas = Replicas(3);
    let cx = Context::new("three");
    let plan = target.plan_for(&cx, &Desired::Present(three)).await.unwrap();
    // What is intended is written down, the service is updated, and updated back.
    place.proxy.cut_at(3, when);
    let cut = target.apply(&cx, &plan).await.unwrap_err();
    assert!(place.proxy.is_cut(), "{cut}");
    place.proxy.heal().unwrap();
    let again = target.apply(&cx, &plan).await;
    let Applied::RolledBack { to: Some(1), why } = again.as_ref().unwrap() else {
        panic!("only one can run: {again:?}")
    };
    assert!(!why.contains("not healthy within"), "{why}");
    assert!(target.drift(&Context::new("drift"), &stack.name).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_that_was_killed_while_it_went_back_and_finds_no_place_is_judged_again() {
    for when in [Cut::Before, Cut::After] {
        scaled_in_vain(web(port(), "1"), false, when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_that_was_killed_while_it_went_back_from_tasks_that_end_is_judged_again() {
    for restart in [RestartPolicy::default(), quickly(Restart::Always, None)] {
        for when in [Cut::Before, Cut::After] {
            // Who holds it is written in one step: whoever is ended, at any moment, lets go of its own.
            let alone = "trap 'test \"$(readlink /data/held)\" != \"$HOSTNAME\" || rm /data/held; exit 0' TERM; \
                         ln -ns \"$HOSTNAME\" /data/held || exit 3; while true; do sleep 0.1; done";
            let mut one = Service { restart, ..sh(alone) };
            one.stop_grace_period = Some(Duration::from_secs(5));
            scaled_in_vain(one, true, when).await;
        }
    }
}
