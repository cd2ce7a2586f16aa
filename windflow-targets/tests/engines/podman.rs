//! The `docker` kind on Podman's compatible socket.

use futures_util::StreamExt as _;
use windflow_core::target::{
    Applied, Desired, FileMount, FileObject, FileSource, LogOptions, Mount, MountKind, Network, PortMapping, Restart,
    RestartPolicy, ServiceRef, Stack, Target as _, TargetExt as _, Ulimit, Volume,
};
use windflow_targets::docker::Endpoint;

use super::docker::conformance::OnEngine;
use super::docker::life::run;
use super::docker::place::{Place, cx, idle, shell, stack, with_variable};

// Without checks: it has the timers of systemd run them, which are not here.
windflow_core::target_conformance!(OnEngine::new(&endpoint(), false, 3));

fn endpoint() -> Endpoint {
    windflow_bed::podman().parse().unwrap()
}

/// Settings of many kinds, none of which Podman tells as Docker does.
fn with_much(place: &Place) -> Stack {
    let mut web = shell("echo hello from $GREETING; trap 'exit 0' INT; while true; do sleep 0.1; done");
    web = with_variable(web, "GREETING", "one");
    web.stop_signal = Some("SIGINT".to_owned());
    web.ports = vec![PortMapping::tcp(80), PortMapping::tcp(81).published(18_491)];
    web.init = Some(true);
    web.tmpfs = vec!["/scratch".to_owned()];
    web.cap_drop = vec!["NET_RAW".to_owned()];
    web.hostname = Some("front".to_owned());
    web.user = Some("1000:1000".to_owned());
    web.working_dir = Some("/tmp".to_owned());
    web.extra_hosts.insert("db".to_owned(), vec!["10.1.2.3".to_owned()]);
    // Whoever says one says the other, too: where CAP_SYS_RESOURCE is missing the limits of Podman itself are too high.
    web.ulimits.insert("nofile".to_owned(), Ulimit { soft: 512, hard: 1024 });
    web.ulimits.insert("nproc".to_owned(), Ulimit { soft: 500, hard: 1000 });
    web.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    web.resources.limits.memory = Some(64 * 1024 * 1024);
    web.resources.limits.pids = Some(50);
    web.configs =
        vec![FileMount { source: "page".to_owned(), target: Some("/etc/page".to_owned()), ..FileMount::default() }];
    web.restart = RestartPolicy::on(Restart::UnlessStopped);
    let mut much = stack("much", [("web", web), ("other", idle())]);
    much.name = format!("much-{}", place.owner).parse().unwrap();
    much.volumes.insert("data".to_owned(), Volume::default());
    much.networks.insert("default".to_owned(), Network::default());
    let page = FileSource::Content("title = one\n".to_owned());
    much.configs.insert("page".to_owned(), FileObject { source: Some(page), ..FileObject::default() });
    much
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_with_much_in_it_lives_as_on_docker() {
    let place = Place::on(endpoint());
    let target = place.target();
    let much = with_much(&place);
    assert_eq!(target.deploy(&cx("one"), much.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let again = target.plan_for(&cx("again"), &Desired::Present(much.clone())).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);
    let drift = target.drift(&cx("drift"), &much.name).await.unwrap();
    assert!(drift.is_empty(), "nothing is invented: {:?}", drift.changes);
    let said = run(&target, &much.name, "web", &["sh", "-c", "cat /etc/page; hostname; id -u; exit 7"]).await;
    assert_eq!(said, (7, "title = one\nfront\n1000\n".to_owned()));
    // Each finds the other by its name.
    assert_eq!(run(&target, &much.name, "other", &["sh", "-c", "nslookup web > /dev/null"]).await.0, 0);
    let of = ServiceRef::service(much.name.clone(), "web".parse().unwrap());
    let lines: Vec<_> = target.logs(&cx("logs"), &of, LogOptions::default()).collect().await;
    let hello = lines.iter().any(|line| line.as_ref().unwrap().text == "hello from one");
    assert!(hello, "{lines:?}");
    let observed = target.observe(&cx("look"), &much.name).await.unwrap();
    let ports: Vec<u16> = observed.services["web"].endpoints.iter().map(|endpoint| endpoint.port).collect();
    assert!(ports.len() == 2 && ports.contains(&18_491), "{ports:?}");

    // One that does not come up is told with its last words, and what ran before runs again.
    let mut broken = much.clone();
    broken.services.insert("other".parse().unwrap(), shell("echo broken; exit 3"));
    let back = target.deploy(&cx("two"), broken).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = &back else { panic!("{back:?}") };
    assert!(why.contains("other") && why.contains("code 3") && why.contains("broken"), "{why}");
    assert!(target.drift(&cx("drift"), &much.name).await.unwrap().is_empty());

    // What is changed behind our back is found by its path.
    let id = &target.observe(&cx("look"), &much.name).await.unwrap().services["other"].instances[0].id;
    let network = format!("{}_default", much.name);
    place.docker(&["network", "disconnect", &network, id]);
    let drift = target.drift(&cx("drift"), &much.name).await.unwrap();
    let paths: Vec<&str> = drift.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["services.other.networks"]);
    target.deploy(&cx("three"), much.clone()).await.unwrap();
    let scaled = target.plan_scale(&cx("four"), &much.name, &"other".parse().unwrap(), 3).await.unwrap();
    target.apply(&cx("four"), &scaled).await.unwrap();
    let observed = target.observe(&cx("look"), &much.name).await.unwrap();
    assert_eq!(observed.services["other"].instances.len(), 3);
    target.destroy(&cx("end"), &much.name).await.unwrap();
    let kept = target.observe(&cx("look"), &much.name).await.unwrap();
    assert!(kept.is_absent() && kept.retained.contains_key("volumes.data"), "{kept:?}");
}
