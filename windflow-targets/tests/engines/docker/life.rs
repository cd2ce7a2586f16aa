//! The life of a stack of five services, seen from outside.

use std::time::{Duration, Instant};

use windflow_core::target::{
    Applied, ChangeKind, Command, Condition, Consents, Desired, Exec, ExecEvent, FileMount, FileObject, FileSource,
    Health, LogOptions, Mount, MountKind, PlanError, ServiceRef, Stack, Target as _, TargetErrorKind, TargetExt as _,
    Volume,
};
use windflow_core::{Clock as _, StackName, SystemClock};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, cx, docker, docker_may_fail, idle, needing, shell, stack, with_check, with_variable};

/// web, api, worker, redis and a migration that runs once; whoever waits, waits for what it needs.
fn shop(version: &str) -> Stack {
    let redis = with_check(shell("touch /ready; exec sleep 100000"), "test -e /ready");
    let migration = needing(shell("echo migrated"), "redis", Condition::ServiceHealthy);
    let mut api = with_check(web_server(version), "wget -q -O /dev/null http://127.0.0.1/");
    api = needing(api, "migration", Condition::ServiceCompletedSuccessfully);
    let web = needing(
        with_check(web_server("front"), "wget -q -O /dev/null http://127.0.0.1/"),
        "api",
        Condition::ServiceHealthy,
    );
    let worker = needing(with_variable(idle(), "QUEUE", "redis"), "redis", Condition::ServiceStarted);
    let mut shop =
        stack("shop", [("web", web), ("api", api), ("worker", worker), ("redis", redis), ("migration", migration)]);
    let redis = shop.services.get_mut("redis").unwrap();
    redis.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    shop.volumes.insert("data".to_owned(), Volume::default());
    shop
}

fn web_server(says: &str) -> windflow_core::target::Service {
    shell(&format!("mkdir -p /w && echo {says} > /w/index.html && exec httpd -f -p 80 -h /w"))
}

