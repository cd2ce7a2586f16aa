//! Health gates what follows, and a verdict comes as soon as it is known.

use std::fs;
use std::time::{Duration, Instant};

use windflow_core::target::{
    Applied, Condition, Context, Dependency, Desired, Health, PlanError, Probe, Restart, Service, Target as _,
    TargetErrorKind, TargetExt as _,
};
use windflow_core::{Clock as _, ServiceName, SystemClock};
use windflow_targets::host::HostTarget;

use crate::place::{PROOF, Place, check, eventually, free_port, get, kill, observe, pid_of, program, sh, stack, web};

fn cx(key: &str) -> Context {
    Context::new(key)
}

fn after(mut service: Service, need: &str, condition: Condition) -> Service {
    let dependency = Dependency { condition, required: true, restart: false };
    service.depends_on.insert(ServiceName::new(need).unwrap(), dependency);
    service
}

fn why(applied: &Applied) -> &str {
    match applied {
        Applied::RolledBack { why, .. } => why,
        other => panic!("it should have gone back: {other:?}"),
    }
}

#[tokio::test]
async fn services_start_when_what_they_depend_on_is_as_they_ask() {
    let place = Place::new();
    let target = place.target();
    let order = place.root.join("order");
    let say = |name: &str| format!("echo {name} >> {}; ", order.display());
    let mut db = sh(&(say("db") + "sleep 0.3; touch ready; exec sleep 1000"));
    db.healthcheck = Some(check(Probe::Exec(vec!["test".to_owned(), "-e".to_owned(), "ready".to_owned()])));
    let setup = after(sh(&say("setup")), "db", Condition::ServiceHealthy);
    let web = after(sh(&(say("web") + "exec sleep 1000")), "setup", Condition::ServiceCompletedSuccessfully);
    let stack = stack([("aa-web", web), ("db", db), ("setup", setup)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&order).unwrap(), "db\nsetup\nweb\n");
    let observed = observe(&target, &stack).await;
    assert_eq!(observed.services["setup"].health, Health::Completed);
    assert_eq!(observed.services["db"].health, Health::Healthy);
}

#[tokio::test]
async fn a_version_that_does_not_become_healthy_goes_back_to_the_one_before() {
    let (place, port) = (Place::new(), free_port());
    let target = place.target();
    let good = stack([("web", web(port, "1"))]);
    target.deploy(&cx("one"), good.clone()).await.unwrap();
    let mut sick = web(port, "2");
    sick.process = program(&[PROOF, "sick", &port.to_string()]).process;
    sick.healthcheck.as_mut().unwrap().start_period = Some(Duration::from_millis(300));
    let applied = target.deploy(&cx("two"), stack([("web", sick)])).await.unwrap();
    assert!(matches!(applied, Applied::RolledBack { to: Some(1), .. }), "{applied:?}");
    assert!(why(&applied).contains("web: GET / answered 503"), "{applied:?}");
    assert_eq!(get(port).await, "1");
    assert_eq!(target.deploy(&cx("three"), good).await.unwrap(), Applied::Nothing);
}

#[tokio::test]
async fn what_does_not_come_back_is_not_told_as_gone_back_to() {
    let place = Place::new();
    let target = place.target();
    let used = place.root.join("used");
    let good = sh(&format!("test ! -e {0} || {{ echo {0} is there; exit 7; }}; exec sleep 1000", used.display()));
    target.deploy(&cx("one"), stack([("web", good), ("other", sh("exec sleep 1000"))])).await.unwrap();
    let bad = sh(&format!("touch {}; echo broken; exit 5", used.display()));
    let failed = target.deploy(&cx("two"), stack([("web", bad)])).await.unwrap_err();
    let PlanError::Target(error) = &failed else { panic!("{failed}") };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy, "{error}");
    let (forth, back) = error.message.split_once("; and revision 1 did not come back: ").unwrap();
    assert!(forth.contains("web: ") && forth.contains("broken"), "{error}");
    assert!(back.contains("web: ") && back.contains("used is there"), "{error}");
}

#[tokio::test]
async fn a_verdict_comes_early_and_quotes_the_last_lines() {
    let place = Place::new();
    let target = place.target();
    let started = Instant::now();
    let mut looping = sh("echo starting; echo cannot open the database >&2; exit 7");
    looping.restart.policy = Restart::Always;
    looping.healthcheck = Some(check(Probe::Tcp { port: 1 }));
    looping.healthcheck.as_mut().unwrap().start_period = Some(Duration::from_secs(600));
    let applied = target.deploy(&cx("one"), stack([("db", looping)])).await.unwrap();
    let said = why(&applied);
    assert!(said.contains("crash loop: it ended with exit code 7, 3 times in a row"), "{said}");
    assert!(said.contains("cannot open the database"), "{said}");
    let applied = target.deploy(&cx("two"), stack([("job", sh("echo no such table; exit 2"))])).await.unwrap();
    assert_eq!(why(&applied), "job: it ended with exit code 2; last lines: no such table");
    assert!(started.elapsed() < Duration::from_secs(30), "nobody waited for the start period to end");
    assert!(place.supervisors().is_empty());
    assert_eq!(std::fs::read_dir(&place.root).unwrap().count(), 0, "a first apply that failed leaves nothing");
}

