//! Volumes without a name: of a file that says only where, and of an image.

use windflow_core::target::{
    Applied, Consents, Desired, Mount, MountKind, Stack, Strategy, Target as _, TargetExt as _,
};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, cx, docker, docker_may_fail, idle, stack, with_check, with_variable};

/// An image that asks for a volume itself.
struct Greedy(String);

impl Greedy {
    fn new(place: &Place) -> Self {
        let (called, made) = (format!("wf-volume-{}:1", place.owner), format!("{}-volume", place.owner));
        docker(&["create", "--name", &made, "wf-busybox:1", "true"]);
        docker(&["commit", "--change", "VOLUME /of-the-image", &made, &called]);
        docker(&["rm", &made]);
        Self(called)
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        docker_may_fail(&["rmi", "-f", &self.0]);
    }
}

fn asked(image: &Greedy, version: &str) -> Stack {
    let mut web = with_variable(idle(), "VERSION", version);
    web.image = Some(image.0.clone());
    web.volumes = vec![Mount::new(MountKind::Volume, None, "/data")];
    stack("nameless", [("web", web)])
}

/// The container of the only service, and its volumes in the order of where they are.
async fn now(target: &DockerTarget) -> (String, Vec<String>) {
    let observed = target.observe(&cx("look"), &"nameless".parse().unwrap()).await.unwrap();
    let id = observed.services["web"].instances[0].id.clone();
    let mut mounts: Vec<String> =
        docker(&["inspect", "-f", "{{range .Mounts}}{{.Destination}} {{.Name}}{{println}}{{end}}", &id])
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
    mounts.sort();
    (id, mounts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_takes_the_place_of_another_has_its_volumes_without_a_name() {
    let place = Place::new();
    let (target, image) = (place.target(), Greedy::new(&place));
    target.deploy(&cx("one"), asked(&image, "1")).await.unwrap();
    let (first, volumes) = now(&target).await;
    assert_eq!(volumes.len(), 2, "{volumes:?}");
    docker(&["exec", &first, "sh", "-c", "echo kept > /data/it; echo too > /of-the-image/it"]);

    target.deploy(&cx("two"), asked(&image, "2")).await.unwrap();
    let (second, carried) = now(&target).await;
    assert_ne!(first, second);
    assert_eq!(carried, volumes);
    assert_eq!(docker(&["exec", &second, "cat", "/data/it", "/of-the-image/it"]), "kept\ntoo");
    assert!(target.drift(&cx("drift"), &asked(&image, "2").name).await.unwrap().is_empty());
    let again = target.plan_for(&cx("again"), &Desired::Present(asked(&image, "2"))).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);

    // One that fails has them too, and whoever is there before has them again.
    let mut bad = asked(&image, "3");
    let web = bad.services.get_mut("web").unwrap();
    *web = with_check(web.clone(), "exit 1");
    let back = target.deploy(&cx("three"), bad).await.unwrap();
    assert!(matches!(back, Applied::RolledBack { to: Some(1 | 2), .. }), "{back:?}");
    assert_eq!(now(&target).await.1, volumes);

    // What its networks stand on is made anew: its container is gone before the next one is made.
    let mut moved = asked(&image, "4");
    let network = windflow_core::target::Network { internal: true, ..Default::default() };
    moved.networks.insert("default".to_owned(), network);
    let web = moved.services.get_mut("web").unwrap();
    web.rollout = Some(windflow_core::target::Rollout { strategy: Some(Strategy::Recreate), ..Default::default() });
    let all = cx("four").with_consents(Consents::none().allow_destroy("volume"));
    target.deploy(&all, moved).await.unwrap();
    let (fourth, carried) = now(&target).await;
    assert_eq!(carried, volumes);
    assert_eq!(docker(&["exec", &fourth, "cat", "/data/it", "/of-the-image/it"]), "kept\ntoo");

    target.destroy(&all, &"nameless".parse().unwrap()).await.unwrap();
    for volume in volumes.iter().filter_map(|line| line.split_once(' ')) {
        assert!(!docker_may_fail(&["volume", "inspect", volume.1]).0, "{} was to go", volume.0);
    }
}
