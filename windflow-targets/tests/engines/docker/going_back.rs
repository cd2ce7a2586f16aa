//! Going back: what was there before runs again, whatever was in its way.

use windflow_core::target::{
    Applied, Condition, Desired, Health, Mount, MountKind, Network, PlanError, PortMapping, Service, Stack,
    Target as _, TargetExt as _, Volume,
};

use super::place::{Place, cx, docker, needing, shell, stack, with_check};

/// A web server on a port of the machine that writes what it is into a volume: two of it cannot run beside each other.
fn alone(says: &str, port: u16, check: &str) -> Stack {
    let text = format!("mkdir -p /w && echo {says} > /w/index.html && exec httpd -f -p 80 -h /w");
    let mut web = with_check(shell(&text), check);
    web.ports = vec![PortMapping::tcp(80).published(port).on("127.0.0.1")];
    let mut both = shell("while true; do date > /data/it; sleep 0.1; done");
    both.environment.insert("VERSION".to_owned(), windflow_core::target::EnvValue::Plain(says.to_owned()));
    both = with_check(both, check);
    both.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut alone = stack("alone", [("web", web), ("writer", both)]);
    alone.volumes.insert("data".to_owned(), Volume::default());
    alone
}

async fn page(port: u16) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
    text.rsplit("\r\n").next().unwrap().trim().to_owned()
}

/// Listens to what happens to the containers of an owner.
pub struct Ear(std::process::Child, std::path::PathBuf);

impl Ear {
    pub fn new(place: &Place) -> Self {
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let heard = std::env::temp_dir().join(format!("{}.events", place.owner));
        let owner = format!("label=windflow.owner={}", place.owner);
        let listening = std::process::Command::new("docker")
            .env("DOCKER_HOST", super::place::endpoint().to_string())
            .args(["events", "--since", &format!("{}.{:09}", at.as_secs(), at.subsec_nanos()), "--filter", &owner])
            .args(["--filter", "event=create", "--filter", "event=start", "--filter", "event=destroy"])
            .args(["--format", "{{.Action}} {{index .Actor.Attributes \"windflow.service\"}} {{.Actor.ID}}"])
            .stdout(std::fs::File::create(&heard).unwrap())
            .spawn();
        Self(listening.unwrap(), heard)
    }

