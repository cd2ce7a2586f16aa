//! The image a name leads to, the one a revision ran, and what an image says where a file does not.

use std::time::Duration;

use windflow_core::target::{
    Applied, ChangeKind, Command, Condition, Desired, HealthCheck, Probe, Service, Stack, Target as _, TargetErrorKind,
    TargetExt as _,
};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, compose, cx, docker, docker_may_fail, idle, needing, shell, stack};

/// Has a name lead to a new image, and answers its id.
fn lead(name: &str, says: &str) -> String {
    let container = docker(&["create", "wf-busybox:1"]);
    let change = format!("ENV SAYS={says}");
    let id = docker(&["commit", "--change", &change, &container, name]);
    docker(&["rm", &container]);
    id
}

/// Two services: one of an image of a test's own, and another.
fn shop(called: &str, image: &str) -> Stack {
    let mut shop = stack(called, [("web", idle()), ("other", idle())]);
    shop.services.get_mut("web").unwrap().image = Some(image.to_owned());
    shop
}

/// An image of the wrong machine, and one that is to be fetched anew from where there is nothing: told before anything is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_for_another_machine_and_one_that_cannot_be_fetched_cost_nothing_that_runs() {
    let place = Place::new();
    let target = place.target();
    let of = |edit: fn(&mut Service)| {
        let mut web = idle();
        edit(&mut web);
        stack("fetched", [("web", web)])
    };
    target.deploy(&cx("one"), of(|_| ())).await.unwrap();
    let runs = container(&target, &of(|_| ()), "web").await;
    let mutations = place.proxy.mutations();
    // Nothing here is made for it, and no registry is there that would have it.
    let elsewhere = of(|web| web.platform = Some("linux/s390x".to_owned()));
    let told = target.deploy(&cx("two"), elsewhere).await.unwrap_err().to_string();
    assert!(told.contains("wf-busybox:1"), "{told}");
    let here = of(|web| web.platform = Some("linux/amd64".to_owned()));
    let plan = target.plan_for(&cx("plan"), &Desired::Present(here)).await.unwrap();
    assert_eq!(plan.changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), ["services.web.platform"]);
    // What is there would do, and is not taken.
    let anew = of(|web| (web.pull_policy, web.user) = (Some("always".to_owned()), Some("0".to_owned())));
    let told = target.deploy(&cx("three"), anew).await.unwrap_err().to_string();
    assert!(told.contains("wf-busybox:1") && told.contains("fetch"), "{told}");
    let asked = place.proxy.calls();
    assert!(asked.iter().filter(|call| call.path.ends_with("/images/create")).count() >= 2, "both are looked for");
    // Whoever fetches changes nothing of the stack.
    let changed = asked.iter().filter(|call| call.mutates && !call.path.ends_with("/images/create")).count();
    assert_eq!((changed, container(&target, &of(|_| ()), "web").await), (mutations, runs));
}

async fn container(target: &DockerTarget, stack: &Stack, service: &str) -> String {
    target.observe(&cx("look"), &stack.name).await.unwrap().services[service].instances[0].id.clone()
}

async fn image_of(target: &DockerTarget, stack: &Stack) -> String {
    docker(&["inspect", "-f", "{{.Image}}", &container(target, stack, "web").await])
}

