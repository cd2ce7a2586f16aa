//! What is refused, passed over, changed and moved, in tables.

use serde_json::Value;

use super::*;
use crate::id::{OwnerId, ServiceName, StackName, TargetName};
use crate::target::{
    Capabilities, ChangeKind, Condition, Consents, Dependency, Desired, EnvValue, Health, Mount, MountKind, Network,
    Observed, ObservedService, Plan, Process, RESTART_LABEL, Revision, Service, Stack, Volume,
};
use crate::time::Timestamp;

fn service(variables: &[(&str, EnvValue)]) -> Service {
    Service {
        process: Some(Process { command: vec!["app".to_owned()], search: Vec::new(), working_dir: None }),
        environment: variables.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        ..Service::default()
    }
}

fn stack(services: &[(&str, Service)]) -> Stack {
    let services = services.iter().map(|(n, s)| (ServiceName::new(n).unwrap(), s.clone())).collect();
    Stack::new(StackName::new("shop").unwrap(), services)
}

fn capabilities() -> Capabilities {
    Capabilities::new("host").with_service_fields(["process", "environment", "labels", "depends_on"])
}

fn observed(stack: &Stack) -> Observed {
    let mut observed = Observed::absent();
    for (name, service) in &stack.services {
        let spec = owned_spec(service, &capabilities());
        observed.services.insert(name.clone(), ObservedService::new(spec, Health::Healthy));
    }
    observed.current = Some(Revision::new(1, stack.clone(), "k", Timestamp(0)));
    observed
}

fn lines(desired: &Stack, observed: &Observed) -> Vec<String> {
    let desired = Desired::Present(desired.clone());
    let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
    changes(&desired, observed, &capabilities(), |_| ChangeKind::Update)
        .iter()
        .map(|c| format!("{} {} {} {}", c.kind.sign(), c.path, text(&c.before), text(&c.after)))
        .collect()
}

#[test]
fn a_changed_variable_is_named_and_a_secret_stays_a_reference() {
    let plain = |text: &str| EnvValue::Plain(text.to_owned());
    let secret = EnvValue::Secret("secret://env/P".parse().unwrap());
    let old = stack(&[("web", service(&[("A", plain("1")), ("B", plain("x"))]))]);
    let new = stack(&[("web", service(&[("A", plain("2")), ("P", secret)])), ("db", service(&[]))]);
    assert_eq!(
        lines(&new, &observed(&old)),
        [
            r#"+ services.db - {"process":{"command":["app"]}}"#,
            r#"~ services.web.environment.A "1" "2""#,
            r#"~ services.web.environment.B "x" -"#,
            r#"~ services.web.environment.P - "secret://env/P""#,
        ]
    );
    assert!(lines(&old, &observed(&old)).is_empty());
}