async fn ids(target: &DockerTarget, stack: &StackName) -> Vec<(String, String)> {
    let observed = target.observe(&cx("look"), stack).await.unwrap();
    let services = observed.services.iter();
    services.map(|(name, service)| (name.to_string(), service.instances[0].id.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_services_come_up_in_order_and_nothing_is_done_twice() {
    let place = Place::new();
    let target = place.target();
    let first = shop("one");
    let applied = target.deploy(&cx("one"), first.clone()).await.unwrap();
    assert_eq!(applied, Applied::Revision(Some(1)));
    let started: Vec<String> = place
        .proxy
        .calls()
        .iter()
        .filter(|call| call.path.ends_with("/start"))
        .map(|call| call.path.trim_start_matches("/containers/").trim_end_matches("/start").to_owned())
        .collect();
    let names: Vec<(String, String)> = ids(&target, &first.name).await;
    let at = |service: &str| {
        let (_, id) = names.iter().find(|(name, _)| name == service).unwrap();
        started.iter().position(|started| started.ends_with(id.as_str())).unwrap()
    };
    assert!(at("redis") < at("migration") && at("migration") < at("api") && at("api") < at("web"), "{started:?}");
    assert!(at("redis") < at("worker"));
    let observed = target.observe(&cx("look"), &first.name).await.unwrap();
    assert_eq!(observed.services["migration"].health, Health::Completed);

    place.proxy.forget();
    assert_eq!(target.deploy(&cx("again"), first.clone()).await.unwrap(), Applied::Nothing);
    assert_eq!(place.proxy.mutations(), 0, "{:?}", place.proxy.calls());
    let calls = place.proxy.calls().len();
    assert!(calls <= 40, "a second apply asks for what is there, not for each field: {calls} calls");

    // One changed service replaces only that one.
    let before = ids(&target, &first.name).await;
    target.deploy(&cx("two"), shop("two")).await.unwrap();
    let after = ids(&target, &first.name).await;
    let changed: Vec<&str> =
        before.iter().zip(&after).filter(|(old, new)| old != new).map(|(old, _)| old.0.as_str()).collect();
    assert_eq!(changed, ["api"]);

    let plan = target.plan_rollback(&cx("back"), &first.name, None).await.unwrap();
    assert_eq!(target.apply(&cx("back"), &plan).await.unwrap(), Applied::Revision(Some(3)));
    let said = run(&target, &first.name, "api", &["wget", "-q", "-O", "-", "http://127.0.0.1/"]).await;
    assert_eq!(said, (0, "one\n".to_owned()));

    // What is in a volume outlives its stack unless that was agreed to.
    assert_eq!(run(&target, &first.name, "redis", &["sh", "-c", "echo kept > /data/it"]).await.0, 0);
    target.destroy(&cx("gone"), &first.name).await.unwrap();
    let left = place.marked(None);
    assert!(left.len() == 1 && left[0].starts_with("volume "), "only the volume is left: {left:?}");
    assert!(target.observe(&cx("look"), &first.name).await.unwrap().is_absent());
    assert_eq!(target.destroy(&cx("gone again"), &first.name).await.unwrap(), Applied::Nothing);
    assert_eq!(target.stacks(&cx("list")).await.unwrap(), [] as [StackName; 0]);
    target.deploy(&cx("anew"), first.clone()).await.unwrap();
    let kept = run(&target, &first.name, "redis", &["cat", "/data/it"]).await;
    assert_eq!(kept, (0, "kept\n".to_owned()));
    let all = cx("all of it").with_consents(Consents::none().allow_destroy("volume"));
    target.destroy(&all, &first.name).await.unwrap();
    assert_eq!(place.marked(None), [""; 0]);
}

pub async fn run(target: &DockerTarget, stack: &StackName, service: &str, argv: &[&str]) -> (i32, String) {
    use futures_util::StreamExt as _;
    let of = ServiceRef::service(stack.clone(), service.parse().unwrap());
    let mut session = target.exec(&cx("exec"), &of, Exec::new(argv.iter().copied())).await.unwrap();
    let (mut code, mut out) = (-1, Vec::new());
    while let Some(event) = session.events.next().await {
        match event.unwrap() {
            ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => out.extend(bytes),
            ExecEvent::Exit(ended) => code = ended,
        }
    }
    (code, String::from_utf8(out).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_image_ends_soon_and_costs_no_request() {
    let place = Place::new();
    let target = place.target();
    let good = stack(
        "serving",
        [("web", with_check(web_server("good"), "wget -q -O /dev/null http://127.0.0.1/")), ("load", idle())],
    );
    target.deploy(&cx("one"), good.clone()).await.unwrap();
    let load = ids(&target, &good.name).await.into_iter().find(|(name, _)| name == "load").unwrap().1;
    // Asks for the page over and over, through the service's name, and writes down what it got.
    let asking =
        "while test ! -e /stop; do wget -q -O - http://web/ >> /got 2>&1 || echo FAILED >> /got; done; touch /done";
    docker(&["exec", "-d", &load, "sh", "-c", asking]);

    let mut bad = good.clone();
    let web = bad.services.get_mut("web").unwrap();
    web.image = Some("wf-broken:1".to_owned());
    web.command = None;
    let since = Instant::now();
    let back = target.deploy(&cx("two"), bad.clone()).await.unwrap();
    let took = since.elapsed();
    let Applied::RolledBack { to: Some(1), why } = &back else { panic!("{back:?}") };
    assert!(why.contains("exit code 1") && why.contains("the configuration names no database"), "{why}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    let web = bad.services.get_mut("web").unwrap();
    web.image = Some("wf-not-there:1".to_owned());
    web.pull_policy = Some("never".to_owned());
    let missing = target.deploy(&cx("three"), bad).await.unwrap_err();
    assert!(matches!(&missing, PlanError::Target(error) if error.kind == TargetErrorKind::Refused), "{missing}");
    assert!(missing.to_string().contains("wf-not-there:1"), "{missing}");

    docker(&["exec", &load, "touch", "/stop"]);
    while !docker_may_fail(&["exec", &load, "test", "-e", "/done"]).0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let got = docker(&["exec", &load, "sort", "/got"]);
    let answers = got.lines().count();
    assert!(answers >= 20, "there was load: {answers}");
    assert!(got.lines().all(|line| line == "good"), "a request failed: {:?}", got.lines().find(|line| *line != "good"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_back_is_not_told_as_gone_back_to() {
    let place = Place::new();
    let target = place.target();
    let mut web = shell("test ! -e /data/used || { echo used; exit 7; }; exec sleep 1000");
    web.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut good = stack("nowhere-to-go", [("web", web), ("other", idle())]);
    good.volumes.insert("data".to_owned(), Volume::default());
    target.deploy(&cx("one"), good.clone()).await.unwrap();
    let mut bad = good.clone();
    bad.services.get_mut("web").unwrap().command = shell("touch /data/used; echo broken; exit 5").command;
    let failed = target.deploy(&cx("two"), bad).await.unwrap_err();
    let PlanError::Target(error) = &failed else { panic!("{failed}") };
    assert_eq!(error.kind, TargetErrorKind::Unhealthy, "{error}");
    let (forth, back) = error.message.split_once("; and revision 1 did not come back: ").unwrap();
    assert!(forth.contains("web: ") && forth.contains("exit code 5") && forth.contains("broken"), "{error}");
    assert!(back.contains("web: ") && back.contains("exit code 7") && back.contains("used"), "{error}");
    target.destroy(&cx("end").with_consents(Consents::none().allow_destroy("volume")), &good.name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_service_does_not_come_up_is_told_in_the_engine_s_words() {
    let place = Place::new();
    let target = place.target();
    let mut holder = idle();
    holder.ports = vec![windflow_core::target::PortMapping::tcp(80).published(18_471).on("127.0.0.1")];
    target.deploy(&cx("holder"), stack("holder", [("one", holder.clone())])).await.unwrap();
    let mut noexec = idle();
    noexec.image = Some("wf-noexec:1".to_owned());
    noexec.command = None;
    let mut hungry = shell("x=a; while true; do x=$x$x$x; done");
    hungry.resources.limits.memory = Some(16 * 1024 * 1024);
    let mut looping = shell("echo cannot go on; exit 7");
    looping.restart = windflow_core::target::RestartPolicy::on(windflow_core::target::Restart::Always);
    let sick = with_check(shell("exec sleep 100000"), "echo no database; exit 1");
    for (service, expected) in [
        (holder, "port is already allocated"),
        (noexec, "no such file"),
        (hungry, "out of memory"),
        (looping, "cannot go on"),
        (sick, "no database"),
    ] {
        let back = target.deploy(&cx(expected), stack("failing", [("web", service)])).await.unwrap();
        let Applied::RolledBack { to: None, why } = back else { panic!("{expected}: {back:?}") };
        assert!(why.contains(expected), "{expected}: {why}");
        assert!(place.marked(Some(&"failing".parse().unwrap())).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_secrets_are_handed_out_and_leave_no_trace() {
    let place = Place::new();
    let target = place.target();
    let secrets = windflow_core::secret::MemorySecrets::new().with("password", "hunter2-hunter2");
    let sources = windflow_core::SecretSources::new().with("memory", std::sync::Arc::new(secrets));
    let cx = |key: &str| cx(key).with_secrets(sources.clone(), windflow_core::Masker::new());
    let mut web = idle();
    web.environment.insert(
        "TOKEN".to_owned(),
        windflow_core::target::EnvValue::Secret("secret://memory/password".parse().unwrap()),
    );
    web.secrets = vec![FileMount { source: "password".to_owned(), mode: Some(0o400), ..FileMount::default() }];
    web.configs = vec![FileMount {
        source: "page".to_owned(),
        target: Some("/etc/page.conf".to_owned()),
        ..FileMount::default()
    }];
    let mut shop = stack("handed", [("web", web)]);
    let object = |source| FileObject { source: Some(source), ..FileObject::default() };
    shop.secrets.insert("password".to_owned(), object(FileSource::Secret("secret://memory/password".parse().unwrap())));
    shop.configs.insert("page".to_owned(), object(FileSource::Content("title = one\n".to_owned())));
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    let read = "cat /run/secrets/password; echo; echo $TOKEN; cat /etc/page.conf; stat -c %a /run/secrets/password";
    let said = run(&target, &shop.name, "web", &["sh", "-c", read]).await;
    assert_eq!(said, (0, "hunter2-hunter2\nhunter2-hunter2\ntitle = one\n400\n".to_owned()));
    assert!(target.drift(&cx("drift"), &shop.name).await.unwrap().is_empty());

    // Neither labels nor records hold the value; the environment of the container does, as it must.
    let observed = target.observe(&cx("look"), &shop.name).await.unwrap();
    assert!(!format!("{observed:?}").contains("hunter2"), "{observed:?}");
    let id = &observed.services["web"].instances[0].id;
    assert!(!docker(&["inspect", "-f", "{{json .Config.Labels}}", id]).contains("hunter2"));
    for volume in place.marked(None).iter().filter_map(|line| line.strip_prefix("volume ")) {
        assert!(!docker(&["volume", "inspect", volume]).contains("hunter2"));
    }

    shop.configs.insert("page".to_owned(), object(FileSource::Content("title = two\n".to_owned())));
    let plan = target.plan_for(&cx("two"), &Desired::Present(shop.clone())).await.unwrap();
    let told: Vec<(ChangeKind, &str)> = plan.changes.iter().map(|change| (change.kind, change.path.as_str())).collect();
    let replaced = (ChangeKind::Replace, "services.web");
    assert!(
        told.contains(&(ChangeKind::Replace, "configs.page.source.content")) && told.contains(&replaced),
        "{told:?}"
    );
    target.apply(&cx("two"), &plan).await.unwrap();
    assert_eq!(run(&target, &shop.name, "web", &["cat", "/etc/page.conf"]).await.1, "title = two\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_all_services_come_in_order_and_go_on() {
    use futures_util::StreamExt as _;
    let place = Place::new();
    let target = place.target();
    let say = |word: &str, pause: &str| {
        shell(&format!(
            "sleep {pause}; echo {word} 1; echo {word} bad >&2; sleep 0.6; echo {word} 2; exec sleep 100000"
        ))
    };
    let talk = stack("talk", [("a", say("a", "0")), ("b", say("b", "0.3"))]);
    target.deploy(&cx("one"), talk.clone()).await.unwrap();
    let of = ServiceRef::stack(talk.name.clone());
    let mut following = target.logs(&cx("follow"), &of, LogOptions { follow: true, ..LogOptions::default() });
    let mut heard = Vec::new();
    while heard.iter().filter(|line: &&String| line.ends_with('2')).count() < 2 {
        heard.push(following.next().await.unwrap().unwrap().text);
    }
    assert_eq!(heard.len(), 6, "{heard:?}");
    let all: Vec<windflow_core::target::LogLine> =
        target.logs(&cx("all"), &of, LogOptions::default()).map(|line| line.unwrap()).collect().await;
    let texts: Vec<&str> = all.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert!(all.is_sorted_by_key(|line| line.at) && all.iter().all(|line| line.at.is_some()), "{all:?}");
    let last: Vec<String> = target
        .logs(&cx("tail"), &of, LogOptions { tail: Some(1), ..LogOptions::default() })
        .map(|line| line.unwrap().text)
        .collect()
        .await;
    assert_eq!(last.len(), 2, "{last:?}");
    // An engine counts in seconds: once another has begun, all of that is past.
    let said = all.iter().filter_map(|line| line.at).max().unwrap();
    super::place::until("its last second is over", || SystemClock.now().0 / 1000 > said.0 / 1000).await;
    for (since, count) in [(Duration::from_secs(3600), 6), (Duration::ZERO, 0)] {
        let options = LogOptions { since: Some(since), ..LogOptions::default() };
        assert_eq!(target.logs(&cx("since"), &of, options).count().await, count, "{since:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_is_not_told_as_well() {
    use futures_util::StreamExt as _;
    let place = Place::new();
    let target = place.target();
    let talk = stack("asked", [("a", idle()), ("b", idle())]);
    target.deploy(&cx("one"), talk.clone()).await.unwrap();
    // It says nothing more, and goes on.
    let silent = "exec >&- 2>&-; sleep 0.5; exit 7";
    assert_eq!(run(&target, &talk.name, "a", &["sh", "-c", silent]).await, (7, String::new()));
    for follow in [false, true] {
        let of = ServiceRef::service(talk.name.clone(), "c".parse().unwrap());
        let mut lines = target.logs(&cx("logs"), &of, LogOptions { follow, ..LogOptions::default() });
        let told = lines.next().await.unwrap().unwrap_err();
        assert_eq!(told.kind, TargetErrorKind::NotFound);
        assert!(told.to_string().contains("there is no service 'c'"), "{told}");
        assert_eq!(told.hint.as_deref(), Some("known: a, b"));
        let told = target.exec(&cx("exec"), &of, Exec::new(["true"])).await.err().unwrap();
        assert_eq!((told.kind, told.hint.as_deref()), (TargetErrorKind::NotFound, Some("known: a, b")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_of_an_image_is_refused_by_its_path_and_an_id_is_one() {
    let place = Place::new();
    let of = |image: &str| {
        let web = windflow_core::target::Service { image: Some(image.to_owned()), ..idle() };
        Desired::Present(stack("named", [("web", web)]))
    };
    let refused = place.target().plan_for(&cx("plan"), &of("Web:one two")).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    assert_eq!(problems.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["services.web.image"]);
    let id = super::place::docker(&["image", "inspect", "-f", "{{.Id}}", "wf-busybox:1"]);
    let Desired::Present(by_id) = of(&id) else { panic!("{id}") };
    assert_eq!(place.target().deploy(&cx("one"), by_id).await.unwrap(), Applied::Revision(Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_a_container_root_of_the_machine_is_refused_by_path() {
    let place = Place::new();
    let mut web = idle();
    web.privileged = true;
    web.pid = Some("host".to_owned());
    web.cap_add = vec!["SYS_ADMIN".to_owned(), "NET_BIND_SERVICE".to_owned()];
    web.volumes = vec![Mount::new(MountKind::Bind, Some("/var/run/docker.sock".to_owned()), "/s")];
    web.command = Some(Command::Argv(vec!["true".to_owned()]));
    let asked = Desired::Present(stack("greedy", [("web", web)]));
    let refused = place.target().plan_for(&cx("plan"), &asked).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["privileged", "pid", "cap_add", "volumes[0]"].map(|field| format!("services.web.{field}")));
    let mut config = place.config();
    config.allow_privileged = true;
    assert!(DockerTarget::new(config).plan_for(&cx("plan"), &asked).await.is_ok_and(|plan| !plan.is_empty()));
}