#[tokio::test]
async fn a_service_is_started_again_by_policy_until_it_has_had_enough() {
    let place = Place::new();
    let target = place.target();
    let mut service = sh("test -e stop && exit 0; touch stop; exit 1");
    service.restart.policy = Restart::OnFailure;
    service.restart.max_attempts = Some(2);
    let stack = stack([("job", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let job = observe(&target, &stack).await.services["job"].clone();
    assert_eq!((job.health, job.instances[0].restarts), (Health::Completed, 1));
}

#[tokio::test]
async fn a_service_that_falls_ill_later_shows_it() {
    let place = Place::new();
    let target = place.target();
    let mut service = sh("touch ready; exec sleep 1000");
    service.healthcheck = Some(check(Probe::Shell("test -e ready".to_owned())));
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    std::fs::remove_file(place.dir(&stack).join("services/db/0/work/ready")).unwrap();
    let observed = eventually("it is unhealthy", async || {
        let observed = observe(&target, &stack).await;
        (matches!(observed.services["db"].health, Health::Unhealthy { .. }), observed)
    })
    .await;
    assert_eq!(observed.services["db"].instances[0].restarts, 0, "health alone restarts nothing");
    // The cure comes with another service: the ill one is judged anew, not by what it was before.
    let file = place.dir(&stack).join("services/db/0/work/ready");
    let mut cured = stack.clone();
    let cure = sh(&format!("touch {}; exec sleep 1000", file.display()));
    cured.services.insert(ServiceName::new("cure").unwrap(), cure);
    assert_eq!(target.deploy(&cx("two"), cured.clone()).await.unwrap(), Applied::Revision(Some(2)));
    let after = observe(&target, &cured).await.services["db"].clone();
    assert_eq!((after.health, after.instances[0].restarts), (Health::Healthy, 0));
}

#[tokio::test]
async fn an_apply_is_not_done_before_what_it_finds_is_healthy() {
    let place = Place::new();
    let target = place.target();
    let sick = place.root.join("sick");
    let mut service = sh("exec sleep 1000");
    service.healthcheck =
        Some(check(Probe::Exec(vec!["test".into(), "!".into(), "-e".into(), sick.display().to_string()])));
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    assert_eq!(target.deploy(&cx("again"), stack.clone()).await.unwrap(), Applied::Nothing);
    fs::write(&sick, "").unwrap();
    eventually("it is ill", async || {
        let health = observe(&target, &stack).await.services["db"].health.clone();
        (matches!(health, Health::Unhealthy { .. }), health)
    })
    .await;
    let plan = target.plan_for(&cx("look"), &Desired::Present(stack.clone())).await.unwrap();
    let note = plan.changes[0].note.clone().unwrap();
    assert!(note.starts_with("it is unhealthy: ") && note.ends_with("; it is waited for"), "{note}");
    let error = target.deploy(&cx("two"), stack.clone()).await.unwrap_err();
    let PlanError::Target(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy, "{error}");
    fs::remove_file(&sick).unwrap();
    let pid = crate::place::pid_of(&target, &stack, "db").await;
    // It may have been seen to be well again by then.
    let applied = target.deploy(&cx("three"), stack.clone()).await.unwrap();
    assert!(matches!(applied, Applied::Revision(Some(1)) | Applied::Nothing), "{applied:?}");
    assert_eq!(crate::place::pid_of(&target, &stack, "db").await, pid, "it was waited for, and not started again");
}

#[tokio::test]
async fn what_cannot_run_here_is_refused_in_the_plan_by_path() {
    let place = Place::new();
    let target = place.target();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let image = Service { image: Some("nginx".to_owned()), ..Service::default() };
    let mut lost = sh("true");
    lost.process.as_mut().unwrap().working_dir = Some("/no/such/folder".to_owned());
    let stack = stack([("a", web(port, "1")), ("b", image), ("c", program(&["no-such-program"])), ("d", lost)]);
    let refused = target.plan_for(&cx("one"), &Desired::Present(stack)).await.unwrap_err();
    let PlanError::Refused { problems, .. } = refused else { panic!("{refused}") };
    let told: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    let paths =
        ["services.b.image", "services.c.process.command", "services.d.process.working_dir", "services.a.ports[0]"];
    assert_eq!(told, paths);
    let own = std::process::id();
    assert!(problems[3].1.starts_with(&format!("port {port} is taken by process {own} (")), "{}", problems[3].1);
    assert!(std::fs::read_dir(&place.root).unwrap().next().is_none(), "planning writes nothing");
}

#[tokio::test]
async fn a_revision_that_does_not_come_up_again_says_so_and_stays_the_revision() {
    let place = Place::new();
    let target = place.target();
    let needed = place.root.join("needed");
    std::fs::write(&needed, "").unwrap();
    let mut stack =
        stack([("db", sh(&format!("test -e {0} || exec echo lost {0}; exec sleep 1000", needed.display())))]);
    stack.services.values_mut().for_each(|db| db.restart.policy = Restart::Always);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    place.kill_supervisors().await;
    std::fs::remove_file(&needed).unwrap();
    kill(pid_of(&target, &stack, "db").await);
    eventually("it is dead", async || {
        let health = observe(&target, &stack).await.services["db"].health.clone();
        (health == Health::Stopped, health)
    })
    .await;
    let PlanError::Target(error) = target.deploy(&cx("two"), stack.clone()).await.unwrap_err() else { panic!() };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy);
    let said = error.to_string();
    assert!(said.contains("revision 1 does not come up again: db: crash loop") && said.contains("lost /"), "{said}");
    std::fs::write(&needed, "").unwrap();
    eventually("it comes up by its policy", async || {
        let health = observe(&target, &stack).await.services["db"].health.clone();
        (health == Health::Healthy, health)
    })
    .await;
    assert_eq!(target.deploy(&cx("three"), stack.clone()).await.unwrap(), Applied::Nothing);
    assert_eq!(target.revisions(&cx("look"), &stack.name).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_waits_in_vain_is_told_for_what_when_their_time_is_up() {
    let (place, port) = (Place::new(), free_port());
    let mut deaf = sh("echo cannot reach the database; exec sleep 1000");
    deaf.healthcheck = Some(check(Probe::Http { port, path: "/".to_owned() }));
    deaf.healthcheck.as_mut().unwrap().start_period = Some(Duration::from_secs(600));
    let api = after(sh("exec sleep 1000"), "web", Condition::ServiceHealthy);
    let stack = stack([("web", deaf), ("api", api)]);
    let told = |said: &str, what: &str| {
        let api = "api is not started: it waits for web to be healthy";
        let web = format!("web is starting: port {port} does not answer: Connection refused (os error 111)");
        assert_eq!(said, format!("{what}: {api}, {web}; last lines: cannot reach the database"));
    };
    let mut config = place.config("ours");
    config.health_timeout = Duration::from_secs(3);
    let patient = HostTarget::new(config);
    let applied = patient.deploy(&cx("one"), stack.clone()).await.unwrap();
    told(why(&applied), "not healthy within 3 s");
    let target = place.target();
    let began = Instant::now();
    let short = cx("two").with_deadline(Some(SystemClock.now().after(Duration::from_secs(3))));
    let PlanError::Target(error) = target.deploy(&short, stack.clone()).await.unwrap_err() else { panic!() };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy);
    told(&error.message, "not healthy when time was up");
    assert!(began.elapsed() < Duration::from_secs(60), "far sooner than the health timeout");
    // What was begun is gone on with, or taken back, by whoever asked.
    assert_eq!(place.supervisors().len(), 1);
    target.destroy(&cx("two/undo"), &stack.name).await.unwrap();
    assert_eq!(std::fs::read_dir(&place.root).unwrap().count(), 0);
}

#[tokio::test]
async fn a_way_back_that_is_gone_is_told_together_with_what_made_it_necessary() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let target = place.target();
    let one = place.root.join("one");
    std::fs::write(&one, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&one, std::fs::Permissions::from_mode(0o700)).unwrap();
    let good = stack([("db", program(&[one.to_str().unwrap()]))]);
    target.deploy(&cx("one"), good.clone()).await.unwrap();
    std::fs::remove_file(&one).unwrap();
    let bad = stack([("db", sh("echo no such table; exit 2"))]);
    let PlanError::Target(error) = target.deploy(&cx("two"), bad).await.unwrap_err() else { panic!() };
    let why = "db: it ended with exit code 2; last lines: no such table; and revision 1 cannot be made current again: \
               services.db.process.command: there is no program ";
    assert!(error.message.starts_with(why), "{error}");
    // Whoever brings it back finds all as it should be.
    std::fs::write(&one, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&one, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(target.deploy(&cx("three"), good).await.unwrap(), Applied::Revision(Some(1)));
}
