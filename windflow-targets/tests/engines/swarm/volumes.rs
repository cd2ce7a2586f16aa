//! Volumes that are somebody else's are not mounted, and those that are kept are told, and found again.

use windflow_core::target::{
    Applied, Consents, Context, Desired, Mount, MountKind, Network, PlanError, Stack, Target as _, TargetErrorKind,
    TargetExt as _, Volume,
};

use super::place::{Place, docker_says, sh};

fn with_volumes<const N: usize>(place: &Place, names: [&str; N]) -> Stack {
    let mut keeper = sh("exec sleep 1000");
    keeper.volumes =
        names.iter().map(|name| Mount::new(MountKind::Volume, Some((*name).to_owned()), format!("/{name}"))).collect();
    let mut stack = place.stack([("keeper", keeper)]);
    stack.volumes = names.iter().map(|name| ((*name).to_owned(), Volume::default())).collect();
    stack
}

fn agreed(key: &str) -> Context {
    Context::new(key).with_consents(Consents::none().allow_destroy("volume"))
}

/// The volumes there are of a stack, by their names.
fn there(place: &Place) -> Vec<String> {
    let found = docker_says(&["volume", "ls", "-q", "--filter", &format!("name={}", place.stack)]);
    let mut names: Vec<String> = found.lines().map(str::to_owned).collect();
    names.sort();
    names
}

struct Theirs(String);

