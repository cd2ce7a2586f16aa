//! What else is asked for while two sets of a service stand beside each other, or after whoever made them was cut.

use std::time::{Duration, Instant};

use windflow_bed::Cut;
use windflow_core::target::{
    Applied, Context, Desired, FileMount, FileObject, FileSource, HealthCheck, PlanError, Probe, Promote, Restart,
    RestartPolicy, Service, Stack, Target as _, TargetExt as _,
};

use super::blue_green::{id_of, shop, webs};
use super::place::{Place, docker, docker_says, marked, port, sh, web};
use crate::at_once;

/// The same with a config, which these services have.
fn with_config(mut stack: Stack, text: &str, services: &[&str]) -> Stack {
    let file = FileObject { source: Some(FileSource::Content(text.to_owned())), ..FileObject::default() };
    stack.configs.insert("page".to_owned(), file);
    for name in services {
        stack.services.get_mut(*name).unwrap().configs =
            vec![FileMount { source: "page".to_owned(), target: Some("/page".to_owned()), ..FileMount::default() }];
    }
    stack
}

async fn says(place: &Place, stack: &Stack) -> String {
    let load = id_of(&place.target(), &stack.name, "load").await;
    docker_says(&["exec", &load, "wget", "-q", "-O", "-", "http://web/"])
}

