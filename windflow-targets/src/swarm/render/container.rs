//! What a container of a service is made of.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    GenericResourcesInner, GenericResourcesInnerDiscreteResourceSpec, HealthConfig, Limit, ResourceObject,
    ResourcesUlimits, TaskSpecContainerSpec, TaskSpecContainerSpecConfigs, TaskSpecContainerSpecDnsConfig,
    TaskSpecContainerSpecFile, TaskSpecContainerSpecFile1, TaskSpecContainerSpecIsolationEnum as Isolation,
    TaskSpecContainerSpecPrivileges, TaskSpecContainerSpecSecrets, TaskSpecLogDriver, TaskSpecResources,
};
use windflow_core::target::{Command, EnvValue, FileMount, HealthCheck, Probe, RESTART_LABEL, Service};

use super::mount;
use super::service::{Bound, Object};
use crate::swarm::capability::no_new_privileges;

/// A duration as an engine counts it.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn container(service: &Service, marks: HashMap<String, String>, bound: &Bound) -> TaskSpecContainerSpec {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let mut labels: HashMap<String, String> = service.labels.clone().into_iter().collect();
    labels.remove(RESTART_LABEL);
    labels.extend(marks);
    let dns = TaskSpecContainerSpecDnsConfig {
        nameservers: some(&service.dns),
        search: some(&service.dns_search),
        options: some(&service.dns_opt),
    };
    let hardened = service.security_opt.iter().filter_map(|option| no_new_privileges(option)).next_back();
    let privileges = hardened.map(|on| TaskSpecContainerSpecPrivileges {
        no_new_privileges: Some(on),
        ..TaskSpecContainerSpecPrivileges::default()
    });
    let ulimit = |(name, bound): (&String, &windflow_core::target::Ulimit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(bound.soft),
        hard: Some(bound.hard),
    };
    let mounts = mount::mounts(service, bound);
    TaskSpecContainerSpec {
        image: service.image.clone(),
        labels: Some(labels),
        command: service.entrypoint.as_ref().map(argv),
        args: service.command.as_ref().map(argv),
        hostname: service.hostname.clone(),
        env: Some(environment(service, bound)).filter(|variables| !variables.is_empty()),
        dir: service.working_dir.clone(),
        user: service.user.clone(),
        groups: some(&service.group_add),
        privileges,
        tty: service.tty.then_some(true),
        open_stdin: service.stdin_open.then_some(true),
        read_only: service.read_only.then_some(true),
        mounts: (!mounts.is_empty()).then_some(mounts),
        stop_signal: service.stop_signal.clone(),
        stop_grace_period: service.stop_grace_period.map(nanos),
        health_check: service.healthcheck.as_ref().map(|check| health_check(check, bound.api)),
        hosts: Some(hosts(service)).filter(|hosts| !hosts.is_empty()),
        dns_config: (dns != TaskSpecContainerSpecDnsConfig::default()).then_some(dns),
        secrets: Some(secrets(service, bound)).filter(|secrets| !secrets.is_empty()),
        configs: Some(configs(service, bound)).filter(|configs| !configs.is_empty()),
        oom_score_adj: service.oom_score_adj,
        isolation: service.isolation.as_deref().map(|isolation| match isolation {
            "process" => Isolation::PROCESS,
            "hyperv" => Isolation::HYPERV,
            _ => Isolation::DEFAULT,
        }),
        init: service.init,
        sysctls: (!service.sysctls.is_empty()).then(|| service.sysctls.clone().into_iter().collect()),
        capability_add: some(&service.cap_add),
        capability_drop: some(&service.cap_drop),
        ulimits: (!service.ulimits.is_empty()).then(|| service.ulimits.iter().map(ulimit).collect()),
    }
}

/// A command in words. A text is split as a shell does, without anything being put in for variables.
fn argv(command: &Command) -> Vec<String> {
    match command {
        Command::Argv(words) => words.clone(),
        Command::Shell(text) => split(text),
    }
}

fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.push(c),
            (Some(_), '\\') => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => word.push('\\'),
            },
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, '\\') => {
                word.extend(chars.next());
                begun = true;
            }
            (None, c) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, c) => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

fn environment(service: &Service, bound: &Bound) -> Vec<String> {
    let value = |name: &String, value: &EnvValue| match value {
        EnvValue::Plain(text) => text.clone(),
        EnvValue::Secret(_) => bound.values.get(name).cloned().unwrap_or_default(),
    };
    service.environment.iter().map(|(name, found)| format!("{name}={}", value(name, found))).collect()
}

