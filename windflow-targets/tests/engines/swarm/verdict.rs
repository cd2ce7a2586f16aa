//! How soon, and with which reason, an apply knows that it will not come right.

use std::time::{Duration, Instant};

use windflow_core::target::{
    Applied, Condition, Context, Dependency, Desired, EndpointMode, EnvValue, FailureAction, Mount, MountKind,
    PlanError, PortMapping, Probe, Restart, RestartPolicy, Rollout, Service, Stack, Strategy, Target as _,
    TargetErrorKind, TargetExt as _, UpdateConfig, Volume,
};

use super::place::{Place, docker, docker_says, port, sh, web};

/// What a first apply of this service comes to, and how long that takes.
async fn fails(service: Service) -> (String, Duration) {
    let place = Place::new();
    let stack = place.stack([("bad", service)]);
    let begun = Instant::now();
    let applied = place.target().deploy(&Context::new("bad"), stack).await.unwrap();
    match applied {
        Applied::RolledBack { to: None, why } => (why, begun.elapsed()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_missing_is_told_within_seconds() {
    let (why, took) = fails(Service { image: Some("127.0.0.1:9/none:1".to_owned()), ..sh("true") }).await;
    assert!(why.contains("bad: on node ") && why.contains("No such image: 127.0.0.1:9/none:1"), "{why}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_of_an_image_is_refused_by_its_path_and_nothing_is_touched() {
    let place = Place::new();
    let stack = place.stack([("bad", Service { image: Some("UPPER:bad tag".to_owned()), ..sh("true") })]);
    let refused = place.target().deploy(&Context::new("bad"), stack).await.unwrap_err();
    let PlanError::Refused { problems, .. } = refused else { panic!("{refused}") };
    assert_eq!((problems[0].0.as_str(), problems.len()), ("services.bad.image", 1));
    assert!(problems[0].1.starts_with("'UPPER:bad tag' is no name of an image: "), "{problems:?}");
    assert_eq!(place.proxy.mutations(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_with_its_last_lines() {
    let (why, _) = fails(sh("echo one; echo two; exit 3")).await;
    assert!(why.contains("non-zero exit (3)") && why.ends_with("last lines: one | two"), "{why}");
    let mut looping = sh("echo again; exit 4");
    looping.restart = RestartPolicy { delay: Some(Duration::from_millis(200)), ..RestartPolicy::on(Restart::Always) };
    let (why, took) = fails(looping).await;
    assert!(why.contains("non-zero exit (4)") && why.ends_with("last lines: again"), "{why}");
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ready_within_its_own_time_is_told_long_before_the_target_would_give_up() {
    let mut late = web(port(), "1");
    let check = late.healthcheck.as_mut().unwrap();
    // For half a minute it may fail its checks: it is neither well nor ill.
    (check.probe, check.start_period) = (Probe::Shell("false".to_owned()), Some(Duration::from_secs(30)));
    late.rollout = Some(Rollout { progress_deadline: Some(Duration::from_secs(3)), ..Rollout::default() });
    let (why, _) = fails(late).await;
    assert!(why.contains("bad is starting after 3 s"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_finds_no_node_is_told_with_the_scheduler_s_reason() {
    let mut nowhere = sh("exec sleep 1000");
    nowhere.placement.constraints = vec!["node.hostname==nowhere".to_owned()];
    let (why, took) = fails(nowhere).await;
    assert!(why.contains("no suitable node (scheduling constraints not satisfied"), "{why}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let mut large = sh("exec sleep 1000");
    large.resources.reservations.memory = Some(1 << 50);
    let (why, _) = fails(large).await;
    assert!(why.contains("insufficient resources"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told() {
    let place = Place::new();
    let number = port();
    place.target().deploy(&Context::new("one"), place.stack([("web", web(number, "1"))])).await.unwrap();
    let (why, _) = fails(web(number, "2")).await;
    assert!(why.contains("host-mode port already in use"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_that_fails_is_told() {
    let mut ill = web(port(), "1");
    ill.command = sh("exec sleep 1000").command;
    ill.healthcheck.as_mut().unwrap().retries = Some(2);
    let (why, _) = fails(ill).await;
    assert!(why.contains("unhealthy container"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_addresses_that_cannot_work_are_no_health() {
    let place = Place::new();
    let target = place.target();
    let probed = target.probe(&Context::new("probe")).await.unwrap();
    let works = probed.details["virtual addresses"].starts_with("yes");
    let mut vip = sh("exec sleep 1000");
    vip.endpoint_mode = Some(EndpointMode::Vip);
    let stack = place.stack([("one", vip.clone()), ("two", sh("exec sleep 1000"))]);
    let applied = target.deploy(&Context::new("one"), stack).await.unwrap();
    // A kernel that has what is needed is as good an answer: then it is healthy.
    match applied {
        Applied::Revision(Some(1)) if works => {}
        Applied::RolledBack { why, .. } if !works => assert!(why.contains("no IPVS"), "{why}"),
        other => panic!("virtual addresses work: {works}; {other:?}"),
    }
    // It listens and is well, by itself: whether anybody reaches it is the kernel's.
    let mut listening = web(port(), "1");
    listening.endpoint_mode = Some(EndpointMode::Vip);
    listening.ports = vec![PortMapping::tcp(80).published(port())];
    let mut stack = place.stack([("web", listening)]);
    stack.name = format!("{}-c", place.stack).parse().unwrap();
    match target.deploy(&Context::new("three"), stack).await.unwrap() {
        Applied::Revision(Some(1)) if works => {}
        Applied::RolledBack { why, .. } if !works => {
            assert!(why.contains("no IPVS") || why.contains("answers nobody"), "{why}");
        }
        other => panic!("the ingress works: {works}; {other:?}"),
    }
    let mut ingress = vip;
    ingress.ports = vec![PortMapping::tcp(80).published(port())];
    let mut stack = place.stack([("web", ingress)]);
    stack.name = format!("{}-b", place.stack).parse().unwrap();
    let applied = target.deploy(&Context::new("two"), stack).await.unwrap();
    match applied {
        Applied::RolledBack { why, .. } => assert!(why.contains("answers nobody"), "{why}"),
        other => panic!("nothing listens on that port: {other:?}"),
    }
}

async fn good(place: &Place, service: Service) -> Stack {
    let stack = place.stack([("web", service)]);
    let applied = place.target().deploy(&Context::new("good"), stack.clone()).await.unwrap();
    assert_eq!(applied, Applied::Revision(Some(1)));
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_the_swarm_takes_back_by_itself_takes_the_stack_back() {
    let place = Place::new();
    let mut service = sh("exec sleep 1000");
    service.update_config = Some(UpdateConfig {
        failure_action: Some(FailureAction::Rollback),
        order: Some(windflow_core::target::Order::StartFirst),
        ..UpdateConfig::default()
    });
    let stack = good(&place, service).await;
    let mut bad = stack.clone();
    bad.services.get_mut("web").unwrap().command = sh("echo broken; exit 5").command;
    let applied = place.target().deploy(&Context::new("bad"), bad).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = applied else { panic!("{applied:?}") };
    assert!(why.contains("web: ") && why.contains("last lines: broken"), "{why}");
    let plan = place.target().drift(&Context::new("drift"), &stack.name).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_back_is_not_told_as_gone_back_to() {
    let place = Place::new();
    let mut service = sh("test ! -e /data/used || { echo used; exit 7; }; exec sleep 1000");
    service.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut one = place.stack([("web", service)]);
    one.volumes.insert("data".to_owned(), Volume::default());
    place.target().deploy(&Context::new("one"), one.clone()).await.unwrap();
    let mut bad = one.clone();
    bad.services.get_mut("web").unwrap().command = sh("touch /data/used; echo broken; exit 5").command;
    let failed = place.target().deploy(&Context::new("two"), bad).await.unwrap_err();
    let PlanError::Target(error) = &failed else { panic!("{failed}") };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy, "{error}");
    let (forth, back) = error.message.split_once("; and revision 1 did not come back: ").unwrap();
    assert!(forth.contains("web: ") && forth.contains("broken"), "{error}");
    assert!(back.contains("web: ") && back.contains("used"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_that_fails_leaves_the_old_instance_running() {
    let place = Place::new();
    let mut service = sh("exec sleep 1000");
    service.rollout = Some(Rollout { strategy: Some(Strategy::Rolling), ..Rollout::default() });
    let stack = good(&place, service).await;
    let docker = docker().await;
    let target = place.target();
    let cx = Context::new("look");
    let before = target.observe(&cx, &stack.name).await.unwrap().services["web"].instances[0].id.clone();
    let mut bad = stack.clone();
    bad.services.get_mut("web").unwrap().image = Some("127.0.0.1:9/none:1".to_owned());
    let applied = target.deploy(&Context::new("bad"), bad).await.unwrap();
    assert!(
        matches!(&applied, Applied::RolledBack { to: Some(1), why } if why.contains("No such image")),
        "{applied:?}"
    );
    let after = target.observe(&cx, &stack.name).await.unwrap().services["web"].instances[0].id.clone();
    assert_eq!(after, before, "the old instance was never stopped");
    assert!(docker.inspect_container(&after, None::<bollard::query_parameters::InspectContainerOptions>).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_without_a_revision_on_record_is_not_taken_down_by_an_update_that_fails() {
    let place = Place::new();
    let (target, cx) = (place.target(), Context::new("one"));
    let stack = place.stack([("app", sh("exec sleep 1000"))]);
    target.deploy(&cx, stack.clone()).await.unwrap();
    for (kind, id) in super::place::marked(&docker().await, &place.owner, Some(stack.name.as_str())).await {
        if kind == "config" {
            docker_says(&["config", "rm", &id]);
        }
    }
    assert!(target.observe(&cx, &stack.name).await.unwrap().current.is_none());
    let broken = place.stack([("app", Service { image: Some("127.0.0.1:9/none:1".to_owned()), ..sh("true") })]);
    let error = target.deploy(&Context::new("two"), broken).await.unwrap_err();
    let PlanError::Target(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy);
    assert!(error.message.contains("No such image") && error.message.contains("no revision is on record"), "{error}");
    assert_eq!(target.observe(&cx, &stack.name).await.unwrap().services.len(), 1, "it is still there");
    // Applied again it is put right, and is on record again.
    assert_eq!(target.deploy(&Context::new("three"), stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_overtaken_by_another_apply_says_so_and_records_nothing() {
    let place = Place::new();
    let target = place.target();
    let version = |version: &str| {
        let mut app = sh("exec sleep 1000");
        app.environment.insert("VERSION".to_owned(), EnvValue::Plain(version.to_owned()));
        app
    };
    target.deploy(&Context::new("one"), place.stack([("app", version("1"))])).await.unwrap();
    let mut slow = version("2");
    slow.rollout = Some(Rollout { min_healthy: Some(Duration::from_secs(15)), ..Rollout::default() });
    let (first, slow) = (target.clone(), place.stack([("app", slow)]));
    let begun = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = begun.clone();
    let heard = move |text: &str| {
        if text.contains("updating the service") {
            told.notify_one()
        }
    };
    let cx = Context::new("slow").with_progress(std::sync::Arc::new(heard));
    let first = tokio::spawn(async move { first.deploy(&cx, slow).await });
    tokio::time::timeout(Duration::from_secs(30), begun.notified()).await.unwrap();
    let quick = place.stack([("app", version("3"))]);
    // The first may just be calling, and then the Swarm refuses one of the two.
    let mut second = target.deploy(&Context::new("quick"), quick.clone()).await;
    if second.is_err() {
        second = target.deploy(&Context::new("quick"), quick.clone()).await;
    }
    assert_eq!(second.unwrap(), Applied::Revision(Some(2)));
    let PlanError::Target(told) = first.await.unwrap().unwrap_err() else { panic!("no target's error") };
    assert_eq!(told.kind, TargetErrorKind::Conflict, "{told}");
    let current = target.observe(&Context::new("look"), &quick.name).await.unwrap().current.unwrap();
    assert_eq!((current.number, current.stack), (2, quick.clone()));
    assert!(target.drift(&Context::new("drift"), &quick.name).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_swarm_refuses_in_the_middle_takes_back_what_was_changed_before() {
    let place = Place::new();
    let target = place.target();
    let both = |seconds: &str, bad: Option<&str>| {
        let one = sh(&format!("exec sleep {seconds}"));
        let mut two = one.clone();
        let need = Dependency { condition: Condition::ServiceStarted, required: true, restart: false };
        two.depends_on.insert("one".parse().unwrap(), need);
        two.placement.constraints = bad.map(str::to_owned).into_iter().collect();
        place.stack([("one", one), ("two", two)])
    };
    target.deploy(&Context::new("one"), both("1000", None)).await.unwrap();
    let told = target.deploy(&Context::new("two"), both("1001", Some("node.foo ~ bar"))).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = told else { panic!("{told:?}") };
    assert!(why.contains("two: updating the service two: the engine says: "), "{why}");
    let before = Desired::Present(both("1000", None));
    let plan = target.plan_for(&Context::new("look"), &before).await.unwrap();
    assert!(plan.is_empty(), "{:#?}", plan.changes);
    // Nor does a first one leave anything.
    let place = Place::new();
    let first = place.stack([("two", {
        let mut two = sh("exec sleep 1000");
        two.placement.constraints = vec!["node.foo ~ bar".to_owned()];
        two
    })]);
    let told = place.target().deploy(&Context::new("first"), first.clone()).await.unwrap();
    assert!(matches!(told, Applied::RolledBack { to: None, .. }), "{told:?}");
    assert!(place.target().observe(&Context::new("look"), &first.name).await.unwrap().is_absent());
}
