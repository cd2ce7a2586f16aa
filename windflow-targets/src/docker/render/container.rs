//! A container of a service.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, HealthConfig, NetworkingConfig};
use windflow_core::target::{Command, EnvValue, HealthCheck, Probe, RESTART_LABEL, Service, Stack};
use windflow_core::{OwnerId, ServiceName};

use super::host::host_config;
use super::network::endpoint;
use crate::docker::names;
use crate::engine::{Identity, identity, mark};

/// What surrounds a container: the engine's names for what the stack shares, and what the engine can do.
pub(in crate::docker) struct Surroundings<'a> {
    pub owner: &'a OwnerId,
    pub stack: &'a Stack,
    /// By the stack's name: the engine's name for each network.
    pub networks: &'a BTreeMap<String, String>,
    /// By the stack's name: the engine's name for each volume.
    pub volumes: &'a BTreeMap<String, String>,
    /// Whether the engine knows `start_interval`.
    pub start_interval: bool,
}

/// A container as it would be made, without the values of secrets.
#[derive(Clone, Debug)]
pub(in crate::docker) struct Rendered {
    pub body: ContainerCreateBody,
    /// The networks it joins after it was made and before it is started, by the engine's name.
    pub joins: Vec<String>,
    pub identity: Identity,
}

/// The container of an instance of this service.
pub(in crate::docker) fn container(
    around: &Surroundings<'_>,
    name: &ServiceName,
    service: &Service,
    instance: u32,
) -> Rendered {
    let identity = identity(around.stack, service);
    let mut labels: HashMap<String, String> = mark::labels(around.owner, &around.stack.name);
    labels.extend(service.labels.iter().map(|(label, value)| (label.clone(), value.clone())));
    labels.insert(mark::SERVICE.to_owned(), name.to_string());
    labels.insert(mark::INSTANCE.to_owned(), instance.to_string());
    labels.insert(mark::IDENTITY.to_owned(), identity.to_string());
    // The model holds only texts, numbers and maps with text keys: it can always be written.
    labels.insert(mark::SPEC.to_owned(), serde_json::to_string(service).unwrap_or_default());
    let networks = names::networks_of(around.stack, name);
    let real = |network: &String| around.networks.get(network).cloned().unwrap_or_else(|| network.clone());
    let mut joins: Vec<String> = networks.iter().map(real).collect();
    let first = (!joins.is_empty()).then(|| joins.remove(0));
    let networking_config = first.as_ref().map(|real| {
        let to = networks.first().and_then(|network| service.networks.get(network));
        let settings = endpoint(name, to);
        NetworkingConfig { endpoints_config: Some(HashMap::from([(real.clone(), settings)])) }
    });
    let mut host = host_config(around, service, instance);
    host.network_mode = service.network_mode.clone().or(first);
    let exposed: Vec<String> = service
        .expose
        .iter()
        .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") })
        .chain(service.ports.iter().map(|port| format!("{}/{}", port.target, port.protocol)))
        .collect();
    let body = ContainerCreateBody {
        image: service.image.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        tty: service.tty.then_some(true),
        open_stdin: service.stdin_open.then_some(true),
        entrypoint: service.entrypoint.as_ref().map(argv),
        cmd: service.command.as_ref().map(argv),
        env: some(environment(service, &BTreeMap::new())),
        exposed_ports: some(exposed),
        healthcheck: service.healthcheck.as_ref().map(|check| health(check, around.start_interval)),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period.map(|grace| i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)),
        labels: Some(labels),
        host_config: Some(host),
        networking_config,
        ..ContainerCreateBody::default()
    };
    Rendered { body, joins, identity }
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The texts of a command. The text form is split at spaces, as far as no quotes are in it, which the loader has resolved.
fn argv(command: &Command) -> Vec<String> {
    match command {
        Command::Argv(argv) => argv.clone(),
        Command::Shell(text) => text.split_whitespace().map(str::to_owned).collect(),
    }
}

/// `NAME=value`, in order; a secret stands as its reference until its value is handed in.
fn environment(service: &Service, values: &BTreeMap<String, String>) -> Vec<String> {
    let value = |name: &String, value: &EnvValue| match value {
        EnvValue::Plain(text) => text.clone(),
        EnvValue::Secret(reference) => values.get(name).cloned().unwrap_or_else(|| reference.to_string()),
    };
    service.environment.iter().map(|(name, given)| format!("{name}={}", value(name, given))).collect()
}

