//! What services and tasks are rendered as, in tables.

use std::time::Duration;

use serde_json::json;
use windflow_core::target::{
    Attachment, Command, EndpointMode, EnvValue, FileMount, Ipam, IpamPool, Mode, Mount, MountKind, Network,
    PortMapping, PortMode, RESTART_LABEL, Replicas, Restart, RestartPolicy, Rollout, Service, Strategy,
};
use windflow_core::{OwnerId, ServiceName, StackName};

use super::*;

fn rendered(asked: &Service, bound: &Bound) -> serde_json::Value {
    let (owner, stack) = (OwnerId::new("me").unwrap(), StackName::new("shop").unwrap());
    json!(service(&owner, &stack, &ServiceName::new("web").unwrap(), asked, bound))
}

#[test]
fn a_service_is_rendered_as_a_swarm_takes_it() {
    let mut port = PortMapping::tcp(80).published(8080);
    port.mode = PortMode::Host;
    let web = Service {
        image: Some("web:1".to_owned()),
        command: Some(Command::Shell("serve -p 80".to_owned())),
        environment: [
            ("A".to_owned(), EnvValue::Plain("1".to_owned())),
            ("P".to_owned(), EnvValue::Secret("secret://env/P".parse().unwrap())),
        ]
        .into(),
        labels: [("team".to_owned(), "shop".to_owned()), (RESTART_LABEL.to_owned(), "now".to_owned())].into(),
        ports: vec![port],
        endpoint_mode: Some(EndpointMode::Dnsrr),
        replicas: Replicas(3),
        restart: RestartPolicy { delay: Some(Duration::from_secs(2)), ..RestartPolicy::on(Restart::UnlessStopped) },
        volumes: vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")],
        secrets: vec![FileMount { source: "tls".to_owned(), mode: Some(0o400), ..FileMount::default() }],
        networks: [("front".to_owned(), Attachment { aliases: vec!["www".to_owned()], ..Attachment::default() })]
            .into(),
        rollout: Some(Rollout { strategy: Some(Strategy::Recreate), ..Rollout::default() }),
        ..Service::default()
    };
    let bound = Bound {
        name: "shop_web".to_owned(),
        networks: [("front".to_owned(), "net1".to_owned())].into(),
        secrets: [("tls".to_owned(), Object { id: "sec1".to_owned(), name: "shop_tls-1".to_owned() })].into(),
        volumes: [("data".to_owned(), VolumeSource { name: "shop_data".to_owned(), ..VolumeSource::default() })].into(),
        values: [("P".to_owned(), "hunter2".to_owned())].into(),
        force_update: 4,
        ..Bound::default()
    };
    let mut spec = rendered(&web, &bound);
    let label = spec["Labels"].as_object_mut().unwrap().remove("windflow.spec").unwrap();
    assert!(label.as_str().unwrap().contains("secret://env/P") && !label.as_str().unwrap().contains("rollout"));
    let marks = json!({ "windflow.owner": "me", "windflow.stack": "shop", "windflow.service": "web" });
    assert_eq!(spec["Labels"], marks);
    let mut labels = marks;
    labels["team"] = json!("shop");
    assert_eq!(
        spec["TaskTemplate"],
        json!({
            "ContainerSpec": {
                "Image": "web:1",
                "Labels": labels,
                "Args": ["serve", "-p", "80"],
                "Env": ["A=1", "P=hunter2"],
                "Mounts": [{ "Type": "volume", "Source": "shop_data", "Target": "/data" }],
                "Secrets": [{
                    "File": { "Name": "tls", "UID": "0", "GID": "0", "Mode": 0o400 },
                    "SecretID": "sec1",
                    "SecretName": "shop_tls-1",
                }],
            },
            "RestartPolicy": { "Condition": "any", "Delay": 2_000_000_000_i64 },
            "ForceUpdate": 4,
            "Networks": [{ "Target": "net1", "Aliases": ["web", "www"] }],
        })
    );
    assert_eq!(spec["Mode"], json!({ "Replicated": { "Replicas": 3 } }));
    assert_eq!(spec["UpdateConfig"], json!({ "Parallelism": 0, "Order": "stop-first" }));
    let port = json!({ "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host" });
    assert_eq!(spec["EndpointSpec"], json!({ "Mode": "dnsrr", "Ports": [port] }));
}

#[test]
fn jobs_and_services_on_every_node_have_modes_of_their_own() {
    let mode = |mode, replicas| {
        let asked = Service { mode, replicas: Replicas(replicas), ..Service::default() };
        rendered(&asked, &Bound::default())["Mode"].clone()
    };
    assert_eq!(mode(Mode::Global, 1), json!({ "Global": {} }));
    assert_eq!(mode(Mode::GlobalJob, 1), json!({ "GlobalJob": {} }));
    let job = json!({ "ReplicatedJob": { "MaxConcurrent": 2, "TotalCompletions": 2 } });
    assert_eq!(mode(Mode::ReplicatedJob, 2), job);
}

#[test]
fn a_rolling_update_starts_first_where_no_port_of_the_node_is_held() {
    let rolling = Rollout { strategy: Some(Strategy::Rolling), batch: Some(2), ..Rollout::default() };
    let mut asked = Service { rollout: Some(rolling), ..Service::default() };
    let update = |asked: &Service| rendered(asked, &Bound::default())["UpdateConfig"].clone();
    assert_eq!(update(&asked), json!({ "Parallelism": 2, "Order": "start-first" }));
    asked.ports = vec![PortMapping { mode: PortMode::Host, ..PortMapping::tcp(80).published(80) }];
    assert_eq!(update(&asked), json!({ "Parallelism": 2 }));
}

#[test]
fn a_network_is_an_overlay_unless_it_says_otherwise() {
    let pool = IpamPool { subnet: Some("10.5.0.0/24".to_owned()), ..IpamPool::default() };
    let asked = Network {
        internal: true,
        ipam: Some(Ipam { config: vec![pool], ..Ipam::default() }),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        ..Network::default()
    };
    assert_eq!(
        json!(network("shop_front".to_owned(), &asked, [("windflow.owner".to_owned(), "me".to_owned())].into())),
        json!({
            "Name": "shop_front",
            "Driver": "overlay",
            "Internal": true,
            "Attachable": false,
            "Ingress": false,
            "IPAM": { "Driver": "default", "Config": [{ "Subnet": "10.5.0.0/24" }] },
            "Labels": { "team": "shop", "windflow.owner": "me" },
        })
    );
}
