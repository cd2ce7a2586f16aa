//! What else is asked for while two sets of a service stand beside each other, or after whoever made them was cut.

use std::time::Duration;

use windflow_bed::Cut;
use windflow_core::target::{
    Applied, Context, Desired, FileMount, FileObject, FileSource, PlanError, Promote, Restart, RestartPolicy, Stack,
    Target as _, TargetExt as _,
};

use super::blue_green::{id_of, shop, webs};
use super::place::{Place, docker, docker_says, marked, port, sh, web};

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

/// Of two that are asked for at once the one that says it is done is what is there, whoever that is.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_never_both_say_that_it_was_done() {
    let place = Place::new();
    let target = || place.hasty();
    let one = shop(&place, "one");
    target().deploy(&Context::new("one"), one.clone()).await.unwrap();
    for round in 0..2_u64 {
        let (two, three) = (shop(&place, "two"), shop(&place, "three"));
        let later = async {
            tokio::time::sleep(Duration::from_millis(400 * round)).await;
            target().deploy(&Context::new("three"), three.clone()).await
        };
        let (a, b) = tokio::join!(async { target().deploy(&Context::new("two"), two.clone()).await }, later);
        let told = format!("{round}: {a:?}, {b:?}");
        assert!(a.is_err() || b.is_err(), "{told}");
        let staged = target().observe(&Context::new("look"), &one.name).await.unwrap().staged;
        if a.is_ok() || b.is_ok() {
            let wanted = if a.is_ok() { &two } else { &three };
            let staged = staged.as_ref().map(|staged| &staged.stack);
            assert_eq!(staged, Some(wanted), "{told}");
            assert_eq!(says(&place, &one).await, if a.is_ok() { "two" } else { "three" }, "{told}");
            assert_eq!(webs(&place).await.len(), 2, "{told}");
        }
        let number = staged.map(|staged| staged.number);
        let later = async {
            tokio::time::sleep(Duration::from_millis(150 * round)).await;
            target().promote(&Context::new("no"), &one.name, Promote::Abort).await
        };
        let go = async { target().promote(&Context::new("go"), &one.name, Promote::Promote).await };
        let (yes, no) = tokio::join!(go, later);
        let told = format!("{round}: {told}; {yes:?}, {no:?}");
        let promoted = number.is_some() && matches!(&yes, Ok(Applied::Revision(done)) if *done == number);
        let aborted = matches!(&no, Ok(Applied::Revision(_)));
        assert!(!(promoted && aborted), "{told}");
        // Whoever comes next finishes what is left.
        let _ = target().promote(&Context::new("end"), &one.name, Promote::Abort).await;
        let current = target().observe(&Context::new("look"), &one.name).await.unwrap().current.unwrap();
        assert!(!promoted || Some(current.number) == number, "{told}");
        target().deploy(&Context::new("same"), current.stack.clone()).await.unwrap();
        let text = ["one", "two", "three"].into_iter().find(|text| shop(&place, text) == current.stack).unwrap();
        assert_eq!(says(&place, &one).await, text, "{told}");
        assert_eq!(webs(&place).await.len(), 1, "{told}");
        if text != "one" {
            target().deploy(&Context::new("back"), one.clone()).await.unwrap();
            target().promote(&Context::new("back"), &one.name, Promote::Promote).await.unwrap();
        }
    }
}
