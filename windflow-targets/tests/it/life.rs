//! Who outlives whom: callers, supervisors, services.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use windflow_core::target::{
    Applied, Condition, Context, Dependency, Desired, EnvValue, Health, PlanError, Replicas, Restart, Stack,
    Target as _, TargetErrorKind, TargetExt as _,
};
use windflow_core::{Masker, MemorySecrets, SecretSources, ServiceName};
use windflow_targets::host::HostTarget;

use crate::place::{PROOF, Place, eventually, free_port, get, kill, observe, pid_of, program, sh, stack, web};

fn cx(key: &str) -> Context {
    Context::new(key)
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// The session a process belongs to; 0 where its leader lives outside of this pid namespace, as in many containers, which is
/// more than `getsid` of rustix can say.
fn session(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn services_survive_the_exit_of_whoever_deployed_them() {
    let (place, port) = (Place::new(), free_port());
    let stack = stack([("web", web(port, "1"))]);
    let text = serde_json::to_string(&stack).unwrap();
    let mut command = tokio::process::Command::new(PROOF);
    let done = command.arg("deploy").arg(&place.root).arg(&text).status().await.unwrap();
    assert!(done.success());
    assert_eq!(get(port).await, "1");
    let target = place.target();
    let observed = observe(&target, &stack).await;
    assert_eq!(observed.services["web"].health, Health::Healthy);
    assert_eq!(observed.services["web"].endpoints[0].to_string(), format!("http://127.0.0.1:{port}"));
    let supervisor = place.supervisors();
    assert_eq!(supervisor.len(), 1, "one supervisor, and no trace of its first stage");
    assert_ne!(session(supervisor[0]), session(std::process::id().cast_signed()), "it left the caller's session");
    assert_eq!(target.deploy(&cx("again"), stack).await.unwrap(), Applied::Nothing);
}

#[tokio::test]
async fn a_dead_supervisor_is_replaced_and_nothing_is_started_twice() {
    let (place, port) = (Place::new(), free_port());
    let target = place.target();
    let stack = stack([("web", web(port, "1")), ("db", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let (web_pid, db_pid) = (pid_of(&target, &stack, "web").await, pid_of(&target, &stack, "db").await);
    place.kill_supervisors().await;
    let observed = eventually("the death of the supervisor shows", async || {
        let observed = observe(&target, &stack).await;
        (matches!(observed.services["web"].health, Health::Unhealthy { .. }), observed)
    })
    .await;
    assert_eq!(observed.services["web"].instances[0].id, web_pid.to_string(), "it runs on");
    let drift = target.drift(&cx("drift"), &stack.name).await.unwrap();
    assert!(drift.changes.iter().any(|change| change.path == "supervisor"), "{:?}", drift.changes);
    // While nobody watches, one of them dies.
    kill(db_pid);
    eventually("it is dead", async || (!is_alive(db_pid), db_pid)).await;
    let plan = target.plan_for(&cx("two"), &Desired::Present(stack.clone())).await.unwrap();
    let told: Vec<&str> = plan.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(told, ["services.db", "supervisor"]);
    let applied = target.apply(&cx("two"), &plan).await.unwrap();
    assert_eq!(applied, Applied::Revision(Some(1)), "put right again, it is the revision it was");
    assert_eq!(target.revisions(&cx("look"), &stack.name).await.unwrap().len(), 1);
    assert_eq!(pid_of(&target, &stack, "web").await, web_pid, "what lived was adopted");
    assert_ne!(pid_of(&target, &stack, "db").await, db_pid, "what was dead was started");
    assert_eq!(place.marked(&place.dir(&stack)).len(), 2, "no second copy");
    assert_eq!(place.supervisors().len(), 1);
    // An adopted process is stopped like any other.
    target.destroy(&cx("gone"), &stack.name).await.unwrap();
    assert!(!is_alive(web_pid));
    assert!(place.marked(&place.root).is_empty());
}

#[tokio::test]
async fn an_adopted_service_that_ends_is_started_again_by_policy() {
    let place = Place::new();
    let target = place.target();
    let mut service = sh("exec sleep 1000");
    service.restart.policy = Restart::Always;
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    place.kill_supervisors().await;
    assert_eq!(target.deploy(&cx("two"), stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    assert_eq!(target.deploy(&cx("two"), stack.clone()).await.unwrap(), Applied::Nothing);
    let before = pid_of(&target, &stack, "db").await;
    kill(before);
    eventually("it is started again", async || {
        let instance = observe(&target, &stack).await.services["db"].instances[0].clone();
        (instance.restarts == 1 && instance.health == Health::Healthy, instance)
    })
    .await;
    assert_ne!(pid_of(&target, &stack, "db").await, before);
}

#[tokio::test]
async fn a_process_that_was_started_and_not_recorded_is_found_by_its_mark() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let pid = pid_of(&target, &stack, "db").await;
    place.kill_supervisors().await;
    // As if the supervisor had died between the start and the record.
    fs::remove_file(place.dir(&stack).join("state.json")).unwrap();
    target.deploy(&cx("two"), stack.clone()).await.unwrap();
    assert_eq!(pid_of(&target, &stack, "db").await, pid, "it was adopted");
    assert_eq!(place.marked(&place.dir(&stack)), [pid], "and no second one started");
}

#[tokio::test]
async fn callers_that_are_killed_anywhere_leave_what_the_next_one_finishes() {
    let (place, port) = (Place::new(), free_port());
    let target = place.target();
    let version = |version: &str| stack([("web", web(port, version)), ("db", sh("exec sleep 1000"))]);
    let mut killed = 0;
    for (n, ms) in [1, 2, 4, 7, 11, 16, 25, 40, 70, 120, 200].into_iter().enumerate() {
        let wanted = version(&n.to_string());
        let mut command = tokio::process::Command::new(PROOF);
        command.arg("deploy").arg(&place.root).arg(serde_json::to_string(&wanted).unwrap());
        let mut caller = command.kill_on_drop(true).spawn().unwrap();
        let ended = tokio::time::timeout(Duration::from_millis(ms), caller.wait()).await;
        if ended.is_err() {
            caller.kill().await.unwrap();
            killed += 1;
        }
        if n % 3 == 2 {
            place.kill_supervisors().await;
        }
        let mut after = target.deploy(&cx("after"), wanted.clone()).await;
        // An order that was on its way when its sender was killed may come into force after the plan was made.
        if matches!(&after, Err(PlanError::Target(error)) if error.kind == TargetErrorKind::Conflict) {
            after = target.deploy(&cx("after"), wanted.clone()).await;
        }
        after.unwrap();
        assert_eq!(get(port).await, n.to_string());
        let observed = observe(&target, &wanted).await;
        assert!(observed.services.values().all(|service| service.health.is_ready()), "{observed:?}");
        assert_eq!(place.marked(&place.dir(&wanted)).len(), 2, "one process of each service");
        assert_eq!(place.supervisors().len(), 1);
    }
    assert!(killed >= 5, "only {killed} callers were killed");
    target.destroy(&cx("gone"), &version("0").name).await.unwrap();
    assert!(place.marked(&place.root).is_empty());
    assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0);
}

#[tokio::test]
async fn an_apply_outlives_the_death_of_its_supervisor() {
    let (place, port) = (Place::new(), free_port());
    let target = place.target();
    let version = move |version: &str| {
        let mut web = web(port, version);
        web.process = program(&["sh", "-c", &format!("sleep 0.5; exec {PROOF} http {port}")]).process;
        stack([("web", web), ("db", sh("exec sleep 1000"))])
    };
    target.deploy(&cx("one"), version("1")).await.unwrap();
    let going = tokio::spawn({
        let target = target.clone();
        async move { target.deploy(&cx("two"), version("2")).await }
    });
    let spec = place.dir(&version("2")).join("spec.json");
    for _ in 0..2 {
        eventually("the order is in force", async || {
            let text = fs::read_to_string(&spec).unwrap();
            (text.contains("\"plain\":\"2\"") && !place.supervisors().is_empty(), text)
        })
        .await;
        place.supervisors().into_iter().for_each(kill);
    }
    assert_eq!(going.await.unwrap().unwrap(), Applied::Revision(Some(2)));
    assert_eq!(get(port).await, "2");
    let processes = place.marked(&place.dir(&version("2")).join("services/db"));
    assert_eq!(processes.len(), 1, "no second copy");
}

#[tokio::test]
async fn a_process_that_reused_a_number_is_never_killed() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let pid = pid_of(&target, &stack, "db").await;
    place.kill_supervisors().await;
    kill(pid);
    eventually("it is dead", async || (!is_alive(pid), pid)).await;
    // A stranger now has the number that the state records; only its start time tells the two apart.
    let mut stranger = tokio::process::Command::new("/bin/sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
    let number = stranger.id().unwrap();
    let state = place.dir(&stack).join("state.json");
    let text = fs::read_to_string(&state).unwrap().replace(&format!("\"pid\":{pid},"), &format!("\"pid\":{number},"));
    fs::write(&state, text).unwrap();
    assert_eq!(observe(&target, &stack).await.services["db"].health, Health::Stopped);
    target.deploy(&cx("two"), stack.clone()).await.unwrap();
    target.destroy(&cx("three"), &stack.name).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
}

#[tokio::test]
async fn a_stop_reaches_what_a_service_started_and_takes_no_longer_than_its_grace() {
    let place = Place::new();
    let target = place.target();
    let mut stubborn = sh("trap '' TERM; sleep 1001 & sleep 1002 & while :; do sleep 1; done");
    stubborn.stop_grace_period = Some(Duration::from_millis(200));
    let stack = stack([("db", stubborn)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    assert!(place.marked(&place.root).len() >= 3);
    target.destroy(&cx("two"), &stack.name).await.unwrap();
    assert!(place.marked(&place.root).is_empty());
    assert!(place.supervisors().is_empty());
    assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0, "not even the owner's folder is left");
}

#[tokio::test]
async fn only_what_changed_is_restarted_and_several_instances_know_their_number() {
    let (place, port) = (Place::new(), free_port());
    let target = place.target();
    let mut workers = sh("echo $WINDFLOW_REPLICA; exec sleep 1000");
    workers.replicas = Replicas(3);
    let version = |version: &str| stack([("web", web(port, version)), ("worker", workers.clone())]);
    target.deploy(&cx("one"), version("1")).await.unwrap();
    let before = observe(&target, &version("1")).await.services["worker"].clone();
    assert_eq!(before.instances.len(), 3);
    target.deploy(&cx("two"), version("2")).await.unwrap();
    assert_eq!(get(port).await, "2");
    assert_eq!(observe(&target, &version("2")).await.services["worker"], before);
    let plan = target.plan_scale(&cx("scale"), &version("2").name, &"worker".parse().unwrap(), 1).await.unwrap();
    target.apply(&cx("scale"), &plan).await.unwrap();
    let after = observe(&target, &version("2")).await.services["worker"].clone();
    assert_eq!(after.instances, before.instances[..1], "the first goes on, the others are gone");
    eventually("the others are gone", async || {
        let left = place.marked(&place.dir(&version("2")).join("services/worker"));
        (left.len() == 1, left)
    })
    .await;
    let plan = target.plan_rollback(&cx("back"), &version("2").name, Some(1)).await.unwrap();
    target.apply(&cx("back"), &plan).await.unwrap();
    assert_eq!(get(port).await, "1");
}

#[tokio::test]
async fn a_dependent_restarts_with_what_it_depends_on_when_the_stack_says_so() {
    let place = Place::new();
    let target = place.target();
    let version = |version: &str, restart: bool| {
        let mut db = sh("exec sleep 1000");
        db.environment.insert("VERSION".to_owned(), EnvValue::Plain(version.to_owned()));
        let mut web = sh("exec sleep 1000");
        let need = Dependency { condition: Condition::ServiceStarted, required: true, restart };
        web.depends_on.insert(ServiceName::new("db").unwrap(), need);
        stack([("web", web), ("db", db)])
    };
    for restart in [true, false] {
        target.deploy(&cx("one"), version("1", restart)).await.unwrap();
        let before = pid_of(&target, &version("1", restart), "web").await;
        target.deploy(&cx("two"), version("2", restart)).await.unwrap();
        let after = pid_of(&target, &version("2", restart), "web").await;
        assert_eq!(before != after, restart);
    }
}

#[tokio::test]
async fn two_appliers_exclude_each_other() {
    let place = Place::new();
    let mut config = place.config("ours");
    config.lock_patience = Duration::ZERO;
    let (first, second) = (place.target(), HostTarget::new(config));
    let slow = |seconds: &str| stack([("setup", program(&["sleep", seconds]))]);
    let late = second.plan_for(&cx("b"), &Desired::Present(slow("0"))).await.unwrap();
    let going = tokio::spawn(async move { first.deploy(&cx("a"), slow("1000")).await });
    eventually("the first has begun", async || (place.dir(&slow("0")).join("spec.json").exists(), ())).await;
    // A service without a check counts as healthy after a moment: within it, the lock is held.
    let refused = second.apply(&cx("b"), &late).await.unwrap_err();
    assert_eq!(refused.kind, TargetErrorKind::Conflict, "{refused}");
    going.await.unwrap().unwrap();
}

#[tokio::test]
async fn values_of_secrets_are_never_on_disk() {
    let place = Place::new();
    let target = place.target();
    let canary = "canary-7c1f0e55";
    let secrets = || {
        let source = MemorySecrets::new().with("DB", canary);
        cx("one").with_secrets(SecretSources::new().with("memory", std::sync::Arc::new(source)), Masker::new())
    };
    let mut service = sh("echo password $PASSWORD; test \"$PASSWORD\" = canary-7c1f0e5\"$LAST\" && exec sleep 1000");
    service.environment.insert("PASSWORD".to_owned(), EnvValue::Secret("secret://memory/DB".parse().unwrap()));
    service.environment.insert("LAST".to_owned(), EnvValue::Plain("5".to_owned()));
    service.restart.policy = Restart::Always;
    let stack = stack([("db", service)]);
    let missing = target.deploy(&cx("none"), stack.clone()).await.unwrap_err();
    assert!(missing.to_string().contains("PASSWORD"), "{missing}");
    assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0, "a missing secret is found before anything is touched");
    target.deploy(&secrets(), stack.clone()).await.unwrap();
    assert!(place.holds(canary).is_empty(), "{:?}", place.holds(canary));
    // Started again by policy, with the value the supervisor keeps in memory.
    kill(pid_of(&target, &stack, "db").await);
    eventually("it is started again", async || {
        let instance = observe(&target, &stack).await.services["db"].instances[0].clone();
        (instance.restarts == 1 && instance.health == Health::Healthy, instance)
    })
    .await;
    assert!(place.holds(canary).is_empty());
    // A supervisor that took over has no value until the next apply brings it.
    place.kill_supervisors().await;
    target.deploy(&secrets(), stack.clone()).await.unwrap();
    kill(pid_of(&target, &stack, "db").await);
    eventually("it is started again", async || {
        let instance = observe(&target, &stack).await.services["db"].instances[0].clone();
        (instance.restarts == 2 && instance.health == Health::Healthy, instance)
    })
    .await;
    assert!(place.holds(canary).is_empty());
    assert!(!place.holds("password ***").is_empty(), "what it printed is masked in the log");
}

#[tokio::test]
async fn a_supervisor_that_hangs_is_named() {
    let place = Place::new();
    let target = place.target();
    let mut service = sh("exec sleep 1000");
    service.stop_grace_period = Some(Duration::from_secs(1));
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let supervisor = place.supervisors()[0];
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::STOP).unwrap();
    // Its patience passes at once: nothing else will.
    tokio::time::pause();
    let error = target.destroy(&cx("two"), &stack.name).await.unwrap_err();
    tokio::time::resume();
    let told = format!(
        "the supervisor (process {supervisor}) has not stopped everything in 61 s; if it hangs, end it: kill -9 {supervisor}"
    );
    assert!(error.to_string().contains(&told), "{error}");
    kill(supervisor);
    target.destroy(&cx("three"), &stack.name).await.unwrap();
    assert!(place.marked(&place.root).is_empty());
}

#[tokio::test]
async fn a_root_that_cannot_be_used_is_told_clearly() {
    let place = Place::new();
    let file = place.root.join("file");
    fs::write(&file, "").unwrap();
    let mut config = place.config("ours");
    config.root = file.join("root");
    let stack: Stack = stack([("db", sh("exec sleep 1000"))]);
    let error = HostTarget::new(config).deploy(&cx("one"), stack).await.unwrap_err();
    let PlanError::Target(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, TargetErrorKind::Denied);
    assert!(error.to_string().contains("a file stands where a folder should be"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_no_supervisor_is_told_of() {
    let place = Place::new();
    let mut config = place.config("ours");
    config.supervisor.program = "/bin/false".into();
    let stack: Stack = stack([("db", sh("exec sleep 1000"))]);
    let error = HostTarget::new(config).deploy(&cx("one"), stack.clone()).await.unwrap_err();
    assert!(error.to_string().contains("the supervisor /bin/false ended with exit status: 1"), "{error}");
    // Repaired, the next apply goes on, and a destroy leaves nothing.
    place.target().deploy(&cx("two"), stack.clone()).await.unwrap();
    place.target().destroy(&cx("three"), &stack.name).await.unwrap();
    assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0);
}
