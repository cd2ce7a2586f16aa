//! What a service leaves behind, wherever it went, goes with the service, or with its stack.

use std::fs;

use windflow_core::StackName;
use windflow_core::target::{Applied, Context, EnvValue, Health, Restart, Service, Stack, TargetExt as _};

use crate::place::{PROOF, Place, eventually, kill, observe, pid_of, sh, stack};

fn cx(key: &str) -> Context {
    Context::new(key)
}

/// The fields of `/proc/PID/stat` from the state on; none when there is no such process.
fn stat(pid: i32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or(Vec::new(), |(_, fields)| fields.split(' ').map(str::to_owned).collect())
}

fn is_alive(pid: i32) -> bool {
    stat(pid).first().is_some_and(|state| state != "Z")
}

fn parent(pid: i32) -> i32 {
    stat(pid)[1].parse().unwrap()
}

/// A process in a session of its own; and one that has also cleared its environment and lost its parent.
const LEAVE: &str = "setsid sh -c 'echo $$ > marked; exec sleep 1001' & \
    env -i setsid sh -c 'sleep 1002 & echo $! > bare' & wait $!; ";

/// The numbers that a service has written into these files of its folder.
async fn numbers(place: &Place, stack: &Stack, files: &[&str]) -> Vec<i32> {
    let work = place.dir(stack).join("services/db/0/work");
    let read = |file: &&str| fs::read_to_string(work.join(file)).ok()?.trim().parse().ok();
    eventually("it has started them", async || {
        let numbers: Option<Vec<i32>> = files.iter().map(read).collect();
        (numbers.is_some(), numbers)
    })
    .await
    .unwrap()
}

fn forget(place: &Place, stack: &Stack) {
    fs::remove_file(place.dir(stack).join("services/db/0/work/marked")).unwrap();
}

fn version(mut service: Service, version: &str) -> Stack {
    service.environment.insert("VERSION".to_owned(), EnvValue::Plain(version.to_owned()));
    stack([("db", service)])
}

#[tokio::test]
async fn what_left_its_session_goes_with_its_service_and_what_left_everything_with_the_stack() {
    let place = Place::new();
    let target = place.target();
    let service = sh(&format!("{LEAVE} exec sleep 1000"));
    let one = version(service.clone(), "1");
    target.deploy(&cx("one"), one.clone()).await.unwrap();
    let left = numbers(&place, &one, &["marked", "bare"]).await;
    assert_eq!(parent(left[1]), place.supervisors()[0], "who has lost its parent comes to the supervisor");
    forget(&place, &one);
    // Another version replaces the process, and all that is known to be its own.
    target.deploy(&cx("two"), version(service, "2")).await.unwrap();
    assert!(!is_alive(left[0]), "what carries its mark");
    let new = numbers(&place, &one, &["marked", "bare"]).await;
    target.destroy(&cx("three"), &one.name).await.unwrap();
    let all: Vec<i32> = left.into_iter().chain(new).filter(|pid| is_alive(*pid)).collect();
    assert!(all.is_empty(), "{all:?}");
    assert!(place.supervisors().is_empty());
}

#[tokio::test]
async fn a_service_that_ends_by_itself_leaves_nothing_beside_the_next() {
    let place = Place::new();
    let target = place.target();
    let mut service = sh("cat marked >> earlier; setsid sh -c 'echo $$ > marked; exec sleep 1001' & exec sleep 1000");
    service.restart.policy = Restart::Always;
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let left = numbers(&place, &stack, &["marked"]).await;
    kill(pid_of(&target, &stack, "db").await);
    let earlier = numbers(&place, &stack, &["earlier"]).await;
    assert_eq!(earlier, left);
    assert!(!is_alive(left[0]), "it was gone before the next began");
}

#[tokio::test]
async fn a_new_supervisor_takes_no_leftover_for_the_service_and_leaves_none() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("setsid sh -c 'echo $$ > marked; exec sleep 1001' & exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    for destroyed in [false, true] {
        place.kill_supervisors().await;
        let pid = pid_of(&target, &stack, "db").await;
        kill(pid);
        eventually("it is dead", async || (!is_alive(pid), pid)).await;
        // As if the supervisor had died between the start and the record.
        let _ = fs::remove_file(place.dir(&stack).join("state.json"));
        let left = numbers(&place, &stack, &["marked"]).await;
        assert!(is_alive(left[0]));
        if destroyed {
            target.destroy(&cx("three"), &stack.name).await.unwrap();
        } else {
            forget(&place, &stack);
            target.deploy(&cx("two"), stack.clone()).await.unwrap();
            assert_ne!(pid_of(&target, &stack, "db").await, left[0], "it was not taken for the service");
        }
        assert!(!is_alive(left[0]));
    }
    assert!(place.marked(&place.root).is_empty());
}

