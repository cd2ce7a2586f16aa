//! What is read back of services and tasks, in tables.

use std::time::Duration;

use bollard::models::{Network, ObjectVersion, Secret, SecretSpec, Service};
use windflow_core::Timestamp;
use windflow_core::target::{
    Attachment, EnvValue, FileMount, HealthCheck, Mount, MountKind, PortMapping, Probe, Replicas, Revision, Rollout,
    Stack, Strategy, Volume,
};

use super::super::capability::capabilities;
use super::super::records::Records;
use super::super::render::Object;
use super::*;

fn web() -> Ours {
    let second = Duration::from_secs(1);
    Ours {
        image: Some("web:1".to_owned()),
        command: Some(windflow_core::target::Command::Shell("serve 'all of it'".to_owned())),
        environment: [
            ("PORT".to_owned(), EnvValue::Plain("80".to_owned())),
            ("KEY".to_owned(), EnvValue::Secret("secret://env/KEY".parse().unwrap())),
        ]
        .into(),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        ports: vec![PortMapping::tcp(80).published(8080)],
        healthcheck: Some(HealthCheck {
            probe: Probe::Shell("true".to_owned()),
            interval: Some(second),
            timeout: Some(second),
            retries: Some(2),
            start_period: Some(second),
            start_interval: Some(second),
        }),
        replicas: Replicas(2),
        cap_add: vec!["CAP_CHOWN".to_owned()],
        tmpfs: vec!["/run:size=1m,mode=700".to_owned()],
        volumes: vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")],
        secrets: vec![FileMount { source: "tls".to_owned(), ..FileMount::default() }],
        networks: [("front".to_owned(), Attachment { aliases: vec!["www".to_owned()], ..Attachment::default() })]
            .into(),
        depends_on: [].into(),
        // A Swarm is told of it in words of its own.
        rollout: Some(Rollout { strategy: Some(Strategy::Rolling), ..Rollout::default() }),
        ..Ours::default()
    }
}

fn owner() -> OwnerId {
    OwnerId::new("me").unwrap()
}

fn stack() -> Stack {
    let mut stack = Stack::new(StackName::new("shop").unwrap(), [(ServiceName::new("web").unwrap(), web())].into());
    stack.networks.insert("front".to_owned(), windflow_core::target::Network::default());
    stack.volumes.insert("data".to_owned(), Volume::default());
    stack
}

/// What is there after the stack was applied, with a change to the service behind our back.
fn look(meddle: impl FnOnce(&mut ServiceSpec)) -> Look {
    let (stack, name) = (stack(), ServiceName::new("web").unwrap());
    let key = "KEY".to_owned();
    let print = Fingerprint::of([(&key, b"value".as_slice())], &Fingerprint::default());
    let bound = Bound {
        name: "shop_web".to_owned(),
        networks: [("front".to_owned(), "net1".to_owned())].into(),
        secrets: [("tls".to_owned(), Object { id: "sec1".to_owned(), name: "shop_tls-1".to_owned() })].into(),
        volumes: parts::volumes(&owner(), &stack),
        values: [("KEY".to_owned(), "value".to_owned())].into(),
        fingerprint: Some(print.label()),
        api: (1, 41),
        ..Bound::default()
    };
    let mut spec = render(&owner(), &stack.name, &name, &stack.services[&name], &bound);
    meddle(&mut spec);
    let mut marks = mark::labels(&owner(), &stack.name);
    marks.insert(mark::PART.to_owned(), "networks.front".to_owned());
    let network = Network { id: Some("net1".to_owned()), labels: Some(marks.clone()), ..Network::default() };
    marks.insert(mark::PART.to_owned(), "secrets.tls".to_owned());
    let secret = SecretSpec { labels: Some(marks), ..SecretSpec::default() };
    let revision = Revision::new(1, stack, "key", Timestamp(0));
    Look {
        owner: "me".to_owned(),
        stack: "shop".to_owned(),
        services: vec![Service {
            id: Some("svc1".to_owned()),
            version: Some(ObjectVersion { index: Some(1) }),
            spec: Some(spec),
            ..Service::default()
        }],
        networks: vec![network],
        secrets: vec![Secret { id: Some("sec1".to_owned()), spec: Some(secret), ..Secret::default() }],
        records: Records { revisions: vec![("r1".to_owned(), revision)], ..Records::default() },
        ..Look::default()
    }
}

