//! `blue_green` on a Swarm as it is seen from outside: by whoever asks for a page all the time, by whoever promotes or aborts,
//! and by the one who comes after a cut.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use windflow_bed::{Cut, Proxy};
use windflow_core::StackName;
use windflow_core::target::{
    Applied, Context, Desired, FileMount, FileObject, FileSource, HealthCheck, Mount, MountKind, Order, PlanError,
    PortMapping, Probe, Promote, Rollout, Service, Stack, Strategy, Target, TargetErrorKind, TargetExt as _,
    UpdateConfig, Volume,
};
use windflow_targets::swarm::SwarmTarget;

use super::place::{Place, docker, docker_says, marked, services, sh};
use crate::cuts::{TwoSets, every_cut_is_finished_by_the_same_again};

/// A service that says this, and is healthy for as long as nobody takes a file away.
fn page(says: &str) -> Service {
    let mut page = sh(&format!("mkdir -p /w && echo {says} > /w/index.html && exec httpd -f -p 80 -h /w"));
    page.healthcheck = Some(HealthCheck {
        probe: Probe::Shell("test -e /w/index.html || { echo the page is gone; exit 1; }".to_owned()),
        interval: Some(Duration::from_millis(200)),
        timeout: Some(Duration::from_secs(2)),
        retries: Some(2),
        start_period: None,
        start_interval: None,
    });
    page.rollout = Some(Rollout { strategy: Some(Strategy::BlueGreen), ..Rollout::default() });
    page
}

pub(super) fn shop(place: &Place, says: &str) -> Stack {
    place.stack([("web", page(says)), ("load", sh("exec sleep 1000"))])
}

fn baked(place: &Place, says: &str, bake: Duration) -> Stack {
    let mut shop = shop(place, says);
    shop.services.get_mut("web").unwrap().rollout.as_mut().unwrap().bake = Some(bake);
    shop
}

/// The sets of the page that the Swarm has, by their ids.
pub(super) async fn webs(place: &Place) -> BTreeSet<String> {
    let all = services(&docker().await, &place.owner, None).await;
    let is_web = |labels: &std::collections::HashMap<String, String>| labels["windflow.service"] == "web";
    let webs = all.into_iter().filter(|service| service.spec.as_ref().unwrap().labels.as_ref().is_some_and(is_web));
    webs.map(|service| service.id.unwrap()).collect()
}

pub(super) async fn id_of(target: &SwarmTarget, stack: &StackName, service: &str) -> String {
    let observed = target.observe(&Context::new("look"), stack).await.unwrap();
    observed.services[service].instances[0].id.clone()
}

/// Asks for the page over and over, through the service's name, and writes down what it got.
struct Load(String);

impl Load {
    async fn on(target: &SwarmTarget, stack: &StackName) -> Self {
        let id = id_of(target, stack, "load").await;
        let asking = "while test ! -e /stop; do wget -q -O - http://web/ >> /got 2>&1 || echo FAILED >> /got; done; \
                      touch /done";
        docker_says(&["exec", "-d", &id, "sh", "-c", asking]);
        Self(id)
    }

    fn got(&self) -> Vec<String> {
        docker_says(&["exec", &self.0, "cat", "/got"]).lines().map(str::to_owned).collect()
    }