/// What is left of a set must not be taken for the one that runs by an apply of something else.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_has_left_of_a_set_goes_before_another_revision_comes() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    target.deploy(&cx("one"), shop(&place, "one")).await.unwrap();
    let blue = webs(&place).await;
    let plan = target.plan_for(&cx("two"), &Desired::Present(shop(&place, "two"))).await.unwrap();
    place.proxy.cut_at(2, Cut::After);
    assert!(target.apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    // Another set of the same service is another one.
    assert!(matches!(
        place.target().deploy(&cx("three"), shop(&place, "three")).await.unwrap(),
        Applied::Staged { .. }
    ));
    assert_eq!(webs(&place).await.len(), 2);
    let one = shop(&place, "one");
    assert_eq!(target.promote(&cx("no"), &one.name, Promote::Abort).await.unwrap(), Applied::Revision(Some(1)));
    assert_eq!((webs(&place).await, says(&place, &one).await), (blue.clone(), "one".to_owned()));
    let plan = target.plan_for(&cx("two"), &Desired::Present(shop(&place, "two"))).await.unwrap();
    place.proxy.cut_at(2, Cut::After);
    assert!(target.apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    let mut other = one;
    other.services.get_mut("load").unwrap().restart = RestartPolicy::on(Restart::Always);
    assert_eq!(place.target().deploy(&cx("other"), other).await.unwrap(), Applied::Revision(Some(2)));
    assert_eq!(webs(&place).await, blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_kept_keeps_its_port_and_nobody_else_may_have_it() {
    let (place, port) = (Place::new(), port());
    let target = place.target();
    let cx = Context::new;
    let before = place.stack([("web", web(port, "1")), ("load", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), before.clone()).await.unwrap();
    let mut front = shop(&place, "two");
    front.services.insert("front".parse().unwrap(), web(port, "2"));
    let refused = target.plan_for(&cx("plan"), &Desired::Present(front)).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let [(path, why)] = &problems[..] else { panic!("{refused}") };
    assert!(path == "services.front.ports[0]" && why.contains("the old set of 'web'"), "{refused}");
    let staged = target.deploy(&cx("two"), shop(&place, "two")).await.unwrap();
    assert_eq!(staged, Applied::Staged { revision: 2, kept: 1 });
    assert_eq!(target.promote(&cx("no"), &before.name, Promote::Abort).await.unwrap(), Applied::Revision(Some(1)));
    assert!(target.drift(&cx("drift"), &before.name).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_new_set_is_gone_is_not_promoted() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    let (one, two) = (shop(&place, "one"), shop(&place, "two"));
    target.deploy(&cx("one"), one.clone()).await.unwrap();
    let blue = webs(&place).await;
    target.deploy(&cx("two"), two.clone()).await.unwrap();
    let green = webs(&place).await.difference(&blue).next().unwrap().clone();
    docker_says(&["service", "rm", &green]);
    let plan = target.plan_for(&cx("look"), &Desired::Present(two)).await.unwrap();
    assert!(plan.changes[0].note.as_ref().is_some_and(|note| note.contains("its new set is gone")), "{plan:?}");
    let back = target.promote(&cx("go"), &one.name, Promote::Promote).await.unwrap();
    let why = "web: its new set is gone".to_owned();
    assert_eq!(back, Applied::RolledBack { to: Some(1), why });
    assert_eq!((webs(&place).await, says(&place, &one).await), (blue, "one".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_that_was_cut_leaves_nothing_that_could_be_promoted() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    let one = shop(&place, "one");
    target.deploy(&cx("one"), one.clone()).await.unwrap();
    let blue = webs(&place).await;
    let why = "web: its new set is gone".to_owned();
    // Green is gone, and what is staged is on record still; or only that it is aborted is.
    for (removed, told) in [(1, Applied::RolledBack { to: Some(1), why }), (2, Applied::Nothing)] {
        target.deploy(&cx("two"), shop(&place, "two")).await.unwrap();
        place.proxy.cut_at_call(removed, "DELETE", "/configs/*", Cut::Before);
        assert!(target.promote(&cx("no"), &one.name, Promote::Abort).await.is_err() && place.proxy.is_cut());
        place.proxy.heal().unwrap();
        assert_eq!(webs(&place).await, blue);
        assert_eq!(target.promote(&cx("yes"), &one.name, Promote::Promote).await.unwrap(), told);
        assert_eq!((webs(&place).await, says(&place, &one).await), (blue.clone(), "one".to_owned()));
        assert_eq!(target.promote(&cx("more"), &one.name, Promote::Promote).await.unwrap(), Applied::Nothing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_had_before_is_neither_drift_nor_in_the_way() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    let one = with_config(shop(&place, "one"), "1", &["web", "load"]);
    target.deploy(&cx("one"), one.clone()).await.unwrap();
    // Only the new revision has it, and it has what is new.
    let mut two = with_config(shop(&place, "two"), "2", &["web", "load"]);
    two.services.insert("extra".parse().unwrap(), sh("exec sleep 1000"));
    let two = with_config(two, "2", &["extra"]);
    assert!(matches!(target.deploy(&cx("two"), two.clone()).await.unwrap(), Applied::Staged { .. }));
    assert!(target.drift(&cx("drift"), &one.name).await.unwrap().is_empty());
    assert_eq!(target.deploy(&cx("again"), two).await.unwrap(), Applied::Nothing);
    assert_eq!(target.promote(&cx("no"), &one.name, Promote::Abort).await.unwrap(), Applied::Revision(Some(1)));
    for service in ["web", "load"] {
        let id = id_of(&target, &one.name, service).await;
        assert_eq!(docker_says(&["exec", &id, "cat", "/page"]), "1", "{service}");
    }
    let left = marked(&docker().await, &place.owner, None).await;
    // The content and the record of the revision.
    assert_eq!(left.iter().filter(|(kind, _)| *kind == "config").count(), 2, "{left:?}");
    assert!(target.drift(&cx("drift"), &one.name).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_already_is_staged_after_a_cut_all_the_same() {
    let place = Place::new();
    let target = place.target();
    let cx = Context::new;
    target.deploy(&cx("one"), with_config(shop(&place, "one"), "1", &["web", "load"])).await.unwrap();
    let two = with_config(shop(&place, "one"), "2", &["web", "load"]);
    let plan = target.plan_for(&cx("two"), &Desired::Present(two)).await.unwrap();
    assert!(plan.degradations.iter().any(|told| told.contains("a new set of web")), "{plan:?}");
    // What is being done is written down, the config is made, and the other service has it.
    place.proxy.cut_at(3, Cut::After);
    assert!(target.apply(&cx("two"), &plan).await.is_err() && place.proxy.is_cut());
    place.proxy.heal().unwrap();
    assert_eq!(target.apply(&cx("two"), &plan).await.unwrap(), Applied::Staged { revision: 2, kept: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_never_both_say_that_it_was_done() {
    at_once::never_both_done::<Place>(&[(0, 0), (400, 150)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_while_it_is_waited_for_is_told_at_once() {
    let place = Place::new();
    let never = sh("mkdir -p /w && exec httpd -f -p 80 -h /w");
    let check = HealthCheck { interval: Some(Duration::from_secs(5)), ..never_healthy() };
    let stack = place.stack([("web", Service { healthcheck: Some(check), ..never })]);
    let waiting = tokio::spawn({
        let (target, stack) = (place.target(), stack.clone());
        async move { target.deploy(&Context::new("one"), stack).await }
    });
    let until = Instant::now() + Duration::from_secs(30);
    while webs(&place).await.is_empty() {
        assert!(Instant::now() < until && !waiting.is_finished(), "never begun");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    docker_says(&["service", "rm", webs(&place).await.first().unwrap()]);
    let told = tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it is told soon");
    let told = told.unwrap().unwrap_err().to_string();
    assert!(told.contains("somebody else changes this stack"), "{told}");
}

/// Nothing ever comes of it.
fn never_healthy() -> HealthCheck {
    HealthCheck {
        probe: Probe::Shell("exit 1".to_owned()),
        interval: None,
        timeout: Some(Duration::from_secs(2)),
        retries: Some(100),
        start_period: Some(Duration::from_secs(500)),
        start_interval: None,
    }
}