fn health_check(check: &HealthCheck, api: (usize, usize)) -> HealthConfig {
    HealthConfig {
        test: Some(match &check.probe {
            Probe::Exec(words) => std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect(),
            Probe::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            // Ports are refused in the plan.
            Probe::None | Probe::Http { .. } | Probe::Tcp { .. } => vec!["NONE".to_owned()],
        }),
        // What is not said, engines take from the image.
        interval: check.interval.map(nanos),
        timeout: check.timeout.map(nanos),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(nanos),
        // Older engines do not know it, and use the interval.
        start_interval: check.start_interval.filter(|_| api >= (1, 44)).map(nanos),
    }
}

fn hosts(service: &Service) -> Vec<String> {
    let lines = service.extra_hosts.iter().flat_map(|(name, addresses)| {
        addresses.iter().map(move |address| format!("{} {name}", address.trim_matches(['[', ']'])))
    });
    lines.collect()
}

fn found(objects: &std::collections::BTreeMap<String, Object>, source: &str) -> Object {
    let itself = || Object { id: source.to_owned(), name: source.to_owned() };
    objects.get(source).cloned().unwrap_or_else(itself)
}

fn secrets(service: &Service, bound: &Bound) -> Vec<TaskSpecContainerSpecSecrets> {
    let mounted = |mount: &FileMount| {
        let object = found(&bound.secrets, &mount.source);
        TaskSpecContainerSpecSecrets {
            file: Some(TaskSpecContainerSpecFile {
                name: Some(mount.target.clone().unwrap_or_else(|| mount.source.clone())),
                uid: Some(mount.uid.clone().unwrap_or_else(|| "0".to_owned())),
                gid: Some(mount.gid.clone().unwrap_or_else(|| "0".to_owned())),
                mode: Some(mount.mode.unwrap_or(0o444)),
            }),
            secret_id: Some(object.id),
            secret_name: Some(object.name),
        }
    };
    service.secrets.iter().map(mounted).collect()
}

fn configs(service: &Service, bound: &Bound) -> Vec<TaskSpecContainerSpecConfigs> {
    let mounted = |mount: &FileMount| {
        let object = found(&bound.configs, &mount.source);
        TaskSpecContainerSpecConfigs {
            file: Some(TaskSpecContainerSpecFile1 {
                name: Some(mount.config_path()),
                uid: Some(mount.uid.clone().unwrap_or_else(|| "0".to_owned())),
                gid: Some(mount.gid.clone().unwrap_or_else(|| "0".to_owned())),
                mode: Some(mount.mode.unwrap_or(0o444)),
            }),
            runtime: None,
            config_id: Some(object.id),
            config_name: Some(object.name),
        }
    };
    service.configs.iter().map(mounted).collect()
}

pub(super) fn resources(service: &Service) -> Option<TaskSpecResources> {
    let (most, least) = (&service.resources.limits, &service.resources.reservations);
    let count = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let limits = Limit {
        nano_cpus: most.cpus.map(|cpus| count(cpus.nanos())),
        memory_bytes: most.memory.map(count),
        pids: most.pids,
    };
    let generic = |(kind, value): (&String, &i64)| GenericResourcesInner {
        named_resource_spec: None,
        discrete_resource_spec: Some(GenericResourcesInnerDiscreteResourceSpec {
            kind: Some(kind.clone()),
            value: Some(*value),
        }),
    };
    let reservations = ResourceObject {
        nano_cpus: least.cpus.map(|cpus| count(cpus.nanos())),
        memory_bytes: least.memory.map(count),
        generic_resources: (!least.generic.is_empty()).then(|| least.generic.iter().map(generic).collect()),
    };
    let limits = (limits != Limit::default()).then_some(limits);
    let reservations = (reservations != ResourceObject::default()).then_some(reservations);
    (limits.is_some() || reservations.is_some()).then(|| TaskSpecResources {
        limits,
        reservations,
        ..TaskSpecResources::default()
    })
}

pub(super) fn log_driver(service: &Service) -> Option<TaskSpecLogDriver> {
    service.logging.as_ref().map(|logging| TaskSpecLogDriver {
        name: logging.driver.clone(),
        options: (!logging.options.is_empty()).then(|| logging.options.clone().into_iter().collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_command_in_one_text_is_split_as_a_shell_does() {
        assert_eq!(
            split(r#"sh -c 'echo "a b"' "c\"d" e\ f "" x"#),
            ["sh", "-c", "echo \"a b\"", "c\"d", "e f", "", "x"]
        );
        assert_eq!(split("  "), Vec::<String>::new());
    }
}
