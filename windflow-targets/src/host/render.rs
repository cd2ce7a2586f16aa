//! From a stack to what a supervisor runs. Pure: what must be looked up on the machine is handed in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use windflow_core::target::{Capabilities, EnvValue, Feature, RESTART_LABEL, Service, Stack, diff};
use windflow_core::{ContentHash, ServiceName};

use super::state::{RunSpec, StackSpec};

/// The most instances of one service.
const MOST_REPLICAS: u32 = 100;

/// What the host kind offers.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new("host")
        .with_features([Feature::Logs, Feature::Exec, Feature::Discover, Feature::WatchEvents])
        .with_service_fields(["process", "environment", "ports", "depends_on", "healthcheck", "restart", "replicas"])
        .with_service_fields(["stop_signal", "stop_grace_period", "labels"])
        .with_max_replicas(MOST_REPLICAS)
}

/// What is wrong with a text that the system would take for shorter than it is.
const NUL: &str = "holds a NUL character, and no program can be given one";

/// The signals a service may be stopped by.
const SIGNALS: [(&str, i32); 8] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGTERM", 15),
    ("SIGWINCH", 28),
];

fn signal(name: Option<&str>) -> Option<i32> {
    let Some(name) = name else { return Some(15) };
    let named = |(full, _): &&(&str, i32)| *full == name || full.strip_prefix("SIG") == Some(name);
    let numbered = |(_, number): &&(&str, i32)| number.to_string() == name;
    SIGNALS.iter().find(|entry| named(entry) || numbered(entry)).map(|(_, number)| *number)
}

/// What in the stack no host can honour, as path and sentence.
pub(crate) fn refusals(stack: &Stack) -> Vec<(String, String)> {
    let mut problems = diff::refusals(stack, &capabilities());
    let mut taken: BTreeMap<(u16, &str), &ServiceName> = BTreeMap::new();
    for (name, service) in &stack.services {
        let at = format!("services.{name}");
        let mut refuse = |path: String, why: String| problems.push((path, why));
        if let Some(process) = &service.process {
            if process.command.first().is_none_or(String::is_empty) {
                refuse(format!("{at}.process.command"), "it names no program".to_owned());
            }
            for (n, folder) in process.search.iter().enumerate() {
                if !Path::new(folder).is_absolute() {
                    refuse(format!("{at}.process.search[{n}]"), format!("'{folder}' is not an absolute path"));
                }
            }
            if let Some(dir) = process.working_dir.as_deref().filter(|dir| !Path::new(dir).is_absolute()) {
                refuse(format!("{at}.process.working_dir"), format!("'{dir}' is not an absolute path"));
            }
            for (n, _) in process.command.iter().enumerate().filter(|(_, word)| word.contains('\0')) {
                refuse(format!("{at}.process.command[{n}]"), NUL.to_owned());
            }
        }
        for (variable, value) in &service.environment {
            if matches!(value, EnvValue::Plain(text) if text.contains('\0')) {
                refuse(format!("{at}.environment.{variable}"), NUL.to_owned());
            }
            if variable.is_empty() || variable.contains(['=', '\0']) {
                refuse(format!("{at}.environment.{variable}"), "this cannot be the name of a variable".to_owned());
            } else if variable.starts_with("WINDFLOW_") {
                refuse(format!("{at}.environment.{variable}"), "names that start with WINDFLOW_ are ours".to_owned());
            }
        }
        if service.replicas.0 > 1 && !service.ports.is_empty() {
            let why = "several processes cannot listen on one port: leave out the ports or run one instance";
            refuse(format!("{at}.replicas"), why.to_owned());
        }
        for (n, port) in service.ports.iter().enumerate() {
            let path = format!("{at}.ports[{n}]");
            if port.published.is_some_and(|published| published != port.target) {
                let why = format!(
                    "a process listens on its port itself: {} cannot be published as {}",
                    port.target,
                    port.published.unwrap_or_default()
                );
                refuse(path.clone(), why);
            }
            if let Some(other) = taken.insert((port.target, &port.protocol), name)
                && service.replicas.0 > 0
            {
                refuse(path, format!("port {} is already asked for by '{other}'", port.target));
            }
        }
        if signal(service.stop_signal.as_deref()).is_none() {
            let names: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
            refuse(format!("{at}.stop_signal"), format!("it must be one of {}", names.join(", ")));
        }
    }
    problems
}

/// The folders in which a service's program is looked up, in order.
pub(crate) fn search<'a>(service: &'a Service, path: &'a [PathBuf]) -> impl Iterator<Item = PathBuf> + 'a {
    let own = service.process.iter().flat_map(|process| &process.search).map(PathBuf::from);
    own.chain(path.iter().cloned())
}

