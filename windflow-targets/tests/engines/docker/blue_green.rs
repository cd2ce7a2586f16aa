//! `blue_green` as it is seen from outside: by whoever asks for a page all the time, by whoever promotes or aborts, and by the
//! one who comes after a cut.

use std::time::{Duration, Instant};

use windflow_bed::{Cut, Proxy};
use windflow_core::StackName;
use windflow_core::target::{
    Applied, Condition, Desired, Mount, MountKind, PlanError, PortMapping, Promote, Replicas, Rollout, Service, Stack,
    Strategy, Target, TargetErrorKind, TargetExt as _, Volume,
};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, cx, docker, docker_may_fail, idle, name, needing, shell, stack, with_check};
use crate::at_once;
use crate::cuts::{TwoSets, every_cut_is_finished_by_the_same_again};

/// A service that says this, and is healthy for as long as nobody takes a file away.
fn page(says: &str) -> Service {
    let serve = format!("mkdir -p /w && echo {says} > /w/index.html && exec httpd -f -p 80 -h /w");
    let mut page = with_check(shell(&serve), "test -e /w/index.html || { echo the page is gone; exit 1; }");
    page.rollout = Some(Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() });
    page
}

fn shop(says: &str) -> Stack {
    stack("colours", [("web", page(says)), ("load", idle())])
}

/// The same, after two others.
fn later(says: &str) -> Stack {
    let mut shop = shop(says);
    // Its containers are called after it, and others work beside.
    shop.name = "two-colours".parse().unwrap();
    let web = shop.services.remove(&name("web")).unwrap();
    let web = needing(needing(web, "first", Condition::ServiceStarted), "second", Condition::ServiceStarted);
    let ends_well = || shell("trap 'exit 0' TERM; while true; do sleep 0.1; done");
    shop.services
        .extend([("web", web), ("first", ends_well()), ("second", ends_well())].map(|(n, service)| (name(n), service)));
    shop
}

fn baked(says: &str, bake: Duration) -> Stack {
    let mut shop = shop(says);
    shop.services.get_mut(&name("web")).unwrap().rollout.as_mut().unwrap().bake = Some(bake);
    shop
}

/// Ends these services: two lower addresses than that of `web` become free.
async fn leave_gaps(target: &DockerTarget, stack: &StackName, services: [&str; 2]) {
    for service in services {
        let id = id_of(target, stack, service).await;
        docker(&["stop", &id]);
    }
}

fn address_of(id: &str) -> String {
    docker(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", id])
}

/// The containers of the service, running or not.
fn webs(place: &Place) -> Vec<String> {
    let owner = format!("label=windflow.owner={}", place.owner);
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &owner, "--filter", "label=windflow.service=web"]);
    ids.lines().map(str::to_owned).collect()
}

async fn id_of(target: &DockerTarget, stack: &StackName, service: &str) -> String {
    let observed = target.observe(&cx("look"), stack).await.unwrap();
    observed.services[&name(service)].instances[0].id.clone()
}

/// Asks for the page over and over, through the service's name, and writes down what it got.
struct Load(String);

impl Load {
    async fn on(target: &DockerTarget, stack: &StackName) -> Self {
        let id = id_of(target, stack, "load").await;
        let asking = "while test ! -e /stop; do wget -q -O - http://web/ >> /got 2>&1 || echo FAILED >> /got; done; \
                      touch /done";
        docker(&["exec", "-d", &id, "sh", "-c", asking]);
        Self(id)
    }

