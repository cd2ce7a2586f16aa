//! Others on the same engine: another apply of the same stack, another owner's records, volumes and ranges that are nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use windflow_core::OwnerId;
use windflow_core::target::{
    Applied, Consents, Desired, Ipam, IpamPool, Mount, MountKind, Network, PlanError, Rollout, Stack, Target as _,
    TargetError, TargetErrorKind, TargetExt as _, Volume,
};

use super::place::{Place, cx, docker, docker_may_fail, idle, shell, stack, until, with_check, with_variable};

fn version(version: &str) -> Stack {
    stack("shared", [("web", with_variable(idle(), "VERSION", version))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_overtaken_by_another_apply_says_so_and_takes_nothing_of_it_away() {
    let place = Place::new();
    let target = place.target();
    target.deploy(&cx("one"), version("1")).await.unwrap();
    let mut slow = version("2");
    let web = with_variable(with_check(idle(), "test -e /never"), "VERSION", "2");
    slow.services.insert("web".parse().unwrap(), web);
    let first = target.clone();
    let first = tokio::spawn(async move { first.deploy(&cx("slow"), slow).await });
    let stack_label = "label=windflow.stack=shared";
    let owner_label = format!("label=windflow.owner={}", place.owner);
    until("the slow one has started its container", || {
        docker(&["ps", "-q", "--filter", stack_label, "--filter", &owner_label]).lines().count() == 2
    })
    .await;
    let second = target.deploy(&cx("quick"), version("3")).await.unwrap();
    assert_eq!(second, Applied::Revision(Some(2)));
    let first = first.await.unwrap().unwrap_err();
    assert_eq!(kind(&first), Some(TargetErrorKind::Conflict), "{first}");
    assert!(first.to_string().contains("somebody else changes this stack"), "{first}");
    let plan = target.plan_for(&cx("look"), &Desired::Present(version("3"))).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.changes);
    assert_eq!(docker(&["ps", "-aq", "--filter", stack_label, "--filter", &owner_label]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_undoes_all_the_time_is_not_told_as_done() {
    let place = Place::new();
    let mut asked = version("1");
    let web = asked.services.get_mut("web").unwrap();
    // Each look at whether it is done is this long after what does not belong there was removed.
    web.rollout = Some(Rollout { min_healthy: Some(Duration::from_millis(1200)), ..Rollout::default() });
    let over = Arc::new(AtomicBool::new(false));
    let (told_over, ghost) = (over.clone(), format!("{}-ghost", place.owner));
    let owner = format!("windflow.owner={}", place.owner);
    let meddler = std::thread::spawn(move || {
        while !told_over.load(Ordering::Relaxed) {
            let labels = ["windflow.stack=shared", "windflow.service=ghost", "windflow.instance=1"];
            let mut words = vec!["create", "--name", &ghost, "--network", "none", "--label", &owner];
            words.extend(labels.iter().flat_map(|label| ["--label", label]));
            docker_may_fail(&[&words[..], &["wf-busybox:1", "true"]].concat());
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let done = place.target().deploy(&cx("one"), asked).await;
    over.store(true, Ordering::Relaxed);
    meddler.join().unwrap();
    let told = done.unwrap_err();
    assert_eq!(kind(&told), Some(TargetErrorKind::Conflict), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_whose_names_read_alike_together_with_their_stacks_have_records_of_their_own() {
    let (one, mut two) = (Place::new(), Place::new());
    two.owner = OwnerId::new(format!("{}-a", one.owner)).unwrap();
    let called = |name: &'static str| stack(name, [("web", idle())]);
    one.target().deploy(&cx("one"), called("a-shop")).await.unwrap();
    two.target().deploy(&cx("two"), called("shop")).await.unwrap();
    let numbers = async |place: &Place, name: &str| -> Vec<u64> {
        let all = place.target().revisions(&cx("look"), &name.parse().unwrap()).await.unwrap();
        all.iter().map(|revision| revision.number).collect()
    };
    assert_eq!((numbers(&one, "a-shop").await, numbers(&two, "shop").await), (vec![1], vec![1]));
    one.target().destroy(&cx("gone"), &"a-shop".parse().unwrap()).await.unwrap();
    assert_eq!((one.marked(None).len(), numbers(&two, "shop").await), (0, vec![1]));
}

fn with_data(called: &'static str) -> Stack {
    let mut web = idle();
    web.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut asked = stack(called, [("web", web)]);
    asked.volumes.insert("data".to_owned(), Volume::default());
    asked
}

/// A volume on the engine that carries no mark of anybody, for as long as a test takes.
struct Nobodys(String);

impl Nobodys {
    fn new(called: &str) -> Self {
        docker(&["volume", "create", called]);
        Self(called.to_owned())
    }
}

impl Drop for Nobodys {
    fn drop(&mut self) {
        docker_may_fail(&["volume", "rm", "-f", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_of_nobody_s_is_not_replaced_by_an_empty_one() {
    let place = Place::new();
    let target = place.target();
    let asked = Desired::Present(with_data("nobodys"));
    let free = target.plan_for(&cx("free"), &asked).await.unwrap();
    let _theirs = Nobodys::new("nobodys_data");
    let refused = target.plan_for(&cx("one"), &asked).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let [(path, why)] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(path, "volumes.data");
    assert!(why.contains("'nobodys_data' already, which is not this stack's"), "{why}");
    // It came about after the plan was made.
    let late = target.apply(&cx("free"), &free).await.unwrap_err();
    assert_eq!(late.kind, TargetErrorKind::Refused, "{late}");
    assert!(late.message.starts_with("volumes.data: "), "{late}");
    assert!(place.marked(None).is_empty(), "{:?}", place.marked(None));
    assert_eq!(docker(&["volume", "inspect", "-f", "{{len .Labels}}", "nobodys_data"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_addresses_that_is_taken_leaves_nothing_behind() {
    let place = Place::new();
    let ranged = |called: &'static str| {
        let mut asked = stack(called, [("web", idle())]);
        let pool = IpamPool { subnet: Some("10.250.77.0/24".to_owned()), ..IpamPool::default() };
        let ipam = Ipam { config: vec![pool], ..Ipam::default() };
        asked.networks.insert("default".to_owned(), Network { ipam: Some(ipam), ..Network::default() });
        asked
    };
    let target = place.target();
    target.deploy(&cx("one"), ranged("first")).await.unwrap();
    let told = target.deploy(&cx("two"), ranged("second")).await.unwrap();
    assert!(
        matches!(&told, Applied::RolledBack { to: None, why } if why.contains("overlaps")),
        "the range is the first one's: {told:?}"
    );
    assert!(place.marked(Some(&"second".parse().unwrap())).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_a_volume_without_a_name_goes_only_where_that_was_agreed_to() {
    let place = Place::new();
    let target = place.target();
    let nameless = || {
        let mut web = shell("echo mine > /data/it; exec sleep 100000");
        web.volumes = vec![Mount::new(MountKind::Volume, None, "/data")];
        stack("nameless", [("web", web)])
    };
    let volume = async || {
        let observed = target.observe(&cx("look"), &nameless().name).await.unwrap();
        docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &observed.services["web"].instances[0].id])
    };
    target.deploy(&cx("one"), nameless()).await.unwrap();
    let kept = Nobodys(volume().await);
    target.destroy(&cx("gone"), &nameless().name).await.unwrap();
    docker(&["volume", "inspect", &kept.0]);
    target.deploy(&cx("two"), nameless()).await.unwrap();
    let agreed = volume().await;
    assert_ne!(agreed, kept.0);
    let all = cx("all of it").with_consents(Consents::none().allow_destroy("volume"));
    target.destroy(&all, &nameless().name).await.unwrap();
    assert!(!docker_may_fail(&["volume", "inspect", &agreed]).0, "it was to go");
    docker(&["volume", "inspect", &kept.0]);
}

/// A container of somebody else, for as long as a test takes.
struct Stranger(String);

impl Stranger {
    fn new(called: &str) -> Self {
        Self(docker(&["create", "--name", called, "wf-busybox:1", "true"]))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        docker_may_fail(&["rm", "-f", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_asked_for_and_taken_is_told_with_whoever_has_it() {
    let place = Place::new();
    let target = place.target();
    let called = format!("{}-by-name", place.owner);
    let named = |version: &str| {
        let mut web = with_variable(idle(), "VERSION", version);
        web.container_name = Some(called.clone());
        Desired::Present(stack("named", [("web", web)]))
    };
    let free = target.plan_for(&cx("free"), &named("1")).await.unwrap();
    let stranger = Stranger::new(&called);
    let refused = target.plan_for(&cx("taken"), &named("1")).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let [(path, why)] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(path, "services.web.container_name");
    assert!(why.contains(&called) && why.contains(&stranger.0[..12]) && why.contains("wf-busybox:1"), "{why}");
    let late = target.apply(&cx("free"), &free).await.unwrap_err();
    assert_eq!(late.kind, TargetErrorKind::Conflict, "{late}");
    assert!(late.to_string().contains(&stranger.0[..12]), "{late}");
    assert!(place.marked(None).is_empty(), "{:?}", place.marked(None));
    drop(stranger);

    // One's own predecessor is no stranger.
    for version in ["1", "2"] {
        let plan = target.plan_for(&cx(version), &named(version)).await.unwrap();
        target.apply(&cx(version), &plan).await.unwrap();
        let owner = format!("label=windflow.owner={}", place.owner);
        assert_eq!(docker(&["ps", "-a", "--format", "{{.Names}}", "--filter", &owner]), called);
    }
}

/// What kind of error a plan or an apply ended in.
pub fn kind(error: &PlanError) -> Option<TargetErrorKind> {
    match error {
        PlanError::Target(TargetError { kind, .. }) => Some(*kind),
        _ => None,
    }
}
