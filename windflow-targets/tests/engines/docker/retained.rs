//! Volumes that are kept although nothing wants them any more: they are told, and found again.

use std::collections::BTreeMap;

use windflow_core::target::{
    Applied, Command, Consents, Context, Desired, Mount, MountKind, Network, PlanError, Reversibility, Stack,
    Target as _, TargetErrorKind, TargetExt as _, Volume,
};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, compose, cx, docker, docker_may_fail, idle, stack};

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

/// A volume of somebody else.
struct Theirs(String);

impl Theirs {
    fn new(place: &Place) -> Self {
        let theirs = Self(format!("{}-theirs", place.owner));
        theirs.make();
        theirs
    }

    fn make(&self) {
        docker(&["volume", "create", &self.0]);
    }

    fn is_there(&self) -> bool {
        docker_may_fail(&["volume", "inspect", &self.0]).0
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        docker_may_fail(&["volume", "rm", &self.0]);
    }
}

async fn refused(target: &DockerTarget, asked: &Stack) -> Vec<(String, String)> {
    match target.plan_for(&cx("refused"), &Desired::Present(asked.clone())).await.unwrap_err() {
        PlanError::Refused { problems, .. } => problems,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_stack_s_own_cannot_be_external_to_it_and_nothing_that_is_external_is_ever_removed_or_made() {
    let place = Place::new();
    let target = place.target();
    let mut asked = with_volumes(["data"]);
    asked.name = "holding".parse().unwrap();
    target.deploy(&cx("own"), asked.clone()).await.unwrap();
    // It would carry our mark for ever, and go with the next destroy.
    let mut own = asked.clone();
    let external = |name: &str| Volume { external: true, name: Some(name.to_owned()), ..Volume::default() };
    own.volumes.insert("data".to_owned(), external("holding_data"));
    own.networks.insert(
        "default".to_owned(),
        Network { external: true, name: Some("holding_default".to_owned()), ..Network::default() },
    );
    let problems = refused(&target, &own).await;
    let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["networks.default", "volumes.data"]);
    assert!(problems.iter().all(|(_, why)| why.contains("this stack's own") && why.contains("leave `external` out")));

    // Another one by the same name within the stack: the old one is kept, and told.
    let theirs = Theirs::new(&place);
    let mut moved = asked.clone();
    moved.volumes.insert("data".to_owned(), external(&theirs.0));
    let moved = Desired::Present(moved);
    let plan = target.plan_for(&cx("moved"), &moved).await.unwrap();
    let kept = "volumes.data: the volume 'holding_data' is kept with what is in it (--allow-destroy volume removes it)";
    assert_eq!(plan.degradations, [kept]);
    docker(&["volume", "rm", &theirs.0]);
    // The engine would make it anew, and nothing would be in it.
    let gone = target.apply(&cx("moved"), &plan).await.unwrap_err();
    assert_eq!(gone.kind, TargetErrorKind::Refused, "{gone}");
    assert!(gone.message.contains(&format!("there is no volume '{}'", theirs.0)), "{gone}");
    assert!(!theirs.is_there());
    let _ = target.deploy(&cx("back"), asked).await.unwrap();
    theirs.make();
    let plan = target.plan_for(&cx("again"), &moved).await.unwrap();
    target.apply(&cx("again"), &plan).await.unwrap();
    let retained = target.observe(&cx("look"), plan.desired.stack()).await.unwrap().retained;
    assert_eq!(retained, BTreeMap::from([("volumes.data".to_owned(), "holding_data".to_owned())]));
    target.destroy(&agreed("all of it"), plan.desired.stack()).await.unwrap();
    assert!(place.marked(None).is_empty());
    assert!(theirs.is_there());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_was_taken_over_is_kept_as_the_stack_s_and_one_of_somebody_else_s_is_refused_by_its_path() {
    let place = Place::new();
    let target = place.target();
    let project = format!("{}-taken", place.owner);
    let file = "
services:
  web: { image: 'wf-busybox:1', command: [sleep, '100000'], stop_grace_period: 1s, volumes: ['data:/data'] }
volumes: { data: { labels: { team: shop } } }
";
    compose(&project, file, &["up", "-d"]);
    let mut asked = with_volumes(["data"]);
    asked.name = project.parse().unwrap();
    asked.volumes.get_mut("data").unwrap().labels.insert("team".to_owned(), "shop".to_owned());
    let web = asked.services.values_mut().next().unwrap();
    web.command = Some(Command::Argv(vec!["sleep".to_owned(), "100000".to_owned()]));
    let found = target.discover(&cx("look")).await.unwrap();
    let found = found.iter().find(|found| found.name == asked.name).unwrap();
    target.adopt(&cx("adopt"), found, &Desired::Present(asked.clone())).await.unwrap();
    target.destroy(&cx("gone"), &asked.name).await.unwrap();
    let real = format!("{project}_data");
    let kept = target.observe(&cx("look"), &asked.name).await.unwrap();
    assert!(kept.is_absent());
    assert_eq!(kept.retained, BTreeMap::from([("volumes.data".to_owned(), real.clone())]));
    assert!(!target.stacks(&cx("look")).await.unwrap().contains(&asked.name), "what was kept is no stack");
    // A volume is its stack's by its key.
    let mut renamed = asked.clone();
    let mut volume = renamed.volumes.remove("data").unwrap();
    volume.name = Some(real.clone());
    renamed.volumes.insert("store".to_owned(), volume);
    renamed.services.values_mut().next().unwrap().volumes[0].source = Some("store".to_owned());
    let problems = refused(&target, &renamed).await;
    assert_eq!((problems[0].0.as_str(), problems.len()), ("volumes.store", 1));
    assert!(problems[0].1.contains("is this stack's own as 'data': keep that key"), "{problems:?}");
    // It is used again, and what was in it is there, whatever was agreed to.
    let plan = target.plan_for(&agreed("again"), &Desired::Present(asked.clone())).await.unwrap();
    assert!(plan.changes.iter().all(|change| change.reversibility == Reversibility::Reversible), "{:?}", plan.changes);
    assert_eq!(target.deploy(&agreed("again"), asked.clone()).await.unwrap(), Applied::Revision(Some(1)));
    let id = target.observe(&cx("look"), &asked.name).await.unwrap().services["web"].instances[0].id.clone();
    let mounted = docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &id]);
    assert_eq!(mounted, real);
    target.destroy(&cx("gone again"), &asked.name).await.unwrap();
    // What somebody makes under the name of one that went by another's hand is theirs.
    docker(&["volume", "rm", &real]);
    docker(&["volume", "create", &real]);
    assert!(target.observe(&cx("look"), &asked.name).await.unwrap().retained.is_empty());
    target.destroy(&agreed("nothing"), &asked.name).await.unwrap();
    docker(&["volume", "rm", &real]);
    compose(&project, file, &["up", "-d"]);
    let found = target.discover(&cx("look")).await.unwrap();
    let found = found.iter().find(|found| found.name == asked.name).unwrap();
    target.adopt(&cx("adopt again"), found, &Desired::Present(asked.clone())).await.unwrap();
    target.destroy(&cx("gone"), &asked.name).await.unwrap();
    assert_eq!(target.destroy(&agreed("all of it"), &asked.name).await.unwrap(), Applied::Revision(None));
    assert!(!docker_may_fail(&["volume", "inspect", &real]).0, "it goes where that was agreed to");
    assert!(place.marked(None).is_empty(), "{:?}", place.marked(None));

    // Nobody has taken this one over.
    docker(&["volume", "create", &real]);
    let theirs = Theirs(real.clone());
    let problems = refused(&target, &asked).await;
    assert_eq!((problems[0].0.as_str(), problems.len()), ("volumes.data", 1));
    assert!(problems[0].1.contains(&format!("a volume '{real}' already, which is not this stack's")), "{problems:?}");
    drop(theirs);
}