    /// Waits until nothing else is answered any more.
    async fn only(&self, says: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let before = self.got().len();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let got = self.got().split_off(before);
            if got.len() >= 5 && got.iter().all(|line| line == says) {
                return;
            }
            assert!(Instant::now() < until, "never only {says}: {got:?}");
        }
    }

    async fn stop(self) -> Vec<String> {
        docker_says(&["exec", &self.0, "sh", "-c", "touch /stop; while test ! -e /done; do sleep 0.1; done"]);
        self.got()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_goes_over_and_back_and_not_one_request_fails() {
    let place = Place::new();
    let (target, other) = (place.target(), place.target());
    let shop = |says: &str| shop(&place, says);
    let stack = shop("one").name;
    let cx = Context::new;
    assert_eq!(target.deploy(&cx("one"), shop("one")).await.unwrap(), Applied::Revision(Some(1)));
    let blue = webs(&place).await;
    let load = Load::on(&target, &stack).await;
    load.only("one").await;

    let plan = target.plan_for(&cx("two"), &Desired::Present(shop("two"))).await.unwrap();
    assert!(plan.degradations.iter().any(|told| told.contains("blue revision 1 is kept")), "{plan:?}");
    let staged = target.apply(&cx("two"), &plan).await.unwrap();
    assert_eq!(staged, Applied::Staged { revision: 2, kept: 1 });
    load.only("two").await;
    // As a process has it that has just begun.
    let observed = other.observe(&cx("look"), &stack).await.unwrap();
    assert_eq!(observed.current.map(|revision| revision.number), Some(1));
    assert_eq!(observed.staged.map(|revision| revision.number), Some(2));
    assert_eq!(observed.services.len(), 2);
    let both = webs(&place).await;
    assert!(both.len() == 2 && both.is_superset(&blue), "{both:?} beside {blue:?}");

    // The same again is nothing, and says so; something else must wait; back is a change.
    let before = place.proxy.mutations();
    let again = other.plan_for(&cx("again"), &Desired::Present(shop("two"))).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
    let told = "baking, green revision 2, blue revision 1 kept until promoted";
    assert!(again.degradations.iter().any(|line| line.contains(told)), "{again:?}");
    assert_eq!(other.apply(&cx("again"), &again).await.unwrap(), Applied::Nothing);
    assert!(other.drift(&cx("drift"), &stack).await.unwrap().is_empty());
    let third = other.plan_for(&cx("three"), &Desired::Present(shop("three"))).await.unwrap_err();
    assert!(matches!(&third, PlanError::Target(error) if error.kind == TargetErrorKind::Conflict), "{third}");
    assert_eq!(place.proxy.mutations(), before, "{:?}", place.proxy.calls());

    assert_eq!(other.promote(&cx("go"), &stack, Promote::Promote).await.unwrap(), Applied::Revision(Some(2)));
    let green: BTreeSet<String> = both.difference(&blue).cloned().collect();
    assert_eq!(webs(&place).await, green);
    assert!(other.plan_for(&cx("again"), &Desired::Present(shop("two"))).await.unwrap().is_empty());
    assert_eq!(other.promote(&cx("twice"), &stack, Promote::Promote).await.unwrap(), Applied::Nothing);

    // And back: a rollback of what is baking aborts it, like the word itself.
    assert_eq!(target.deploy(&cx("three"), shop("three")).await.unwrap(), Applied::Staged { revision: 3, kept: 2 });
    load.only("three").await;
    assert_eq!(target.promote(&cx("no"), &stack, Promote::Abort).await.unwrap(), Applied::Revision(Some(2)));
    load.only("two").await;
    assert_eq!(webs(&place).await, green);
    target.deploy(&cx("four"), shop("four")).await.unwrap();
    load.only("four").await;
    let back = target.plan_rollback(&cx("back"), &stack, None).await.unwrap();
    assert!(back.changes.iter().any(|change| change.path == "rollout"), "{back:?}");
    assert_eq!(target.apply(&cx("back"), &back).await.unwrap(), Applied::Revision(Some(2)));
    load.only("two").await;
    assert_eq!(webs(&place).await, green);

    let got = load.stop().await;
    assert!(got.len() >= 100, "there was load: {}", got.len());
    let wrong: Vec<&String> =
        got.iter().filter(|line| !["one", "two", "three", "four"].contains(&line.as_str())).collect();
    assert!(wrong.is_empty(), "requests failed: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_its_health_while_it_bakes_is_aborted_and_what_keeps_it_is_promoted() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    let stack = shop(&place, "one").name;
    target.deploy(&cx("one"), shop(&place, "one")).await.unwrap();
    let blue = webs(&place).await;

    let apply = |key: &'static str| {
        let (target, two) = (place.target(), baked(&place, "two", Duration::from_secs(600)));
        tokio::spawn(async move { target.deploy(&Context::new(key), two).await })
    };
    let baking = apply("two");
    let until = Instant::now() + Duration::from_secs(60);
    let bakes = || async {
        let plan =
            target.plan_for(&cx("look"), &Desired::Present(baked(&place, "two", Duration::from_secs(600)))).await;
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
    docker_says(&["exec", &id_of(&target, &stack, "web").await, "rm", "/w/index.html"]);
    let back = watching.await.unwrap().unwrap();
    let Applied::RolledBack { to: Some(1), why } = &back else { panic!("{back:?}") };
    assert!(why.contains("web") && why.contains("unhealthy"), "{why}");
    assert_eq!(webs(&place).await, blue);

    // Nobody watches what waits for a word: whoever says it is told.
    assert!(matches!(target.deploy(&cx("three"), shop(&place, "three")).await.unwrap(), Applied::Staged { .. }));
    docker_says(&["rm", "-f", &id_of(&target, &stack, "web").await]);
    let ended = || async { !target.observe(&cx("look"), &stack).await.unwrap().services["web"].health.is_ready() };
    while !ended().await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let plan = target.plan_for(&cx("look"), &Desired::Present(shop(&place, "three"))).await.unwrap();
    assert!(plan.changes[0].note.as_ref().unwrap().contains("aborted"), "{plan:?}");
    let back = target.promote(&cx("go"), &stack, Promote::Promote).await.unwrap();
    assert!(matches!(&back, Applied::RolledBack { to: Some(1), why } if why.contains("web")), "{back:?}");
    assert_eq!(webs(&place).await, blue);

    let done = target.deploy(&cx("four"), baked(&place, "four", Duration::from_secs(1))).await.unwrap();
    assert_eq!(done, Applied::Revision(Some(2)));
    let observed = target.observe(&cx("look"), &stack).await.unwrap();
    assert!(observed.staged.is_none() && observed.current.unwrap().key == "four");
    assert!(webs(&place).await.is_disjoint(&blue));

    // Whatever stands there goes.
    target.deploy(&cx("five"), shop(&place, "five")).await.unwrap();
    assert_eq!(webs(&place).await.len(), 2);
    target.destroy(&cx("gone"), &stack).await.unwrap();
    assert_eq!(marked(&docker().await, &place.owner, None).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_does_not_become_healthy_never_gets_the_name_and_another_content_is_another_set() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    let with = |text: &str| {
        let mut shop = shop(&place, "one");
        shop.services.get_mut("web").unwrap().configs =
            vec![FileMount { source: "page".to_owned(), target: Some("/page".to_owned()), ..FileMount::default() }];
        let file = FileObject { source: Some(FileSource::Content(text.to_owned())), ..FileObject::default() };
        shop.configs.insert("page".to_owned(), file);
        shop
    };
    let stack = with("1").name;
    target.deploy(&cx("one"), with("1")).await.unwrap();
    let blue = webs(&place).await;
    let mut broken = with("1");
    broken.services.get_mut("web").unwrap().command = sh("echo broken; exit 3").command;
    let back = target.deploy(&cx("broken"), broken).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = &back else { panic!("{back:?}") };
    assert!(why.contains("web") && why.contains("last lines: broken"), "{why}");
    assert_eq!(webs(&place).await, blue);
    let task = id_of(&target, &stack, "web").await;

    assert_eq!(target.deploy(&cx("two"), with("2")).await.unwrap(), Applied::Staged { revision: 2, kept: 1 });
    let text = |id: String| docker_says(&["exec", &id, "cat", "/page"]);
    assert_eq!(text(id_of(&target, &stack, "web").await), "2");
    assert_eq!(target.promote(&cx("no"), &stack, Promote::Abort).await.unwrap(), Applied::Revision(Some(1)));
    let now = id_of(&target, &stack, "web").await;
    assert_eq!(text(now.clone()), "1");
    assert_ne!(now, task, "it has its name back, and was begun once more for that");
    let configs = marked(&docker().await, &place.owner, None).await;
    // The content and the record of the revision.
    assert_eq!(configs.iter().filter(|(kind, _)| *kind == "config").count(), 2, "{configs:?}");
    // How many there are is no other set.
    let mut more = with("1");
    more.services.get_mut("web").unwrap().replicas.0 = 2;
    assert_eq!(target.deploy(&cx("more"), more).await.unwrap(), Applied::Revision(Some(2)));
    assert_eq!(webs(&place).await, blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_stand_beside_another_is_refused_by_path() {
    let place = Place::new();
    let mut web = page("one");
    web.endpoint_mode = None;
    web.ports = vec![PortMapping::tcp(80).published(18_473)];
    web.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    web.update_config = Some(UpdateConfig { order: Some(Order::StopFirst), ..UpdateConfig::default() });
    let mut shop = place.stack([("web", web)]);
    shop.volumes.insert("data".to_owned(), Volume::default());
    let refused = place.target().plan_for(&Context::new("plan"), &Desired::Present(shop)).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    let fields = ["ports[0]", "volumes[0]", "endpoint_mode", "update_config.order"];
    assert_eq!(paths, fields.map(|field| format!("services.web.{field}")));
    assert!(problems[0].1.contains("18473") && problems[0].1.contains("blue_green"), "{refused}");
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
        shop(self, says)
    }

    async fn sorts(&self) -> Vec<String> {
        let all = marked(&docker().await, &self.owner, None).await;
        let mut sorts: Vec<String> = all.into_iter().map(|(sort, _)| sort.to_owned()).collect();
        sorts.sort();
        sorts
    }

    async fn sets(&self) -> usize {
        webs(self).await.len()
    }

    fn says(&self, instance: &str) -> String {
        docker_says(&["exec", instance, "wget", "-q", "-O", "-", "http://web/"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_is_the_last_one_the_same_again_finishes_it() {
    every_cut_is_finished_by_the_same_again::<Place>(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_says_that_nothing_is_staged_yet_where_an_apply_was_cut() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    let stack = shop(&place, "one").name;
    target.deploy(&cx("one"), shop(&place, "one")).await.unwrap();
    assert_eq!(target.promote(&cx("nothing"), &stack, Promote::Abort).await.unwrap(), Applied::Nothing);
    let plan = target.plan_for(&cx("two"), &Desired::Present(shop(&place, "two"))).await.unwrap();
    // What is being done is written down, and green is made.
    place.proxy.cut_at(2, Cut::After);
    assert!(target.apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    assert_eq!(webs(&place).await.len(), 2);
    let told = place.target().promote(&cx("abort"), &stack, Promote::Abort).await.unwrap_err();
    assert_eq!(told.kind, TargetErrorKind::Conflict);
    assert!(told.to_string().contains("nothing is staged yet"), "{told}");
    let back = place.target().plan_for(&cx("back"), &Desired::Present(shop(&place, "one"))).await.unwrap();
    assert!(back.changes[0].note.as_ref().is_some_and(|note| note.contains("left over")), "{back:?}");
    place.target().apply(&cx("back"), &back).await.unwrap();
    assert_eq!(webs(&place).await.len(), 1, "what is current takes back what was cut");
    assert_eq!(place.target().promote(&cx("nothing"), &stack, Promote::Abort).await.unwrap(), Applied::Nothing);
}