    /// What was answered since, one after the other, without repetitions.
    async fn answers_until(&self, last: &str) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let got = docker(&["exec", &self.0, "uniq", "/got"]);
            let lines: Vec<String> = got.lines().map(str::to_owned).collect();
            if lines.last().is_some_and(|line| line == last) {
                return lines;
            }
            assert!(Instant::now() < until, "never answered {last}: {lines:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn stop(self) -> Vec<String> {
        docker(&["exec", &self.0, "touch", "/stop"]);
        while !docker_may_fail(&["exec", &self.0, "test", "-e", "/done"]).0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        docker(&["exec", &self.0, "cat", "/got"]).lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_traffic_goes_over_and_back_and_not_one_request_fails() {
    let place = Place::new();
    let target = || {
        let mut config = place.config();
        config.drain = Duration::from_secs(3);
        DockerTarget::new(config)
    };
    let (target, other) = (target(), target());
    let stack = later("one").name;
    assert_eq!(target.deploy(&cx("one"), later("one")).await.unwrap(), Applied::Revision(Some(1)));
    let blue = id_of(&target, &stack, "web").await;
    leave_gaps(&target, &stack, ["first", "second"]).await;
    let address = address_of(&blue);
    let load = Load::on(&target, &stack).await;
    load.answers_until("one").await;

    let plan = target.plan_for(&cx("two"), &Desired::Present(later("two"))).await.unwrap();
    assert!(plan.degradations.iter().any(|told| told.contains("blue revision 1 is kept")), "{plan:?}");
    let staged = target.apply(&cx("two"), &plan).await.unwrap();
    assert_eq!(staged, Applied::Staged { revision: 2, kept: 1 });
    load.answers_until("two").await;
    // As a process has it that has just begun.
    let observed = other.observe(&cx("look"), &stack).await.unwrap();
    assert_eq!(observed.current.map(|revision| revision.number), Some(1));
    assert_eq!(observed.staged.map(|revision| revision.number), Some(2));
    let green = id_of(&other, &stack, "web").await;
    assert!(green != blue && webs(&place).contains(&blue) && webs(&place).contains(&green));
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &blue]), "true");
    assert_eq!(address_of(&blue), address, "what was under way to it finds it");
    let found = docker(&["exec", &load.0, "nslookup", "-type=a", "web", "127.0.0.11"]);
    assert_eq!(found.matches("Name:").count(), 1, "only one set has the name: {found}");

    // The same again is nothing, and says so; something else must wait; back is a change.
    place.proxy.forget();
    let again = other.plan_for(&cx("again"), &Desired::Present(later("two"))).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
    let told = "baking, green revision 2, blue revision 1 kept until promoted";
    assert!(again.degradations.iter().any(|line| line.contains(told)), "{again:?}");
    assert_eq!(other.apply(&cx("again"), &again).await.unwrap(), Applied::Nothing);
    assert!(other.drift(&cx("drift"), &stack).await.unwrap().is_empty());
    let third = other.plan_for(&cx("three"), &Desired::Present(later("three"))).await.unwrap_err();
    assert!(matches!(&third, PlanError::Target(error) if error.kind == TargetErrorKind::Conflict), "{third}");
    assert_eq!(place.proxy.mutations(), 0, "{:?}", place.proxy.calls());

    assert_eq!(other.promote(&cx("go"), &stack, Promote::Promote).await.unwrap(), Applied::Revision(Some(2)));
    assert_eq!(webs(&place), *std::slice::from_ref(&green));
    let called = docker(&["inspect", "-f", "{{.Name}}", &green]);
    assert!(called.ends_with("two-colours-web-1"), "{called}");
    assert!(other.plan_for(&cx("again"), &Desired::Present(later("two"))).await.unwrap().is_empty());
    assert_eq!(other.promote(&cx("twice"), &stack, Promote::Promote).await.unwrap(), Applied::Nothing);

    // And back: a rollback of what is baking aborts it, like the word itself.
    target.deploy(&cx("three"), later("three")).await.unwrap();
    load.answers_until("three").await;
    assert_eq!(target.promote(&cx("no"), &stack, Promote::Abort).await.unwrap(), Applied::Revision(Some(2)));
    load.answers_until("two").await;
    assert_eq!(webs(&place), *std::slice::from_ref(&green));
    target.deploy(&cx("four"), later("four")).await.unwrap();
    load.answers_until("four").await;
    let back = target.plan_rollback(&cx("back"), &stack, None).await.unwrap();
    assert!(back.changes.iter().any(|change| change.path == "rollout"), "{back:?}");
    assert_eq!(target.apply(&cx("back"), &back).await.unwrap(), Applied::Revision(Some(2)));
    load.answers_until("two").await;
    assert_eq!(webs(&place), [green]);

    let got = load.stop().await;
    assert!(got.len() >= 100, "there was load: {}", got.len());
    let wrong: Vec<&String> =
        got.iter().filter(|line| !["one", "two", "three", "four"].contains(&line.as_str())).collect();
    assert!(wrong.is_empty(), "requests failed: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loses_its_health_while_it_bakes_is_aborted_and_what_keeps_it_is_promoted() {
    let place = Place::new();
    let target = place.target();
    let stack = shop("one").name;
    target.deploy(&cx("one"), shop("one")).await.unwrap();
    let blue = id_of(&target, &stack, "web").await;

    let apply = |key: &'static str| {
        let target = place.target();
        tokio::spawn(async move { target.deploy(&cx(key), baked("two", Duration::from_secs(600))).await })
    };
    let baking = apply("two");
    let until = Instant::now() + Duration::from_secs(60);
    let bakes = || async {
        let plan = target.plan_for(&cx("look"), &Desired::Present(baked("two", Duration::from_secs(600)))).await;
        plan.is_ok_and(|plan| plan.changes.iter().any(|c| c.note.as_ref().is_some_and(|note| note.contains("bakes"))))
    };
    while !bakes().await {
        assert!(Instant::now() < until && !baking.is_finished(), "never staged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Another apply watches it from now on: the first says so, long before anybody would be given up.
    let watching = apply("again");
    let lost = tokio::time::timeout(Duration::from_secs(30), baking).await.expect("it is said soon");
    let lost = lost.unwrap().unwrap_err().to_string();
    assert!(lost.contains("somebody else changes this stack"), "{lost}");
    docker(&["exec", &id_of(&target, &stack, "web").await, "rm", "/w/index.html"]);
    let back = watching.await.unwrap().unwrap();
    let Applied::RolledBack { to: Some(1), why } = &back else { panic!("{back:?}") };
    assert!(why.contains("web") && why.contains("the page is gone"), "{why}");
    assert_eq!(webs(&place), *std::slice::from_ref(&blue));

    // Nobody watches what waits for a word: whoever says it is told.
    assert!(matches!(target.deploy(&cx("three"), shop("three")).await.unwrap(), Applied::Staged { .. }));
    let green = id_of(&target, &stack, "web").await;
    docker(&["rm", "-f", &green]);
    let plan = target.plan_for(&cx("look"), &Desired::Present(shop("three"))).await.unwrap();
    assert!(plan.changes[0].note.as_ref().unwrap().contains("aborted"), "{plan:?}");
    let back = target.promote(&cx("go"), &stack, Promote::Promote).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = &back else { panic!("{back:?}") };
    assert!(why.contains("is gone"), "{why}");
    assert_eq!(webs(&place), *std::slice::from_ref(&blue));

    let done = target.deploy(&cx("four"), baked("four", Duration::from_secs(1))).await.unwrap();
    assert_eq!(done, Applied::Revision(Some(2)));
    let observed = target.observe(&cx("look"), &stack).await.unwrap();
    assert!(observed.staged.is_none() && observed.current.unwrap().key == "four");
    assert!(!webs(&place).contains(&blue));

    // What is meant to have no instance is not ill without one.
    let mut none = shop("none");
    none.services.get_mut(&name("web")).unwrap().replicas = Replicas(0);
    assert!(matches!(target.deploy(&cx("none"), none).await.unwrap(), Applied::Staged { .. }));
    target.promote(&cx("back"), &stack, Promote::Abort).await.unwrap();

    // Whatever stands there goes.
    target.deploy(&cx("five"), shop("five")).await.unwrap();
    let green = id_of(&target, &stack, "web").await;
    let blue = webs(&place).into_iter().find(|id| *id != green).unwrap();
    docker(&["rm", "-f", &blue]);
    let plan = target.plan_for(&cx("look"), &Desired::Present(shop("five"))).await.unwrap();
    assert!(plan.degradations.iter().any(|told| told.contains("what is kept of web is not there")), "{plan:?}");
    target.destroy(&cx("gone"), &stack).await.unwrap();
    assert_eq!(place.marked(None), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_stand_beside_another_is_refused_by_path() {
    let place = Place::new();
    let mut web = page("one");
    web.ports = vec![PortMapping::tcp(80).published(18_472)];
    web.container_name = Some("only-one".to_owned());
    web.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut shop = stack("colours", [("web", web)]);
    shop.volumes.insert("data".to_owned(), Volume::default());
    let refused = place.target().plan_for(&cx("plan"), &Desired::Present(shop)).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["ports[0]", "volumes[0]", "container_name"].map(|field| format!("services.web.{field}")));
    assert!(problems[0].1.contains("18472") && problems[0].1.contains("blue_green"), "{refused}");
}

impl TwoSets for Place {
    fn new() -> Self {
        Self::new()
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn target(&self) -> impl Target {
        self.target()
    }

    fn shop(&self, says: &str) -> Stack {
        shop(says)
    }

    async fn sorts(&self) -> Vec<String> {
        let mut sorts: Vec<String> =
            self.marked(None).iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        sorts.sort();
        sorts
    }

    async fn sets(&self) -> usize {
        webs(self).len()
    }

    fn says(&self, instance: &str) -> String {
        docker(&["exec", instance, "wget", "-q", "-O", "-", "http://web/"])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_call_is_the_last_one_the_same_again_finishes_it() {
    every_cut_is_finished_by_the_same_again::<Place>(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_says_that_nothing_is_staged_yet_where_an_apply_was_cut() {
    let place = Place::new();
    let target = place.target();
    let stack = shop("one").name;
    target.deploy(&cx("one"), shop("one")).await.unwrap();
    assert_eq!(target.promote(&cx("nothing"), &stack, Promote::Abort).await.unwrap(), Applied::Nothing);
    let plan = target.plan_for(&cx("two"), &Desired::Present(shop("two"))).await.unwrap();
    // What is being done is written down, and the container of green is made, by whichever name was free.
    place.proxy.cut_at_call(1, "POST", "/containers/*/start", Cut::Before);
    assert!(target.apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    assert_eq!(webs(&place).len(), 2);
    let told = place.target().promote(&cx("abort"), &stack, Promote::Abort).await.unwrap_err();
    assert_eq!(told.kind, TargetErrorKind::Conflict);
    assert!(told.to_string().contains("nothing is staged yet"), "{told}");
    place.target().deploy(&cx("back"), shop("one")).await.unwrap();
    assert_eq!(webs(&place).len(), 1, "what is current takes back what was cut");
    assert_eq!(place.target().promote(&cx("nothing"), &stack, Promote::Abort).await.unwrap(), Applied::Nothing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_that_was_cut_leaves_nothing_that_could_be_promoted() {
    let place = Place::new();
    let (target, stack) = (place.target(), shop("one").name);
    target.deploy(&cx("one"), shop("one")).await.unwrap();
    let blue = webs(&place);
    // Green is gone, and what is staged is on record still; or only that it is aborted is.
    let why = "web: a container of it is gone".to_owned();
    for (removed, told) in [(1, Applied::RolledBack { to: Some(1), why }), (2, Applied::Nothing)] {
        target.deploy(&cx("two"), shop("two")).await.unwrap();
        place.proxy.cut_at_call(removed, "DELETE", "/volumes/*", Cut::Before);
        assert!(target.promote(&cx("no"), &stack, Promote::Abort).await.is_err() && place.proxy.is_cut());
        place.proxy.heal().unwrap();
        assert_eq!(webs(&place), blue);
        assert_eq!(target.promote(&cx("yes"), &stack, Promote::Promote).await.unwrap(), told);
        assert_eq!(webs(&place), blue);
        assert_eq!(target.promote(&cx("more"), &stack, Promote::Promote).await.unwrap(), Applied::Nothing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_was_cut_before_the_old_set_went_is_ended_by_whoever_comes() {
    let place = Place::new();
    let (target, stack) = (place.target(), shop("one").name);
    target.deploy(&cx("one"), shop("one")).await.unwrap();
    let cut = || async {
        target.deploy(&cx("two"), shop("two")).await.unwrap();
        place.proxy.cut_at_call(1, "DELETE", "/containers/*", Cut::Before);
        assert!(target.promote(&cx("go"), &stack, Promote::Promote).await.is_err() && place.proxy.is_cut());
        place.proxy.heal().unwrap();
        assert_eq!(webs(&place).len(), 2);
        target.plan_for(&cx("look"), &Desired::Present(shop("two"))).await.unwrap()
    };
    let plan = cut().await;
    assert!(plan.is_empty() && plan.unfinished, "{plan:?}");
    assert!(plan.degradations.iter().any(|told| told.contains("what was kept beside it")), "{plan:?}");
    assert!(target.drift(&cx("drift"), &stack).await.unwrap().is_empty());
    assert_eq!(target.promote(&cx("go"), &stack, Promote::Promote).await.unwrap(), Applied::Revision(Some(2)));
    assert_eq!(webs(&place).len(), 1);
    // Whatever has become of what is current, another revision is applied.
    target.deploy(&cx("back"), shop("one")).await.unwrap();
    target.promote(&cx("back"), &stack, Promote::Promote).await.unwrap();
    cut().await;
    docker(&["exec", &id_of(&target, &stack, "web").await, "rm", "/w/index.html"]);
    assert!(matches!(target.deploy(&cx("three"), shop("three")).await.unwrap(), Applied::Staged { kept: 4, .. }));
    target.promote(&cx("three"), &stack, Promote::Promote).await.unwrap();
    cut().await;
    target.destroy(&cx("gone"), &stack).await.unwrap();
    assert_eq!(place.marked(None), [""; 0]);
}

/// Of the first set that such a stack has, networks are made twice, to have their address ranges for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stacks_of_one_name_that_begin_at_the_same_moment_do_not_share_the_name_of_a_network() {
    let places: Vec<Place> = (0..5).map(|_| Place::new()).collect();
    let mut twins = shop("one");
    twins.name = "twins".parse().unwrap();
    let deploy = |place: &Place| {
        let (target, twins) = (place.target(), twins.clone());
        async move { target.deploy(&cx("one"), twins).await }
    };
    for done in futures_util::future::join_all(places.iter().map(deploy)).await {
        assert_eq!(done.unwrap(), Applied::Revision(Some(1)));
    }
    let names = docker(&["network", "ls", "--filter", "label=windflow.stack=twins", "--format", "{{.Name}}"]);
    let all: std::collections::BTreeSet<&str> = names.lines().collect();
    assert_eq!((all.len(), names.lines().count()), (places.len(), places.len()), "{names}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_never_both_say_that_it_was_done() {
    at_once::never_both_done::<Place>(&[(0, 0), (150, 250), (300, 900)]).await;
}
