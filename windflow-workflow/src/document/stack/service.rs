//! One service of a stack file.

use std::collections::BTreeMap;

use windflow_core::ServiceName;
use windflow_core::target::{Command, Condition, Dependency, Replicas, Restart, RestartPolicy, Service};

use super::build::Around;
use super::environment::{environment, labels};
use super::health::healthcheck;
use super::ports::ports;
use super::process::process;
use crate::document::decode::{At, Fields};
use crate::document::diagnostic::Problems;
use crate::document::keys;
use crate::document::tree::Kind;

const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::ServiceStarted),
    ("service_healthy", Condition::ServiceHealthy),
    ("service_completed_successfully", Condition::ServiceCompletedSuccessfully),
];

pub(super) fn service(at: &At<'_>, around: &Around<'_>, problems: &mut Problems) -> Option<Service> {
    let fields = at.fields(problems, "a service", keys::SERVICE, keys::SERVICE_LATER)?;
    let mut service = Service {
        image: fields.get("image").and_then(|at| at.scalar_text(problems)).map(str::to_owned),
        command: fields.get("command").filter(|at| !at.is_null()).and_then(|at| command(at, problems)),
        ..Service::default()
    };
    if service.image.as_deref() == Some("")
        && let Some(at) = fields.get("image")
    {
        at.error(problems, "must name an image");
    }
    if let Some(at) = fields.get("environment") {
        service.environment = environment(at, around, problems);
    }
    if let Some(at) = fields.get("ports").filter(|at| !at.is_null()) {
        service.ports = ports(at, problems);
    }
    if let Some(at) = fields.get("depends_on").filter(|at| !at.is_null()) {
        service.depends_on = depends_on(at, problems);
    }
    service.healthcheck = fields.get("healthcheck").and_then(|at| healthcheck(at, problems)).flatten();
    if let Some(policy) = fields.get("restart").and_then(|at| restart(at, problems)) {
        service.restart = policy;
    }
    service.replicas = replicas(&fields, problems);
    service.stop_signal = fields
        .get("stop_signal")
        .filter(|at| at.closed(problems))
        .and_then(|at| at.scalar_text(problems))
        .map(str::to_owned);
    service.stop_grace_period =
        fields.get("stop_grace_period").filter(|at| at.closed(problems)).and_then(|at| at.duration(problems));
    if let Some(at) = fields.get("labels") {
        service.labels = labels(at, problems);
    }
    let ours = fields
        .get("x-windflow")
        .and_then(|at| at.fields(problems, "x-windflow of a service", keys::SERVICE_OURS, keys::SERVICE_OURS_LATER));
    let found = ours.as_ref().and_then(|ours| ours.get("process"));
    service.process = found.and_then(|at| process(at, around, problems));
    let meant = fields.is_meant("image") || ours.as_ref().is_some_and(|ours| ours.is_meant("process"));
    if fields.get("image").is_none() && found.is_none() && fields.get("build").is_none() && !meant {
        let hint = "name an 'image', or a process in 'x-windflow: { process: { command: […] } }'".to_owned();
        problems.hinted(fields.span, &fields.path, "says nothing to run", Some(hint));
    }
    Some(service)
}

fn command(at: &At<'_>, problems: &mut Problems) -> Option<Command> {
    match &at.node.kind {
        Kind::Scalar(_) => at.scalar_text(problems).map(|text| Command::Shell(text.to_owned())),
        Kind::List(_) => at.texts(problems).map(Command::Argv),
        Kind::Map(_) => at.expected(problems, "text or a list"),
    }
}

fn depends_on(at: &At<'_>, problems: &mut Problems) -> BTreeMap<ServiceName, Dependency> {
    let mut out = BTreeMap::new();
    let plain = Dependency { condition: Condition::ServiceStarted, required: true, restart: false };
    if let Kind::List(_) = at.node.kind {
        for at in at.items(problems).unwrap_or_default() {
            let Some(name) = at.name(problems, ServiceName::new) else { continue };
            if out.insert(name, plain.clone()).is_some() {
                at.error(problems, "is there twice");
            }
        }
        return out;
    }
    if at.raw().is_some() {
        at.expected::<()>(problems, "a list of services or a map");
        return out;
    }
    for (entry, at) in at.entries(problems).unwrap_or_default() {
        let name = match ServiceName::new(&entry.key) {
            Ok(name) => name,
            Err(error) => {
                problems.error(entry.key_span, &at.path, error);
                continue;
            }
        };
        let mut dependency = plain.clone();
        if let Some(fields) = at.fields(problems, "a dependency", keys::DEPENDENCY, &[]) {
            if let Some(condition) = fields.get("condition").and_then(|at| at.choice(problems, &CONDITIONS)) {
                dependency.condition = condition;
            }
            dependency.required = fields.get("required").and_then(|at| at.boolean(problems)).unwrap_or(true);
            dependency.restart = fields.get("restart").and_then(|at| at.boolean(problems)).unwrap_or(false);
        }
        out.insert(name, dependency);
    }
    out
}

/// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`.
fn restart(at: &At<'_>, problems: &mut Problems) -> Option<RestartPolicy> {
    if !at.closed(problems) {
        return None;
    }
    let plain = |policy| Some(RestartPolicy { policy, max_attempts: None });
    match at.raw() {
        Some("no" | "false") => plain(Restart::No),
        Some("always") => plain(Restart::Always),
        Some("unless-stopped") => plain(Restart::UnlessStopped),
        Some("on-failure") => plain(Restart::OnFailure),
        Some(text) if text.starts_with("on-failure:") => match text["on-failure:".len()..].parse::<u32>() {
            Ok(most) => Some(RestartPolicy { policy: Restart::OnFailure, max_attempts: Some(most) }),
            Err(_) => {
                at.hinted(problems, "does not say how often", "write on-failure:3");
                None
            }
        },
        _ => {
            let words = ["no", "always", "on-failure", "unless-stopped"];
            at.choice::<Restart>(problems, &words.map(|word| (word, Restart::No))).and(None)
        }
    }
}

fn replicas(fields: &Fields<'_>, problems: &mut Problems) -> Replicas {
    let count = |at: &At<'_>, problems: &mut Problems| {
        if !at.closed(problems) {
            return None;
        }
        at.whole(problems, 0, 10_000).and_then(|count| u32::try_from(count).ok())
    };
    let scale = fields.get("scale").and_then(|at| count(at, problems));
    let deploy = fields
        .get("deploy")
        .filter(|at| !at.is_null())
        .and_then(|at| at.fields(problems, "deploy", keys::DEPLOY, keys::DEPLOY_LATER));
    let deployed = deploy.as_ref().and_then(|fields| fields.get("replicas"));
    let replicas = deployed.and_then(|at| count(at, problems));
    if let (Some(scale), Some(replicas), Some(at)) = (scale, replicas, deployed)
        && scale != replicas
    {
        at.hinted(problems, format_args!("differs from 'scale', which says {scale}"), "keep one of the two");
    }
    replicas.or(scale).map_or_else(Replicas::default, Replicas)
}