async fn told(target: &DockerTarget, stack: &Stack) -> Vec<(ChangeKind, String)> {
    let plan = target.plan_for(&cx("told"), &Desired::Present(stack.clone())).await.unwrap();
    plan.changes.into_iter().map(|change| (change.kind, change.path)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_another_image_is_a_change_and_going_back_runs_what_ran() {
    let place = Place::new();
    let target = place.target();
    let image = format!("wf-moving:{}", place.owner);
    let shop = shop("moving", &image);
    let one = lead(&image, "one");
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    assert_eq!(told(&target, &shop).await, []);
    let other = container(&target, &shop, "other").await;

    let two = lead(&image, "two");
    let replaced = [(ChangeKind::Replace, "services.web.image".to_owned())];
    assert_eq!(told(&target, &shop).await, replaced);
    let drift = target.drift(&cx("drift"), &shop.name).await.unwrap();
    assert!(drift.changes[0].note.as_deref().unwrap().contains("leads to another image"), "{:?}", drift.changes);
    assert_eq!(target.deploy(&cx("two"), shop.clone()).await.unwrap(), Applied::Revision(Some(2)));
    assert_eq!(image_of(&target, &shop).await, two);
    assert_eq!(container(&target, &shop, "other").await, other, "nobody else is touched");
    assert_eq!(told(&target, &shop).await, []);
    let kept = target.revisions(&cx("kept"), &shop.name).await.unwrap();
    let ran: Vec<&str> = kept.iter().map(|revision| revision.images["web"].id.as_str()).collect();
    assert_eq!(ran, [one.as_str(), two.as_str()]);

    let back = target.plan_rollback(&cx("three"), &shop.name, None).await.unwrap();
    assert_eq!(target.apply(&cx("three"), &back).await.unwrap(), Applied::Revision(Some(3)));
    assert_eq!(image_of(&target, &shop).await, one, "though the name leads elsewhere");
    assert!(target.drift(&cx("drift"), &shop.name).await.unwrap().is_empty());
    assert_eq!(target.deploy(&cx("four"), shop.clone()).await.unwrap(), Applied::Revision(Some(4)));
    assert_eq!(image_of(&target, &shop).await, two);

    docker(&["rmi", &one]);
    let gone = target.plan_rollback(&cx("five"), &shop.name, Some(1)).await.unwrap_err();
    let windflow_core::target::PlanError::Target(gone) = gone else { panic!("{gone}") };
    assert_eq!(gone.kind, TargetErrorKind::NotFound, "{gone}");
    assert!(gone.message.contains("revision 1 ran the image") && gone.message.contains(&one), "{gone}");
    target.destroy(&cx("end"), &shop.name).await.unwrap();
    docker_may_fail(&["rmi", &image]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_fails_goes_back_to_the_image_that_ran() {
    let place = Place::new();
    let target = place.target();
    let image = format!("wf-moving-back:{}", place.owner);
    let shop = shop("moving-back", &image);
    let one = lead(&image, "one");
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    lead(&image, "two");
    let mut bad = shop.clone();
    let broken = needing(shell("exit 4"), "web", Condition::ServiceHealthy);
    bad.services.insert("other".parse().unwrap(), broken);
    let back = target.deploy(&cx("two"), bad).await.unwrap();
    assert!(matches!(back, Applied::RolledBack { to: Some(1), .. }), "{back:?}");
    assert_eq!(image_of(&target, &shop).await, one);
    // Where the name leads is still told, and nothing else is.
    assert_eq!(told(&target, &shop).await, [(ChangeKind::Replace, "services.web.image".to_owned())]);
    target.destroy(&cx("end"), &shop.name).await.unwrap();
    docker_may_fail(&["rmi", "-f", &one, &image]);
}

/// `HEALTHCHECK --interval=1s --timeout=2s --retries=3` stands in the image.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_file_does_not_say_of_a_check_is_what_the_image_says() {
    let place = Place::new();
    let target = place.target();
    let project = format!("checked-{}", place.owner);
    let file = "services: { web: { image: 'wf-config:1', healthcheck: { test: [CMD, 'true'], interval: 500ms } } }";
    compose(&project, file, &["up", "-d", "--wait"]);
    let check = HealthCheck {
        interval: Some(Duration::from_millis(500)),
        ..HealthCheck::of(Probe::Exec(vec!["true".to_owned()]))
    };
    let web =
        || Service { image: Some("wf-config:1".to_owned()), healthcheck: Some(check.clone()), ..Service::default() };
    let mut theirs = stack("checked", [("web", web())]);
    theirs.name = project.parse().unwrap();
    let found = target.discover(&cx("discover")).await.unwrap();
    let found = found.iter().find(|found| found.name == theirs.name).unwrap();
    target.adopt(&cx("adopt"), found, &Desired::Present(theirs.clone())).await.unwrap();
    assert_eq!(told(&target, &theirs).await, []);

    let ours = stack("checked", [("web", web())]);
    target.deploy(&cx("one"), ours.clone()).await.unwrap();
    assert_eq!(told(&target, &ours).await, []);
    for of in [&theirs, &ours] {
        let shown = "{{.Interval}} {{.Timeout}} {{.Retries}}";
        let format = format!("{{{{with .Config.Healthcheck}}}}{shown}{{{{end}}}}");
        let id = container(&target, of, "web").await;
        assert_eq!(docker(&["inspect", "-f", &format, &id]), "500ms 2s 3", "{}", of.name);
    }
    target.destroy(&cx("end"), &theirs.name).await.unwrap();
    target.destroy(&cx("end"), &ours.name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_image_checks_can_be_switched_off_and_its_entrypoint_taken_away() {
    let place = Place::new();
    let target = place.target();
    // The check of this image always fails.
    let mut web = Service { image: Some("wf-web:sick".to_owned()), ..Service::default() };
    web.healthcheck = Some(HealthCheck::none());
    web.entrypoint = Some(Command::Argv(Vec::new()));
    let bare = stack("bare", [("web", web)]);
    assert_eq!(target.deploy(&cx("one"), bare.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let id = container(&target, &bare, "web").await;
    assert_eq!(docker(&["inspect", "-f", "{{.Config.Healthcheck.Test}} {{.Path}}", &id]), "[NONE] httpd");
    assert_eq!(told(&target, &bare).await, []);
    // Without a word about either, what the image says holds.
    let mut plain = bare.clone();
    let web = plain.services.get_mut("web").unwrap();
    (web.healthcheck, web.entrypoint) = (None, None);
    let mut paths: Vec<String> = told(&target, &plain).await.into_iter().map(|(_, path)| path).collect();
    paths.sort();
    assert_eq!(paths, ["services.web.entrypoint", "services.web.healthcheck"]);
    target.destroy(&cx("end"), &bare.name).await.unwrap();
}
