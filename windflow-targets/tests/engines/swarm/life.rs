//! How a stack lives: in which order its services come, what a second apply costs, what it says, how it goes.

use std::time::Duration;

use bollard::query_parameters::ListVolumesOptions;
use futures_util::StreamExt as _;
use windflow_core::target::{
    Applied, Condition, Consents, Context, Dependency, Desired, Exec, ExecEvent, Health, LogOptions, Mode, Mount,
    MountKind, Replicas, ServiceRef, Stack, Target as _, TargetErrorKind, TargetExt as _, Volume,
};
use windflow_core::{Clock as _, SystemClock};

use super::place::{Place, docker, port, sh, web};

fn after(condition: Condition) -> Dependency {
    Dependency { condition, required: true, restart: false }
}

/// A web server, an interface, a worker, a store, and a migration that runs once.
fn shop(place: &Place, port: u16) -> Stack {
    let mut api = web(port + 4_000, "1");
    api.depends_on.insert("migration".parse().unwrap(), after(Condition::ServiceCompletedSuccessfully));
    let mut front = web(port, "1");
    front.depends_on.insert("api".parse().unwrap(), after(Condition::ServiceHealthy));
    let mut migration = sh("echo migrated");
    migration.depends_on.insert("store".parse().unwrap(), after(Condition::ServiceStarted));
    let worker = sh("echo working; exec sleep 1000");
    place.stack([
        ("web", front),
        ("api", api),
        ("worker", worker),
        ("store", sh("exec sleep 1000")),
        ("migration", migration),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn five_services_come_in_order_and_a_second_apply_asks_little_and_changes_nothing() {
    let place = Place::new();
    let target = place.target();
    let stack = shop(&place, port());
    let cx = Context::new("one");
    assert_eq!(target.deploy(&cx, stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let observed = target.observe(&cx, &stack.name).await.unwrap();
    assert_eq!(observed.services["migration"].health, Health::Completed);
    let docker = docker().await;
    let mut made = Vec::new();
    for name in ["store", "migration", "api", "web"] {
        made.push(place.service(&docker, name).await.created_at.unwrap());
    }
    assert!(made.is_sorted(), "{made:?}");
    let (before, asked) = (place.proxy.mutations(), place.proxy.calls().len());
    assert_eq!(target.deploy(&Context::new("two"), stack.clone()).await.unwrap(), Applied::Nothing);
    assert_eq!(place.proxy.mutations(), before, "a second apply changes nothing");
    let asked = place.proxy.calls().len() - asked;
    assert!(asked <= 20, "{asked} calls for five services that are as they should be");
    // One that changes is the only one that is touched.
    let mut changed = stack.clone();
    let worker = changed.services.get_mut("worker").unwrap();
    worker.stop_signal = Some("SIGKILL".to_owned());
    let ids = |observed: &windflow_core::target::Observed| -> Vec<String> {
        let others = observed.services.iter().filter(|(name, _)| name.as_str() != "worker");
        others.flat_map(|(_, service)| service.instances.iter().map(|one| one.id.clone())).collect()
    };
    assert_eq!(target.deploy(&Context::new("three"), changed).await.unwrap(), Applied::Revision(Some(2)));
    let now = target.observe(&cx, &stack.name).await.unwrap();
    assert_eq!(ids(&now), ids(&observed));
    assert_ne!(now.services["worker"].instances[0].id, observed.services["worker"].instances[0].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_services_say_is_read_and_commands_run_inside_of_them() {
    let place = Place::new();
    let target = place.target();
    let mut stack = place.stack([
        ("one", sh("echo first; echo second >&2; exec sleep 1000")),
        ("two", sh("for i in 1 2 3; do echo line $i; done; exec sleep 1000")),
    ]);
    stack.services.get_mut("one").unwrap().replicas = Replicas(2);
    let cx = Context::new("one");
    target.deploy(&cx, stack.clone()).await.unwrap();
    let all = |options: LogOptions, of: ServiceRef| {
        let lines = target.logs(&cx, &of, options);
        lines.map(|line| line.unwrap()).map(|line| format!("{}.{} {}", line.service, line.instance, line.text))
    };
    let everything = ServiceRef::stack(stack.name.clone());
    let mut lines: Vec<String> = all(LogOptions::default(), everything.clone()).collect().await;
    lines.sort();
    assert_eq!(
        lines,
        ["one.0 first", "one.0 second", "one.1 first", "one.1 second", "two.0 line 1", "two.0 line 2", "two.0 line 3"]
    );
    let nope = ServiceRef::service(stack.name.clone(), "nope".parse().unwrap());
    for follow in [false, true] {
        let mut lines = target.logs(&cx, &nope, LogOptions { follow, ..LogOptions::default() });
        let error = lines.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind, TargetErrorKind::NotFound);
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref()),
            ("there is no service 'nope'", Some("known: one, two"))
        );
        assert!(lines.next().await.is_none());
        let error = target.exec(&cx, &nope, Exec::new(["true"])).await.err().unwrap();
        assert_eq!((error.kind, error.hint.as_deref()), (TargetErrorKind::NotFound, Some("known: one, two")));
    }
    // An engine counts in seconds: once another has begun, all of that is past.
    let said = SystemClock.now().0 / 1000;
    crate::docker::place::until("that second is over", || SystemClock.now().0 / 1000 > said + 1).await;
    for (since, count) in [(Duration::from_secs(3600), 7), (Duration::ZERO, 0)] {
        let options = LogOptions { since: Some(since), ..LogOptions::default() };
        assert_eq!(all(options, everything.clone()).count().await, count, "{since:?}");
    }
    let two = ServiceRef::service(stack.name.clone(), "two".parse().unwrap());
    let tail = LogOptions { tail: Some(2), ..LogOptions::default() };
    assert_eq!(all(tail, two.clone()).collect::<Vec<_>>().await, ["two.0 line 2", "two.0 line 3"]);
    // Whoever follows hears what comes, and the stream ends with the stack.
    let follow = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
    let mut followed = Box::pin(all(follow, two.clone()));
    let heard = tokio::spawn(async move {
        let mut lines = Vec::new();
        while let Some(line) = followed.next().await {
            lines.push(line);
        }
        lines
    });
    let script = "echo $GREETING; echo bad >&2; for n in 1 2 3; do sleep 1; echo heard >/proc/1/fd/1; done; exit 7";
    let mut command = Exec::new(["sh", "-c", script]);
    command.environment.insert("GREETING".to_owned(), "hello".to_owned());
    let events: Vec<ExecEvent> =
        target.exec(&cx, &two, command).await.unwrap().events.map(|event| event.unwrap()).collect().await;
    assert!(events.contains(&ExecEvent::Stdout(b"hello\n".to_vec())), "{events:?}");
    assert!(events.contains(&ExecEvent::Stderr(b"bad\n".to_vec())), "{events:?}");
    assert_eq!(events.last(), Some(&ExecEvent::Exit(7)));
    target.destroy(&cx, &stack.name).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap().unwrap();
    // Whoever begins to follow while something is said may miss the first of it.
    assert!(!heard.is_empty() && heard.iter().all(|line| line == "two.0 heard"), "{heard:?}");
    let gone = target.exec(&cx, &two, Exec::new(["true"])).await.unwrap_err();
    assert_eq!(gone.kind, TargetErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_outlive_their_stack_unless_their_end_was_agreed_to() {
    let place = Place::new();
    let target = place.target();
    let mut stack = place.stack([("keeper", sh("date >/data/kept; exec sleep 1000"))]);
    stack.volumes.insert("data".to_owned(), Volume::default());
    let keeper = stack.services.get_mut("keeper").unwrap();
    keeper.volumes.push(Mount::new(MountKind::Volume, Some("data".to_owned()), "/data"));
    let mark = format!("{}/{}/data", place.owner, stack.name);
    let docker = docker().await;
    let kept = async || {
        let all = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap_or_default();
        all.iter().filter(|volume| volume.labels.get("windflow.retained") == Some(&mark)).count()
    };
    let cx = Context::new("one");
    target.deploy(&cx, stack.clone()).await.unwrap();
    target.destroy(&cx, &stack.name).await.unwrap();
    assert!(target.observe(&cx, &stack.name).await.unwrap().is_absent());
    assert_eq!(kept().await, 1);
    target.deploy(&Context::new("two"), stack.clone()).await.unwrap();
    let agreed = Context::new("three").with_consents(Consents::none().allow_destroy("volume"));
    let plan = target.plan_for(&agreed, &Desired::Absent(stack.name.clone())).await.unwrap();
    assert!(plan.changes.iter().any(|change| change.path == "volumes.data"), "{plan:?}");
    target.apply(&agreed, &plan).await.unwrap();
    assert_eq!(kept().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_to_end_is_waited_for_and_each_thing_is_removed_by_one_call() {
    let place = Place::new();
    let target = place.target();
    // It does not heed the signal, and is killed when its time is up.
    let mut slow = sh("trap '' TERM; while true; do sleep 0.1; done");
    slow.stop_grace_period = Some(Duration::from_secs(4));
    slow.volumes.push(Mount::new(MountKind::Volume, Some("data".to_owned()), "/data"));
    let mut stack = place.stack([("slow", slow)]);
    stack.volumes.insert("data".to_owned(), Volume::default());
    target.deploy(&Context::new("one"), stack.clone()).await.unwrap();
    let agreed = Context::new("gone").with_consents(Consents::none().allow_destroy("volume"));
    let plan = target.plan_for(&agreed, &Desired::Absent(stack.name.clone())).await.unwrap();
    place.proxy.forget();
    target.apply(&agreed, &plan).await.unwrap();
    let calls = place.proxy.calls();
    let removed = |of: &str| calls.iter().filter(|call| call.method == "DELETE" && call.path.starts_with(of)).count();
    assert_eq!((removed("/services/"), removed("/networks/"), removed("/volumes/")), (1, 1, 1), "{calls:#?}");
    // What is intended is written down before, and that goes with the revision. A node that is late leaves its container
    // to us.
    let changes = calls.iter().filter(|call| call.mutates && !call.path.starts_with("/containers/"));
    let changes: Vec<String> = changes.map(|call| format!("{} {}", call.method, call.path)).collect();
    assert_eq!(changes.len(), 3 + 3, "{changes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_to_their_end_and_a_watch_is_told_of_it() {
    let place = Place::new();
    let target = place.target();
    let mut job = sh("sleep 1; echo done");
    (job.mode, job.replicas) = (Mode::ReplicatedJob, Replicas(2));
    let mut each = sh("exec sleep 1000");
    each.mode = Mode::Global;
    let stack = place.stack([("job", job), ("each", each)]);
    let cx = Context::new("one");
    let mut watch = target.watch(&cx, &stack.name);
    assert!(watch.next().await.unwrap().unwrap().is_absent());
    let watching = tokio::spawn(async move {
        while let Some(observed) = watch.next().await {
            let observed = observed.unwrap();
            if observed.services.len() == 2 && observed.services.values().all(|service| service.health.is_ready()) {
                return observed;
            }
        }
        panic!("the watch has ended");
    });
    assert_eq!(target.deploy(&cx, stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let seen = tokio::time::timeout(Duration::from_secs(20), watching).await.unwrap().unwrap();
    assert_eq!(seen.services["job"].health, Health::Completed);
    assert_eq!(seen.services["job"].instances.len(), 2);
    assert_eq!(seen.services["each"].health, Health::Healthy);
    let plan = target.plan_for(&Context::new("two"), &Desired::Present(stack)).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_scaled_restarted_and_taken_back() {
    let place = Place::new();
    let target = place.target();
    let stack = place.stack([("one", sh("exec sleep 1000"))]);
    let (cx, one) = (Context::new("one"), "one".parse().unwrap());
    target.deploy(&cx, stack.clone()).await.unwrap();
    let ids = async || -> Vec<String> {
        let observed = target.observe(&cx, &stack.name).await.unwrap();
        observed.services["one"].instances.iter().map(|instance| instance.id.clone()).collect()
    };
    let first = ids().await;
    let plan = target.plan_scale(&cx, &stack.name, &one, 3).await.unwrap();
    assert_eq!(plan.changes[0].path, "services.one.replicas");
    assert_eq!(target.apply(&Context::new("two"), &plan).await.unwrap(), Applied::Revision(Some(2)));
    let scaled = ids().await;
    assert!(scaled.len() == 3 && scaled.contains(&first[0]), "the first goes on: {first:?} {scaled:?}");
    let plan = target.plan_restart(&cx, &stack.name, None, "now").await.unwrap();
    assert_eq!(target.apply(&Context::new("three"), &plan).await.unwrap(), Applied::Revision(Some(3)));
    assert!(ids().await.iter().all(|id| !scaled.contains(id)), "all are started anew");
    let plan = target.plan_rollback(&cx, &stack.name, Some(1)).await.unwrap();
    assert_eq!(target.apply(&Context::new("four"), &plan).await.unwrap(), Applied::Revision(Some(4)));
    assert_eq!(ids().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_the_node_is_waited_for_as_long_as_the_one_before_takes_to_end() {
    let place = Place::new();
    let target = place.target();
    let port = port();
    let stubborn = |version: &str| {
        let mut service = web(port, version);
        service.command = sh("trap '' TERM; mkdir -p /www; echo hello >/www/index.html; httpd -p 80 -h /www; \
            while true; do sleep 1; done")
        .command;
        // Longer than a task may find no place for another reason.
        service.stop_grace_period = Some(Duration::from_secs(8));
        place.stack([("web", service)])
    };
    target.deploy(&Context::new("one"), stubborn("1")).await.unwrap();
    assert_eq!(target.deploy(&Context::new("two"), stubborn("2")).await.unwrap(), Applied::Revision(Some(2)));
    target.destroy(&Context::new("end"), &stubborn("1").name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_run_in_an_instance_that_is_to_end() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new("one");
    let mut one = sh("trap '' TERM; while true; do sleep 0.1; done");
    one.stop_grace_period = Some(Duration::from_secs(5));
    let stack = place.stack([("one", one)]);
    target.deploy(&cx, stack.clone()).await.unwrap();
    let none = target.plan_scale(&cx, &stack.name, &"one".parse().unwrap(), 0).await.unwrap();
    assert_eq!(target.apply(&Context::new("none"), &none).await.unwrap(), Applied::Revision(Some(2)));
    let one = ServiceRef::service(stack.name.clone(), "one".parse().unwrap());
    let gone = target.exec(&cx, &one, Exec::new(["true"])).await.unwrap_err();
    assert!(gone.to_string().contains("no instance of it is running"), "{gone}");
}
