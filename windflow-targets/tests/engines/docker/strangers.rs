//! What others do beside us, and what an earlier or a later version has left: told, and never touched.

use windflow_core::target::{
    Applied, Consents, Desired, Mount, MountKind, Network, PlanError, Target as _, TargetErrorKind, TargetExt as _,
    Volume, VolumeOptions,
};

use super::place::{Place, cx, docker, docker_may_fail, idle, stack};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_an_image_that_was_made_of_ours_is_a_stranger_s() {
    let place = Place::new();
    let target = place.target();
    let shop = stack("committed", [("web", idle())]);
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    let observed = target.observe(&cx("look"), &shop.name).await.unwrap();
    let ours = observed.services["web"].instances[0].id.clone();
    let image = format!("wf-committed:{}", place.owner);
    docker(&["commit", &ours, &image]);
    let theirs = docker(&["run", "-d", "--label", "team=theirs", &image]);
    assert!(docker(&["inspect", "-f", "{{json .Config.Labels}}", &theirs]).contains("windflow.owner"));

    let observed = target.observe(&cx("look"), &shop.name).await.unwrap();
    let ids: Vec<&str> = observed.services["web"].instances.iter().map(|instance| instance.id.as_str()).collect();
    assert_eq!(ids, [ours.as_str()]);
    let plan = target.plan_for(&cx("two"), &Desired::Present(shop.clone())).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.changes);

    // Our own containers of such an image are ours.
    let mut other = shop.clone();
    other.services.get_mut("web").unwrap().image = Some(image.clone());
    assert_eq!(target.deploy(&cx("three"), other.clone()).await.unwrap(), Applied::Revision(Some(2)));
    assert_eq!(target.observe(&cx("look"), &shop.name).await.unwrap().services["web"].instances.len(), 1);
    assert!(target.drift(&cx("drift"), &shop.name).await.unwrap().is_empty());

    target.destroy(&cx("end"), &shop.name).await.unwrap();
    assert!(target.stacks(&cx("stacks")).await.unwrap().is_empty(), "a stranger makes no stack");
    assert!(target.observe(&cx("look"), &shop.name).await.unwrap().is_absent());
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &theirs]), "true");
    docker(&["rm", "-f", &theirs]);
    docker_may_fail(&["rmi", &image]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_can_say_which_variables_are_secrets_none_is_shown() {
    let place = Place::new();
    let target = place.target();
    let blurred = stack("blurred", [("web", idle())]);
    target.deploy(&cx("one"), blurred.clone()).await.unwrap();
    let ours = target.observe(&cx("look"), &blurred.name).await.unwrap().services["web"].instances[0].id.clone();
    let identity = docker(&["inspect", "-f", "{{index .Config.Labels \"windflow.identity\"}}", &ours]);
    docker(&["rm", "-f", &ours]);
    let (owner, image) = (format!("windflow.owner={}", place.owner), "wf-busybox:1");
    let identity = format!("windflow.identity={identity}");
    let labels = ["windflow.stack=blurred", "windflow.service=web", "windflow.instance=1", "windflow.spec={"];
    let labels = labels.into_iter().chain([owner.as_str(), identity.as_str()]);
    let mut words = vec!["run", "-d", "--env", "TOKEN=hunter2"];
    words.extend(labels.flat_map(|label| ["--label", label]));
    words.extend([image, "sleep", "100000"]);
    docker(&words);
    let observed = target.observe(&cx("look"), &blurred.name).await.unwrap();
    assert!(observed.services.contains_key("web"), "{observed:?}");
    let plan = target.plan_for(&cx("plan"), &Desired::Present(blurred)).await.unwrap();
    let told = format!("{observed:?}{plan:?}");
    assert!(told.contains("TOKEN") && !told.contains("hunter2"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_read_is_named_and_left_and_its_number_is_not_given_again() {
    let place = Place::new();
    let target = place.target();
    let shop = stack("unreadable", [("web", idle())]);
    target.deploy(&cx("one"), shop.clone()).await.unwrap();
    let first =
        place.marked(Some(&shop.name)).into_iter().find_map(|line| Some(line.strip_prefix("volume ")?.to_owned()));
    let first = first.unwrap();
    let (owner, of) = (format!("windflow.owner={}", place.owner), format!("windflow.stack={}", shop.name));
    let make = |name: &str, labels: &[&str]| {
        let mut words = vec!["volume", "create", "--label", owner.as_str(), "--label", of.as_str()];
        words.extend(labels.iter().flat_map(|label| ["--label", label]));
        words.push(name);
        docker(&words)
    };
    // As a later version would, under a name of its own.
    let later = format!("{}-of-a-later-version", first.trim_end_matches("-r1"));
    make(&later, &["windflow.revision=5", r#"windflow.record={"version":9,"number":5}"#]);
    let mut two = shop.clone();
    two.services.get_mut("web").unwrap().user = Some("1000".to_owned());
    let plan = target.plan_for(&cx("two"), &Desired::Present(two.clone())).await.unwrap();
    assert!(plan.degradations.iter().any(|note| note.contains(&later)), "{:?}", plan.degradations);
    assert_eq!(target.apply(&cx("two"), &plan).await.unwrap(), Applied::Revision(Some(6)));
    assert!(docker(&["volume", "inspect", &later]).contains("\\\"version\\\":9"));

    // What is under way is not known: nothing is touched.
    let doing = make(&format!("{}-doing", first.trim_end_matches("-r1")), &["windflow.doing=later"]);
    let refused = target.deploy(&cx("three"), shop.clone()).await.unwrap_err().to_string();
    assert!(refused.contains(&doing) && refused.contains("cannot be read"), "{refused}");
    let plan = target.plan_for(&cx("four"), &Desired::Present(shop.clone())).await.unwrap();
    let error = target.apply(&cx("four"), &plan).await.unwrap_err();
    assert_eq!(error.kind, TargetErrorKind::Conflict, "{error}");
    docker(&["volume", "rm", &doing]);

    let end = cx("end").with_consents(Consents::none().allow_destroy("volume"));
    let plan = target.plan_for(&end, &Desired::Absent(shop.name.clone())).await.unwrap();
    assert!(plan.degradations.iter().any(|note| note.contains(&later)), "{:?}", plan.degradations);
    target.apply(&end, &plan).await.unwrap();
    assert_eq!(place.marked(Some(&shop.name)), [format!("volume {later}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stack_makes_what_would_be_another_owner_s() {
    let place = Place::new();
    let forged = || [("windflow.owner".to_owned(), "acme".to_owned())].into();
    let mut web = idle();
    let mut nameless = Mount::new(MountKind::Volume, None, "/data");
    nameless.volume = Some(VolumeOptions { labels: forged(), ..VolumeOptions::default() });
    web.volumes = vec![nameless];
    let mut evil = stack("evil", [("web", web)]);
    evil.networks.insert("net".to_owned(), Network { labels: forged(), ..Network::default() });
    evil.volumes.insert("vol".to_owned(), Volume { labels: forged(), ..Volume::default() });
    let refused = place.target().plan_for(&cx("evil"), &Desired::Present(evil)).await.unwrap_err();
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    let wanted = ["networks.net", "volumes.vol", "services.web.volumes[0].volume"];
    assert_eq!(paths, wanted.map(|path| format!("{path}.labels.windflow.owner")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_another_s_network_is_refused_in_the_plan() {
    let place = Place::new();
    let called = format!("net-{}", place.owner);
    docker(&["network", "create", &called]);
    let mut shop = stack("shop", [("web", idle())]);
    shop.networks.insert("default".to_owned(), Network { name: Some(called.clone()), ..Network::default() });
    let target = place.target();
    let refused = target.plan_for(&cx("one"), &Desired::Present(shop.clone())).await.unwrap_err();
    docker(&["network", "rm", &called]);
    let PlanError::Refused { problems, .. } = &refused else { panic!("{refused}") };
    assert_eq!(problems[0].0, "networks.default");
    assert!(problems[0].1.contains(&called) && problems[0].1.contains("not this stack's"), "{problems:?}");
    // What is the stack's own is no stranger's.
    target.deploy(&cx("two"), shop.clone()).await.unwrap();
    let again = target.plan_for(&cx("again"), &Desired::Present(shop.clone())).await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);
    target.destroy(&cx("end"), &shop.name).await.unwrap();
}