#[test]
fn the_restart_label_asks_for_a_restart_once_and_is_never_drift() {
    let plain = stack(&[("web", service(&[]))]);
    let mut restart = plain.clone();
    for service in restart.services.values_mut() {
        service.labels.insert(RESTART_LABEL.to_owned(), "1".to_owned());
    }
    assert_eq!(lines(&restart, &observed(&plain)), [r#"! services.web.labels.windflow.restart - "1""#]);
    assert!(lines(&restart, &observed(&restart)).is_empty());
    assert!(lines(&plain, &observed(&restart)).is_empty(), "the file without the label plans nothing");
    let current = |stack: &Stack| Revision::new(1, stack.clone(), "k", Timestamp(0));
    assert!(is_revision(&plain, &current(&restart)) && is_revision(&restart, &current(&restart)));
    assert!(!is_revision(&restart, &current(&plain)), "a restart is a revision of its own");
}

#[test]
fn what_is_not_offered_is_refused_by_path() {
    let mut odd = service(&[]);
    odd.stop_signal = Some("SIGINT".to_owned());
    odd.replicas.0 = 3;
    let image = Service { image: Some("nginx".to_owned()), ..Service::default() };
    let dependency = |condition| Dependency { condition, required: true, restart: false };
    let mut circular = service(&[]);
    circular.depends_on.insert(ServiceName::new("e").unwrap(), dependency(Condition::ServiceStarted));
    circular.depends_on.insert(ServiceName::new("ghost").unwrap(), dependency(Condition::ServiceStarted));
    let all = stack(&[("a", odd), ("b", image), ("c", Service::default()), ("e", circular)]);
    let paths: Vec<String> = refusals(&all, &capabilities()).into_iter().map(|(path, _)| path).collect();
    let expected = [
        "services.a.replicas",
        "services.a.stop_signal",
        "services.a.replicas",
        "services.b.image",
        "services.c",
        "services.e.depends_on.ghost",
        "services.e.depends_on",
    ];
    assert_eq!(paths, expected);
    let both = Service { image: Some("nginx".to_owned()), ..service(&[]) };
    assert!(refusals(&stack(&[("web", both)]), &capabilities()).is_empty(), "each kind takes what it can run");
}

#[test]
fn a_plan_knows_what_someone_else_moved() {
    let old = stack(&[("web", service(&[]))]);
    let desired = Desired::Present(stack(&[("web", service(&[])), ("db", service(&[]))]));
    let before = observed(&old);
    let target = TargetName::new("t").unwrap();
    let mut plan = Plan::new(OwnerId::new("o").unwrap(), target, desired, Some(1));
    plan.preconditions = preconditions(&plan.desired, &before);
    assert!(moved(&plan, &before).is_empty());
    let mut healthier = before.clone();
    healthier.services.values_mut().for_each(|service| service.health = Health::Starting);
    assert!(moved(&plan, &healthier).is_empty(), "health is no precondition");
    let other = stack(&[("web", service(&[("A", EnvValue::Plain("1".to_owned()))])), ("cache", service(&[]))]);
    assert_eq!(moved(&plan, &observed(&other)), ["revision", "services.web", "services.cache"]);
}

#[test]
fn what_is_passed_over_is_told_with_its_reason() {
    let caps = capabilities().passing_over("attach", "nothing is attached to");
    let mut web = service(&[]);
    web.image = Some("nginx".to_owned());
    web.cap_add = vec!["SYS_TIME".to_owned()];
    web.other.insert("attach".to_owned(), Value::Bool(false));
    let mut shop = stack(&[("web", web)]);
    shop.volumes.insert("data".to_owned(), Volume::default());
    assert!(refusals(&shop, &caps).is_empty());
    assert_eq!(
        degradations(&shop, &caps),
        [
            "volumes.data: a target of kind 'host' has no volumes",
            "services.web.cap_add: it belongs to the image, and a process runs instead",
            "services.web.attach: nothing is attached to",
        ]
    );
    shop.services.values_mut().for_each(|web| web.image = None);
    let paths: Vec<String> = refusals(&shop, &caps).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["services.web.cap_add"], "without an image there is nothing it could belong to");
}

#[test]
fn what_a_service_names_must_be_in_the_stack() {
    let mut web = service(&[]);
    web.networks.insert("front".to_owned(), super::super::Attachment::default());
    web.volumes.push(Mount::new(MountKind::Volume, Some("data".to_owned()), "/data"));
    web.volumes.push(Mount::new(MountKind::Bind, Some("/srv".to_owned()), "/srv"));
    let caps = capabilities().with_service_fields(["networks", "volumes"]);
    let said: Vec<String> =
        refusals(&stack(&[("web", web)]), &caps).into_iter().map(|(path, why)| format!("{path}: {why}")).collect();
    assert_eq!(
        said,
        [
            "services.web.networks.front: there is no network 'front'",
            "services.web.volumes[0]: there is no volume 'data'"
        ]
    );
}

#[test]
fn a_volume_goes_only_where_that_was_agreed_to() {
    let caps = capabilities().with_stack_fields(["networks", "volumes"]);
    let mut old = stack(&[("web", service(&[]))]);
    old.volumes.insert("data".to_owned(), Volume::default());
    old.networks.insert("front".to_owned(), Network { internal: true, ..Network::default() });
    let mut there = observed(&old);
    there.parts = owned_parts(&old, &caps);
    let names = |desired: &Desired, consents: &Consents| -> Vec<String> {
        part_changes(desired, &there, &caps, consents)
            .iter()
            .map(|c| format!("{} {} {:?}", c.kind.sign(), c.path, c.reversibility))
            .collect()
    };
    let gone = Desired::Absent(old.name.clone());
    let agreed = Consents::none().allow_destroy("volume");
    assert_eq!(names(&gone, &Consents::none()), ["- networks.default Reversible", "- networks.front Reversible"]);
    assert_eq!(names(&gone, &agreed)[2], "- volumes.data Irreversible");
    let mut moved = old.clone();
    moved.volumes.insert("data".to_owned(), Volume { driver: Some("nfs".to_owned()), ..Volume::default() });
    moved.networks.insert("front".to_owned(), Network::default());
    assert_eq!(
        names(&Desired::Present(moved), &Consents::none()),
        ["! networks.front.internal Reversible", "! volumes.data.driver Irreversible"]
    );
    assert!(names(&Desired::Present(old.clone()), &Consents::none()).is_empty());
}