/// What a supervisor runs for this stack, with each service's program as it was found.
///
/// A restart that was asked for earlier stays in force: a stack that says nothing about it does not restart anything.
pub(crate) fn render(
    stack: &Stack,
    intent: ContentHash,
    programs: &BTreeMap<ServiceName, PathBuf>,
    search_path: &[PathBuf],
    before: Option<&StackSpec>,
) -> StackSpec {
    let services = stack.services.iter().filter_map(|(name, service)| {
        let process = service.process.as_ref()?;
        let program = programs.get(name)?.to_string_lossy().into_owned();
        let earlier = || before?.services.get(name)?.nonce.clone();
        let folders: Vec<String> =
            search(service, search_path).map(|folder| folder.to_string_lossy().into_owned()).collect();
        let run = RunSpec {
            argv: std::iter::once(program).chain(process.command.iter().skip(1).cloned()).collect(),
            working_dir: process.working_dir.clone(),
            environment: service.environment.clone(),
            path: folders.join(":"),
            replicas: service.replicas.0,
            depends_on: service.depends_on.clone(),
            healthcheck: service.check().cloned(),
            restart: service.restart,
            stop_signal: signal(service.stop_signal.as_deref()).unwrap_or(15),
            stop_grace: service.stop_grace_period.unwrap_or(Duration::from_secs(10)),
            nonce: service.labels.get(RESTART_LABEL).cloned().or_else(earlier),
        };
        Some((name.clone(), run))
    });
    let services = services.collect();
    StackSpec { version: StackSpec::VERSION, intent, stack: stack.clone(), services }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windflow_core::StackName;
    use windflow_core::target::{PortMapping, Process, Replicas};

    fn stack(edit: impl FnOnce(&mut Service)) -> Stack {
        let process =
            Process { command: vec!["app".into(), "-v".into()], search: vec!["/opt".into()], working_dir: None };
        let mut web = Service { process: Some(process), ..Service::default() };
        edit(&mut web);
        Stack::new(StackName::new("shop").unwrap(), [(ServiceName::new("web").unwrap(), web)].into())
    }

    fn port(target: u16) -> PortMapping {
        PortMapping::tcp(target)
    }

    fn rendered(stack: &Stack, before: Option<&StackSpec>) -> StackSpec {
        let programs = [(ServiceName::new("web").unwrap(), PathBuf::from("/opt/app"))].into();
        render(stack, ContentHash::of(b"intent"), &programs, &[PathBuf::from("/bin")], before)
    }

    #[test]
    fn a_service_is_rendered_with_an_absolute_program_and_its_own_path() {
        let stack = stack(|web| {
            web.environment.insert("A".to_owned(), EnvValue::Plain("1".to_owned()));
            web.environment.insert("P".to_owned(), EnvValue::Secret("secret://env/P".parse().unwrap()));
            web.stop_signal = Some("INT".to_owned());
        });
        let spec = rendered(&stack, None);
        assert_eq!(
            serde_json::to_string(&spec.services).unwrap(),
            r#"{"web":{"argv":["/opt/app","-v"],"working_dir":null,"environment":{"A":{"plain":"1"},"P":{"secret":"secret://env/P"}},"path":"/opt:/bin","replicas":1,"depends_on":{},"healthcheck":null,"restart":{"policy":"no"},"stop_signal":2,"stop_grace":{"secs":10,"nanos":0},"nonce":null}}"#
        );
    }

    #[test]
    fn a_restart_stays_in_force_when_the_file_does_not_mention_it() {
        let restarted = stack(|web| {
            web.labels.insert(RESTART_LABEL.to_owned(), "1".to_owned());
        });
        let before = rendered(&restarted, None);
        let after = rendered(&stack(|_| ()), Some(&before));
        assert_eq!(before.services["web"].identity(), after.services["web"].identity());
        assert_ne!(rendered(&stack(|_| ()), None).services["web"].identity(), after.services["web"].identity());
    }

    #[test]
    fn what_no_host_can_honour_is_refused_by_path() {
        let bad = stack(|web| {
            web.ports = vec![port(80), port(81).published(8080), port(80)];
            web.replicas = Replicas(2);
            web.stop_signal = Some("SIGNOPE".to_owned());
            web.environment.insert("WINDFLOW_X".to_owned(), EnvValue::Plain(String::new()));
            web.environment.insert("A".to_owned(), EnvValue::Plain("\0".to_owned()));
            web.process.as_mut().unwrap().command.push("a\0b".to_owned());
        });
        let paths: Vec<String> = refusals(&bad).into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "services.web.process.command[2]",
                "services.web.environment.A",
                "services.web.environment.WINDFLOW_X",
                "services.web.replicas",
                "services.web.ports[1]",
                "services.web.ports[2]",
                "services.web.stop_signal"
            ]
        );
        assert!(refusals(&stack(|_| ())).is_empty());
    }
}