#[tokio::test]
async fn what_was_taken_in_is_collected_when_it_ends_and_no_end_of_a_service_is_lost() {
    let place = Place::new();
    let target = place.target();
    let go = place.root.join("go");
    let orphan = format!(
        "until [ -e {go} ] || ! [ -d {root} ]; do sleep 0.05; done",
        go = go.display(),
        root = place.root.display()
    );
    let mut service = sh(&format!("env -i setsid sh -c '({orphan}) & echo $! > bare' & wait $!; exec sleep 1000"));
    service.restart.policy = Restart::Always;
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let orphan = numbers(&place, &stack, &["bare"]).await[0];
    assert_eq!(parent(orphan), place.supervisors()[0]);
    fs::write(&go, "").unwrap();
    eventually("it is collected", async || (stat(orphan).is_empty(), stat(orphan))).await;
    kill(pid_of(&target, &stack, "db").await);
    eventually("the end of the service is seen", async || {
        let instance = observe(&target, &stack).await.services["db"].instances[0].clone();
        (instance.restarts == 1, instance)
    })
    .await;
}

#[tokio::test]
async fn what_a_service_has_deployed_below_itself_outlives_the_supervisor_of_the_service() {
    let place = Place::new();
    let target = place.target();
    let inner = Stack { name: StackName::new("inner").unwrap(), ..stack([("job", sh("exec sleep 1000"))]) };
    let text = serde_json::to_string(&inner).unwrap();
    let outer = stack([("db", sh(&format!("{PROOF} deploy $PWD '{text}' && touch deployed; exec sleep 1000")))]);
    target.deploy(&cx("one"), outer.clone()).await.unwrap();
    let work = place.dir(&outer).join("services/db/0/work");
    eventually("it has deployed another stack", async || (work.join("deployed").exists(), ())).await;
    let job = place.marked(&work);
    let outside = place.supervisors().into_iter().find(|pid| place.supervisors().contains(&parent(*pid))).map(parent);
    kill(outside.unwrap());
    eventually("it is gone", async || (place.supervisors().len() == 1, place.supervisors())).await;
    assert_eq!(target.deploy(&cx("two"), outer.clone()).await.unwrap(), Applied::Revision(Some(1)));
    assert_eq!((job.len(), place.marked(&work)), (1, job));
    target.destroy(&cx("three"), &outer.name).await.unwrap();
    eventually("the folder took it along", async || {
        let left = (place.supervisors(), place.marked(&place.root));
        (left.0.is_empty() && left.1.is_empty(), left)
    })
    .await;
}

#[tokio::test]
async fn what_a_service_has_deployed_is_not_its_own() {
    // With its supervisor, and as an orphan itself.
    for orphan in [false, true] {
        let place = Place::new();
        let target = place.target();
        let inner = Stack { name: StackName::new("inner").unwrap(), ..stack([("job", sh("exec sleep 1000"))]) };
        let text = serde_json::to_string(&inner).unwrap();
        let root = place.root.display();
        let outer = stack([("db", sh(&format!("{PROOF} deploy {root} '{text}' && touch deployed; exec sleep 1000")))]);
        target.deploy(&cx("one"), outer.clone()).await.unwrap();
        let deployed = place.dir(&outer).join("services/db/0/work/deployed");
        eventually("it has deployed another stack", async || (deployed.exists(), ())).await;
        let supervisors = place.supervisors();
        let inside = supervisors.iter().copied().find(|pid| supervisors.contains(&parent(*pid))).unwrap();
        let outside = parent(inside);
        let job = pid_of(&target, &inner, "job").await;
        if orphan {
            kill(inside);
            eventually("it has lost its parent", async || (parent(job) == outside, parent(job))).await;
        }
        target.destroy(&cx("two"), &outer.name).await.unwrap();
        assert!(is_alive(job));
        let health = observe(&target, &inner).await.services["job"].health.clone();
        assert_eq!(health == Health::Healthy, !orphan, "{health:?}");
        target.deploy(&cx("three"), inner.clone()).await.unwrap();
        assert_eq!(pid_of(&target, &inner, "job").await, job);
        target.destroy(&cx("four"), &inner.name).await.unwrap();
        assert!(!is_alive(job));
    }
}