/// The paths that differ from what was asked for.
fn drift(meddle: impl FnOnce(&mut ServiceSpec)) -> Vec<String> {
    let found = observed(&owner(), &stack().name, &look(meddle), &capabilities());
    let desired = windflow_core::target::Desired::Present(stack());
    let changes = windflow_core::target::diff::changes(&desired, &found, &capabilities(), |_| {
        windflow_core::target::ChangeKind::Update
    });
    changes
        .into_iter()
        .map(|change| {
            let text = |value: Option<Value>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
            format!("{} {} {}", change.path, text(change.before), text(change.after))
        })
        .collect()
}

fn container(spec: &mut ServiceSpec) -> &mut bollard::models::TaskSpecContainerSpec {
    spec.task_template.as_mut().unwrap().container_spec.as_mut().unwrap()
}

#[test]
fn what_is_as_it_was_asked_for_has_not_drifted() {
    assert_eq!(drift(|_| {}), Vec::<String>::new());
    // What engines add of themselves is no drift either.
    let theirs = |spec: &mut ServiceSpec| {
        let container = container(spec);
        container.isolation = Some(bollard::models::TaskSpecContainerSpecIsolationEnum::DEFAULT);
        container.dns_config = Some(bollard::models::TaskSpecContainerSpecDnsConfig::default());
        container.image = Some("web:1@sha256:0123".to_owned());
        spec.task_template.as_mut().unwrap().resources = Some(bollard::models::TaskSpecResources::default());
        spec.labels.as_mut().unwrap().insert("com.docker.stack.image".to_owned(), "web:1".to_owned());
    };
    assert_eq!(drift(theirs), Vec::<String>::new());
}

#[test]
fn drift_is_told_by_the_entry_and_no_value_of_a_secret_is_shown() {
    let env = |spec: &mut ServiceSpec| {
        container(spec).env = Some(vec!["PORT=81".to_owned(), "KEY=stolen".to_owned(), "MORE=1".to_owned()]);
    };
    assert_eq!(
        drift(env),
        [
            r#"services.web.environment.KEY "(another value)" "secret://env/KEY""#,
            r#"services.web.environment.MORE "1" -"#,
            r#"services.web.environment.PORT "81" "80""#,
        ]
    );
    let secrets = |spec: &mut ServiceSpec| container(spec).secrets = None;
    assert_eq!(drift(secrets), [r#"services.web.secrets - [{"source":"tls"}]"#]);
    let networks = |spec: &mut ServiceSpec| {
        spec.task_template.as_mut().unwrap().networks.as_mut().unwrap()[0].target = Some("elsewhere".to_owned());
    };
    assert_eq!(drift(networks).len(), 2, "{:?}", drift(networks));
}

#[test]
fn a_service_without_our_record_of_it_is_told_as_it_is() {
    let found = observed(
        &owner(),
        &stack().name,
        &look(|spec| drop(spec.labels.as_mut().unwrap().remove(mark::SPEC))),
        &capabilities(),
    );
    let web = &found.services["web"];
    assert_eq!(web.spec["image"], "web:1");
    assert_eq!(web.spec["command"], json!(["serve", "all of it"]));
    assert_eq!(web.health, Health::Starting, "it has no task yet");
    assert_eq!(web.instances.len(), 2);
    let parts: Vec<&String> = found.parts.keys().collect();
    assert_eq!(parts, ["networks.front", "secrets.tls", "volumes.data"]);
}