    /// What has happened to the containers of a service, in order: what, and to which.
    pub fn told_of(&self, service: &str) -> Vec<(String, String)> {
        let told = std::fs::read_to_string(&self.1).unwrap();
        let words = told.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (what, of, id) = (words.next()?, words.next()?, words.next()?);
            (of == service).then(|| (what.to_owned(), id.to_owned()))
        });
        words.collect()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_file(&self.1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_to_make_way_comes_back_only_when_what_took_its_place_is_gone() {
    let place = Place::new();
    let target = place.target();
    let port = 18_471;
    target.deploy(&cx("one"), alone("one", port, "true")).await.unwrap();
    let before = target.observe(&cx("look"), &alone("one", port, "true").name).await.unwrap();
    let ear = Ear::new(&place);
    let told = target.deploy(&cx("two"), alone("two", port, "exit 1")).await.unwrap();
    assert!(matches!(told, Applied::RolledBack { to: Some(1), .. }), "{told:?}");
    assert_eq!(page(port).await, "one");
    let after = target.observe(&cx("look"), &alone("one", port, "true").name).await.unwrap();
    for service in ["web", "writer"] {
        let id = &before.services[service].instances[0].id;
        assert_eq!(*id, after.services[service].instances[0].id, "{service} is the container it was");
        // Two that write to one volume would destroy what is in it.
        let is_back = |told: &[(String, String)]| told.iter().any(|(what, of)| what == "start" && of == id);
        super::place::until("the engine tells that it came back", || is_back(&ear.told_of(service))).await;
        let told = ear.told_of(service);
        let back = told.iter().rposition(|(what, of)| what == "start" && of == id).unwrap();
        let made: Vec<&String> =
            told.iter().filter(|(what, of)| what == "create" && of != id).map(|(_, of)| of).collect();
        assert!(!made.is_empty(), "{service} was never replaced: {told:#?}");
        let is_gone = |of: &&String| told.iter().take(back).any(|(what, gone)| what == "destroy" && gone == *of);
        assert!(made.iter().all(is_gone), "{service} came back before another went: {told:#?}");
    }
}

/// `web` is well as long as `db` answers.
fn leaning(version: &str) -> Stack {
    let text = format!("mkdir -p /w && echo {version} > /w/index.html && exec httpd -f -p 80 -h /w");
    let mut web = with_check(shell("exec sleep 100000"), "wget -q -O /dev/null http://db/");
    web = needing(web, "db", Condition::ServiceStarted);
    stack("leaning", [("db", shell(&text)), ("web", web)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ill_before_has_time_to_get_well_by_the_repair() {
    let place = Place::new();
    let target = place.target();
    let name = leaning("1").name;
    target.deploy(&cx("one"), leaning("1")).await.unwrap();
    let before = target.observe(&cx("look"), &name).await.unwrap();
    let of = |service: &str| before.services[service].instances[0].id.clone();
    docker(&["exec", &of("db"), "rm", "/w/index.html"]);
    let ill = async || {
        let now = target.observe(&cx("look"), &name).await.unwrap();
        matches!(now.services["web"].health, Health::Unhealthy { .. })
    };
    let since = std::time::Instant::now();
    while !ill().await {
        assert!(since.elapsed().as_secs() < 30, "the check does not fail");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // It sleeps when it is woken it is as ill as before, for as long as nothing was checked.
    docker(&["pause", &of("web")]);
    assert_eq!(target.deploy(&cx("two"), leaning("2")).await.unwrap(), Applied::Revision(Some(2)));
    let after = target.observe(&cx("look"), &name).await.unwrap();
    assert_eq!((&after.services["web"].health, &after.services["web"].instances[0].id), (&Health::Healthy, &of("web")));
    assert!(after.services["db"].instances[0].id != of("db"));
}

fn on(networks: &[(&str, Network)]) -> Stack {
    let web = Service {
        networks: networks.iter().map(|(name, _)| ((*name).to_owned(), Default::default())).collect(),
        ..with_check(shell("exec sleep 100000"), "true")
    };
    let mut on = stack("placed", [("web", web)]);
    on.networks = networks.iter().map(|(name, network)| ((*name).to_owned(), network.clone())).collect();
    on
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_the_engine_cannot_make_costs_nothing_that_ran() {
    let place = Place::new();
    let target = place.target();
    target.deploy(&cx("one"), on(&[("front", Network::default())])).await.unwrap();
    let bad = Network { driver: Some("there-is-no-such-driver".to_owned()), ..Network::default() };
    let told = target.deploy(&cx("two"), on(&[("front", bad)])).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = &told else { panic!("{told:?}") };
    assert!(why.contains("there-is-no-such-driver"), "{why}");
    let now = target.observe(&cx("look"), &on(&[]).name).await.unwrap();
    assert_eq!(now.services["web"].health, Health::Healthy);
    assert!(target.drift(&cx("drift"), &on(&[]).name).await.unwrap().is_empty());

    // What somebody else should have made is looked for before anything is touched.
    let theirs = Network { external: true, name: Some("there-is-no-such-network".to_owned()), ..Network::default() };
    let asked = Desired::Present(on(&[("front", theirs)]));
    let refused = target.plan_for(&cx("three"), &asked).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, "networks.front");
    assert!(problems[0].1.contains("there-is-no-such-network"), "{problems:?}");

    // What was the stack's own, and is somebody else's now.
    let other = format!("theirs-{}", place.owner);
    docker(&["network", "create", &other]);
    let theirs = Network { external: true, name: Some(other.clone()), ..Network::default() };
    let asked = on(&[("front", theirs)]);
    assert_eq!(target.deploy(&cx("four"), asked.clone()).await.unwrap(), Applied::Revision(Some(2)));
    let on_it = docker(&["network", "inspect", "-f", "{{len .Containers}}", &other]);
    let ours = place.marked(None).into_iter().filter(|line| line.starts_with("network ")).count();
    assert_eq!((on_it.as_str(), ours), ("1", 0));
    assert!(target.drift(&cx("drift"), &asked.name).await.unwrap().is_empty());
    target.destroy(&cx("end"), &asked.name).await.unwrap();
    docker(&["network", "rm", &other]);
}
