//! Volumes that are kept although nothing wants them any more: they are told, and found again.

use std::collections::BTreeMap;

use windflow_core::target::{
    Applied, Consents, Context, Desired, Mount, MountKind, Stack, Target as _, TargetExt as _, Volume,
};

use super::place::{Place, cx, docker, idle, stack};

fn with_volumes<const N: usize>(names: [&str; N]) -> Stack {
    let mut web = idle();
    web.volumes =
        names.iter().map(|name| Mount::new(MountKind::Volume, Some((*name).to_owned()), format!("/{name}"))).collect();
    let mut asked = stack("keeping", [("web", web)]);
    asked.volumes = names.iter().map(|name| ((*name).to_owned(), Volume::default())).collect();
    asked
}

fn agreed(key: &str) -> Context {
    cx(key).with_consents(Consents::none().allow_destroy("volume"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_told_and_a_later_destroy_finds_it_by_the_stack_s_name() {
    let place = Place::new();
    let target = place.target();
    let name = with_volumes([]).name;
    let retained = async || -> Vec<String> {
        let observed = target.observe(&cx("look"), &name).await.unwrap();
        observed.retained.into_iter().map(|(path, called)| format!("{path} {called}")).collect()
    };
    target.deploy(&cx("one"), with_volumes(["data", "old"])).await.unwrap();
    assert!(retained().await.is_empty());
    let without = Desired::Present(with_volumes(["data"]));
    let plan = target.plan_for(&cx("two"), &without).await.unwrap();
    let kept = "volumes.old: the volume 'keeping_old' is kept with what is in it (--allow-destroy volume removes it)";
    assert_eq!(plan.degradations, [kept]);
    target.apply(&cx("two"), &plan).await.unwrap();
    assert_eq!(retained().await, ["volumes.old keeping_old"]);
    let again = target.plan_for(&cx("again"), &without).await.unwrap();
    assert!(again.is_empty() && again.degradations == [kept], "{again:?}");

    let gone = target.plan_for(&cx("gone"), &Desired::Absent(name.clone())).await.unwrap();
    assert_eq!(gone.degradations.len(), 2, "{:?}", gone.degradations);
    assert_eq!(target.apply(&cx("gone"), &gone).await.unwrap(), Applied::Revision(None));
    assert_eq!(retained().await, ["volumes.data keeping_data", "volumes.old keeping_old"]);
    assert!(target.observe(&cx("look"), &name).await.unwrap().is_absent());
    let left: BTreeMap<_, _> = place.marked(None).into_iter().map(|line| (line, ())).collect();
    assert!(left.keys().eq(["volume keeping_data", "volume keeping_old"].iter()), "{left:?}");

    // Another stack of ours is none of its business.
    docker(&["volume", "create", "--label", &format!("windflow.owner={}", place.owner), "keeping_else"]);
    assert_eq!(target.destroy(&agreed("all of it"), &name).await.unwrap(), Applied::Revision(None));
    assert!(retained().await.is_empty());
    assert_eq!(place.marked(None), ["volume keeping_else"]);
}