/// The same container with the values of its secret variables.
pub(in crate::docker) fn with_values(
    mut rendered: Rendered,
    service: &Service,
    values: &BTreeMap<String, String>,
) -> Rendered {
    rendered.body.env = some(environment(service, values));
    rendered
}

fn health(check: &HealthCheck, start_interval: bool) -> HealthConfig {
    let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let test = match &check.probe {
        Probe::Exec(argv) => std::iter::once("CMD".to_owned()).chain(argv.iter().cloned()).collect(),
        Probe::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
        // Ports are refused in the plan.
        Probe::None | Probe::Http { .. } | Probe::Tcp { .. } => vec!["NONE".to_owned()],
    };
    HealthConfig {
        test: Some(test),
        // What is not said, the engine takes from the image.
        interval: check.interval.map(nanos),
        timeout: check.timeout.map(nanos),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(nanos),
        start_interval: check.start_interval.filter(|_| start_interval).map(nanos),
    }
}

/// A restart that was asked for stays in force: a stack that says nothing about it restarts nothing.
pub(in crate::docker) fn keeping_restart(service: &Service, before: Option<&Service>) -> Service {
    let mut kept = service.clone();
    if !kept.labels.contains_key(RESTART_LABEL)
        && let Some(asked) = before.and_then(|before| before.labels.get(RESTART_LABEL))
    {
        kept.labels.insert(RESTART_LABEL.to_owned(), asked.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use windflow_core::StackName;
    use windflow_core::target::{Mount, MountKind, PortMapping, Restart, RestartPolicy};

    fn stack(edit: impl FnOnce(&mut Service)) -> Stack {
        let mut web = Service { image: Some("app:1".to_owned()), ..Service::default() };
        edit(&mut web);
        Stack::new(StackName::new("shop").unwrap(), [(ServiceName::new("web").unwrap(), web)].into())
    }

    fn rendered(stack: &Stack, instance: u32) -> Rendered {
        let around = Surroundings {
            owner: &OwnerId::new("me").unwrap(),
            stack,
            networks: &BTreeMap::from([("default".to_owned(), "n1".to_owned())]),
            volumes: &BTreeMap::from([("data".to_owned(), "shop_data".to_owned())]),
            start_interval: false,
        };
        let (name, service) = stack.services.iter().next().unwrap();
        container(&around, name, service, instance)
    }

    #[test]
    fn a_service_becomes_a_container() {
        let shop = stack(|web| {
            web.environment.insert("A".to_owned(), EnvValue::Plain("1".to_owned()));
            web.environment.insert("P".to_owned(), EnvValue::Secret("secret://env/P".parse().unwrap()));
            web.restart = RestartPolicy { max_attempts: Some(3), ..RestartPolicy::on(Restart::OnFailure) };
            web.ports = vec![PortMapping { published_end: Some(8_081), ..PortMapping::tcp(80).published(8_080) }];
            web.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
            web.stop_grace_period = Some(Duration::from_secs(3));
        });
        let mut body = rendered(&shop, 2).body;
        body.labels = None;
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"ExposedPorts":{"80/tcp":{}},"Env":["A=1","P=secret://env/P"],"Image":"app:1","StopTimeout":3,"HostConfig":{"NetworkMode":"n1","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8081"}]},"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"Mounts":[{"Target":"/data","Source":"shop_data","Type":"volume"}]},"NetworkingConfig":{"EndpointsConfig":{"n1":{"Aliases":["web"]}}}}"#
        );
    }

    #[test]
    fn a_container_says_whose_it_is_and_holds_no_secret() {
        let shop = stack(|web| {
            web.environment.insert("P".to_owned(), EnvValue::Secret("secret://env/P".parse().unwrap()));
        });
        let (name, service) = shop.services.iter().next().unwrap();
        let values = BTreeMap::from([("P".to_owned(), "hunter2".to_owned())]);
        let made = with_values(rendered(&shop, 1), service, &values);
        assert_eq!(made.body.env.as_deref(), Some(&["P=hunter2".to_owned()][..]));
        let labels = made.body.labels.unwrap();
        let said = |label: &str| labels.get(label).map(String::as_str);
        assert_eq!(
            (said(mark::OWNER), said(mark::STACK), said(mark::SERVICE)),
            (Some("me"), Some("shop"), Some(name.as_str()))
        );
        assert!(labels.values().all(|value| !value.contains("hunter2")), "{labels:?}");
    }
}