impl Theirs {
    fn new(name: String) -> Self {
        docker_says(&["volume", "create", &name]);
        Self(name)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // A task that is still ending has it.
        let mounted = || !docker_says(&["ps", "-aq", "--filter", &format!("volume={}", self.0)]).is_empty();
        while mounted() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        docker_says(&["volume", "rm", "-f", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_somebody_else_s_is_refused_by_its_path_and_nothing_is_touched() {
    let place = Place::new();
    let target = place.target();
    let stack = with_volumes(&place, ["data"]);
    let before = target.plan_for(&Context::new("before"), &Desired::Present(stack.clone())).await.unwrap();
    let theirs = Theirs::new(format!("{}_data", place.stack));
    let refused = target.plan_for(&Context::new("plan"), &Desired::Present(stack.clone())).await.unwrap_err();
    let PlanError::Refused { problems, .. } = refused else { panic!("{refused}") };
    let (path, why) = &problems[0];
    assert_eq!((path.as_str(), problems.len()), ("volumes.data", 1));
    assert!(why.contains(&format!("a volume '{}' already, which is not this stack's", theirs.0)), "{why}");
    assert!(why.contains("external: true"), "{why}");
    // It came about after the plan was made.
    let refused = target.apply(&Context::new("apply"), &before).await.unwrap_err();
    assert_eq!(refused.kind, TargetErrorKind::Refused, "{refused}");
    assert!(refused.message.starts_with("volumes.data: "), "{refused}");
    assert_eq!(place.proxy.mutations(), 0, "{:#?}", place.proxy.calls());
    // Whoever says that it is somebody else's gets it, and leaves it.
    let mut shared = stack.clone();
    shared
        .volumes
        .insert("data".to_owned(), Volume { external: true, name: Some(theirs.0.clone()), ..Volume::default() });
    assert_eq!(target.deploy(&Context::new("shared"), shared).await.unwrap(), Applied::Revision(Some(1)));
    let plan = target.plan_for(&agreed("gone"), &Desired::Absent(stack.name.clone())).await.unwrap();
    assert!(!plan.changes.iter().any(|change| change.path.starts_with("volumes.")), "{:?}", plan.changes);
    target.apply(&agreed("gone"), &plan).await.unwrap();
    assert_eq!(there(&place), [theirs.0.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_told_and_a_later_destroy_finds_it_by_the_stack_s_name() {
    let place = Place::new();
    let target = place.target();
    let name = with_volumes(&place, []).name;
    let (data, old) = (format!("{name}_data"), format!("{name}_old"));
    let look = Context::new("look");
    let retained = async || -> Vec<(String, String)> {
        target.observe(&look, &name).await.unwrap().retained.into_iter().collect()
    };
    target.deploy(&Context::new("one"), with_volumes(&place, ["data", "old"])).await.unwrap();
    assert!(retained().await.is_empty());
    let without = Desired::Present(with_volumes(&place, ["data"]));
    let plan = target.plan_for(&agreed("two"), &without).await.unwrap();
    let kept = format!(
        "volumes.old: the volume '{old}' is kept with what is in it (a destroy with --allow-destroy volume removes it)"
    );
    assert_eq!(plan.degradations, std::slice::from_ref(&kept));
    // Tasks that have ended hold on to it: nothing is promised that is not done.
    assert!(!plan.changes.iter().any(|change| change.path.starts_with("volumes.")), "{:?}", plan.changes);
    target.apply(&agreed("two"), &plan).await.unwrap();
    assert_eq!(retained().await, [("volumes.old".to_owned(), old.clone())]);
    let again = target.plan_for(&Context::new("again"), &without).await.unwrap();
    assert!(again.is_empty() && again.degradations == [kept], "{again:?}");

    let gone = target.plan_for(&Context::new("gone"), &Desired::Absent(name.clone())).await.unwrap();
    let kept = |path: &str, called: &str| {
        format!("{path}: the volume '{called}' is kept with what is in it (--allow-destroy volume removes it)")
    };
    assert_eq!(gone.degradations, [kept("volumes.data", &data), kept("volumes.old", &old)]);
    assert_eq!(target.apply(&Context::new("gone"), &gone).await.unwrap(), Applied::Revision(None));
    let both = [("volumes.data".to_owned(), data.clone()), ("volumes.old".to_owned(), old.clone())];
    assert_eq!(retained().await, both);
    assert!(target.observe(&look, &name).await.unwrap().is_absent());
    assert!(!target.stacks(&look).await.unwrap().contains(&name), "what was kept is no stack");
    assert_eq!(target.destroy(&Context::new("nothing"), &name).await.unwrap(), Applied::Nothing);

    let plan = target.plan_for(&agreed("all of it"), &Desired::Absent(name.clone())).await.unwrap();
    let paths: Vec<&str> = plan.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["volumes.data", "volumes.old"]);
    assert!(plan.changes[0].note.as_ref().unwrap().contains("what is in it is lost"), "{:?}", plan.changes);
    assert_eq!(there(&place), [data.as_str(), old.as_str()]);
    assert_eq!(target.apply(&agreed("all of it"), &plan).await.unwrap(), Applied::Revision(None));
    assert!(retained().await.is_empty());
    assert!(there(&place).is_empty(), "{:?}", there(&place));
    assert_eq!(target.destroy(&agreed("again"), &name).await.unwrap(), Applied::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_stack_s_own_cannot_be_external_to_it_and_nothing_that_is_external_is_ever_removed_or_made() {
    let place = Place::new();
    let target = place.target();
    let asked = with_volumes(&place, ["data"]);
    target.deploy(&Context::new("own"), asked.clone()).await.unwrap();
    let external = |name: &str| Volume { external: true, name: Some(name.to_owned()), ..Volume::default() };
    let own_data = format!("{}_data", place.stack);
    // It would carry our mark for ever, and go with the next destroy.
    let mut own = asked.clone();
    own.volumes.insert("data".to_owned(), external(&own_data));
    let real = docker_says(&["network", "ls", "--format", "{{.Name}}", "--filter", &format!("name={}", place.stack)]);
    own.networks
        .insert("default".to_owned(), Network { external: true, name: Some(real.clone()), ..Network::default() });
    let refused = target.plan_for(&Context::new("refused"), &Desired::Present(own)).await.unwrap_err();
    let PlanError::Refused { mut problems, .. } = refused else { panic!("{refused}") };
    problems.sort();
    let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["networks.default", "volumes.data"], "{real}");
    assert!(problems.iter().all(|(_, why)| why.contains("this stack's own") && why.contains("leave `external` out")));

    // Another one by the same name within the stack. The Swarm would make it where it is not, and nothing would be in it.
    let theirs = format!("{}-theirs", place.stack);
    let mut moved = asked.clone();
    moved.volumes.insert("data".to_owned(), external(&theirs));
    let moved = Desired::Present(moved);
    let refused = target.plan_for(&Context::new("not there"), &moved).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("there is no volume '{theirs}'")), "{refused}");
    let theirs = Theirs::new(theirs);
    let plan = target.plan_for(&Context::new("moved"), &moved).await.unwrap();
    assert!(plan.degradations[0].starts_with(&format!("volumes.data: the volume '{own_data}' is kept")), "{plan:?}");
    target.apply(&Context::new("moved"), &plan).await.unwrap();
    target.destroy(&agreed("all of it"), plan.desired.stack()).await.unwrap();
    assert_eq!(there(&place), [theirs.0.as_str()]);
}
