//! Jobs that go: a Swarm forgets their tasks, and they do not.

use windflow_core::target::{Consents, Context, Mode, Mount, MountKind, Service, Stack, TargetExt as _, Volume};

use super::place::{Place, docker_says, sh};
use crate::docker::place::until;

fn job(text: &str, mode: Mode) -> Service {
    let mut job = sh(text);
    job.mode = mode;
    job.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    job
}

fn with(place: &Place, services: impl IntoIterator<Item = (&'static str, Service)>) -> Stack {
    let mut stack = place.stack(services);
    stack.volumes.insert("data".to_owned(), Volume::default());
    stack
}

fn containers(place: &Place, more: &[&str]) -> usize {
    let owner = format!("label=windflow.owner={}", place.owner);
    let mut words = vec!["ps", "-aq", "--filter", &owner];
    words.extend(more);
    docker_says(&words).lines().count()
}

/// What a Swarm ends it takes away by itself, a moment later.
async fn gone(place: &Place) {
    until("the Swarm has taken it away", || containers(place, &[]) == 0).await;
    assert_eq!(docker_says(&["volume", "ls", "-q", "--filter", &format!("name={}", place.stack)]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_swarm_leaves_of_a_job_that_is_done_goes_with_the_job_and_holds_no_volume() {
    let place = Place::new();
    let target = place.target();
    let web = || ("web", sh("exec sleep 1000"));
    let once = || ("once", job("echo hello >/data/it", Mode::ReplicatedJob));
    let ended = ["--filter", "status=exited"];
    target.deploy(&Context::new("one"), with(&place, [web(), once()])).await.unwrap();
    assert_eq!(containers(&place, &ended), 1);
    // The stack no longer has it.
    target.deploy(&Context::new("two"), with(&place, [web()])).await.unwrap();
    assert_eq!((containers(&place, &ended), containers(&place, &[])), (0, 1));
    // It goes with all the others.
    let stack = with(&place, [web(), once()]);
    target.deploy(&Context::new("three"), stack.clone()).await.unwrap();
    let agreed = Context::new("gone").with_consents(Consents::none().allow_destroy("volume"));
    target.destroy(&agreed, &stack.name).await.unwrap();
    gone(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_still_runs_is_ended_before_it_is_removed() {
    let place = Place::new();
    let target = place.target();
    let stack = with(
        &place,
        [
            ("long", job("exec sleep 1000", Mode::ReplicatedJob)),
            ("everywhere", job("exec sleep 1000", Mode::GlobalJob)),
            ("failing", job("exit 4", Mode::ReplicatedJob)),
        ],
    );
    // Whoever waits for jobs that do not end is cut off.
    let cx = Context::new("one");
    let is_up = || containers(&place, &["--filter", "status=running"]) == 2 && containers(&place, &[]) > 2;
    let (deploy, cancel) = (target.deploy(&cx, stack.clone()), until("two run and one has failed", is_up));
    tokio::select! {
        told = deploy => panic!("{told:?}"),
        () = cancel => {}
    }
    let agreed = Context::new("gone").with_consents(Consents::none().allow_destroy("volume"));
    target.destroy(&agreed, &stack.name).await.unwrap();
    gone(&place).await;
}
