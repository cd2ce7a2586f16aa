//! What a stack asks of a target that the target does not offer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;

use crate::id::{ServiceName, TargetName};
use crate::target::{Capabilities, Dependency, MountKind, PlanError, Service, Stack};

/// Refuses a stack that a target of these capabilities cannot honour.
///
/// # Errors
/// [`PlanError::Refused`] with all of [`refusals`].
pub fn refuse(stack: &Stack, capabilities: &Capabilities, target: &TargetName) -> Result<(), PlanError> {
    let problems = refusals(stack, capabilities);
    if problems.is_empty() {
        return Ok(());
    }
    Err(PlanError::Refused { target: target.clone(), stack: stack.name.clone(), problems })
}

/// Everything in the stack that a target of these capabilities cannot honour, as path and sentence.
///
/// A service may carry both `image` and `process`: the form the target cannot run is passed over when the other is
/// there, and so is what belongs to the image, which [`degradations`] tells.
#[must_use]
pub fn refusals(stack: &Stack, capabilities: &Capabilities) -> Vec<(String, String)> {
    let kind = &capabilities.kind;
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        let at = format!("services.{name}");
        if !runs_image(service, capabilities) && !runs_process(service, capabilities) {
            problems.push(nothing_to_run(&at, service, kind, capabilities.service_fields.contains("process")));
        }
        let refused = not_offered(service, capabilities).into_iter().filter(|(_, passed_over)| passed_over.is_none());
        problems.extend(refused.map(|(field, _)| {
            (format!("{at}.{field}"), format!("a target of kind '{kind}' does not offer '{field}'"))
        }));
        if service.replicas.0 > capabilities.max_replicas {
            let why = format!(
                "{} instances are asked for, at most {} can run",
                service.replicas.0, capabilities.max_replicas
            );
            problems.push((format!("{at}.replicas"), why));
        }
        for (need, dependency) in &service.depends_on {
            if dependency.required && !stack.services.contains_key(need) {
                problems.push((format!("{at}.depends_on.{need}"), format!("there is no service '{need}'")));
            }
        }
        problems.extend(missing_parts(stack, name, service));
    }
    for name in circle(stack) {
        problems.push((format!("services.{name}.depends_on"), "services wait for each other in a circle".to_owned()));
    }
    problems
}

/// Everything in the stack that a target of these capabilities passes over, as path and reason: what a plan says besides
/// its changes.
#[must_use]
pub fn degradations(stack: &Stack, capabilities: &Capabilities) -> Vec<String> {
    let kind = &capabilities.kind;
    let mut told = Vec::new();
    for (part, names) in parts(stack) {
        if !capabilities.stack_fields.contains(part) {
            told.extend(
                names.into_iter().map(|name| format!("{part}.{name}: a target of kind '{kind}' has no {part}")),
            );
        }
    }
    for (name, service) in &stack.services {
        for (field, passed_over) in not_offered(service, capabilities) {
            told.extend(passed_over.map(|why| format!("services.{name}.{field}: {why}")));
        }
        let optional = |need: &ServiceName, of: &Dependency| !of.required && stack.services.contains_key(need);
        for (need, _) in service.depends_on.iter().filter(|(need, of)| optional(need, of)) {
            let why = format!("'{need}' is in the stack, and each service of a stack has to become ready");
            told.push(format!("services.{name}.depends_on.{need}.required: {why}"));
        }
    }
    told
}

fn runs_image(service: &Service, capabilities: &Capabilities) -> bool {
    service.image.is_some() && capabilities.service_fields.contains("image")
}

fn runs_process(service: &Service, capabilities: &Capabilities) -> bool {
    service.process.is_some() && capabilities.service_fields.contains("process")
}

/// What the service says and the target does not honour, with the reason if it may be passed over.
fn not_offered(service: &Service, capabilities: &Capabilities) -> Vec<(String, Option<String>)> {
    let beside_the_image = service.image.is_some() && runs_process(service, capabilities);
    let fields = serde_json::to_value(service).unwrap_or_default();
    let fields = fields.as_object().into_iter().flat_map(Map::keys).filter(|field| *field != "other");
    let mut found = Vec::new();
    for field in fields.chain(service.other.keys()) {
        // An image beside a process, or a process beside an image, is the other form of the same service.
        let is_a_form = matches!(field.as_str(), "image" | "process");
        if capabilities.service_fields.contains(field) || is_a_form {
            continue;
        }
        let why = capabilities.passed_over.get(field).cloned();
        let belongs = || beside_the_image.then(|| "it belongs to the image, and a process runs instead".to_owned());
        found.push((field.clone(), why.or_else(belongs)));
    }
    found
}

/// The parts of a stack besides its services, each with the names in it.
fn parts(stack: &Stack) -> [(&'static str, Vec<&String>); 4] {
    [
        ("networks", stack.networks.keys().collect()),
        ("volumes", stack.volumes.keys().collect()),
        ("configs", stack.configs.keys().collect()),
        ("secrets", stack.secrets.keys().collect()),
    ]
}

/// What a service names and the stack does not have.
fn missing_parts(stack: &Stack, name: &ServiceName, service: &Service) -> Vec<(String, String)> {
    let at = format!("services.{name}");
    let mut missing = Vec::new();
    for network in service.networks.keys().filter(|network| *network != "default") {
        if !stack.networks.contains_key(network) {
            missing.push((format!("{at}.networks.{network}"), format!("there is no network '{network}'")));
        }
    }
    for (n, mount) in service.volumes.iter().enumerate() {
        let named = mount.source.as_ref().filter(|_| mount.kind == MountKind::Volume);
        if let Some(volume) = named.filter(|volume| !stack.volumes.contains_key(*volume)) {
            missing.push((format!("{at}.volumes[{n}]"), format!("there is no volume '{volume}'")));
        }
    }
    let files = [("configs", &service.configs, &stack.configs), ("secrets", &service.secrets, &stack.secrets)];
    for (part, mounts, known) in files {
        for (n, mount) in mounts.iter().enumerate().filter(|(_, mount)| !known.contains_key(&mount.source)) {
            let what = part.trim_end_matches('s');
            missing.push((format!("{at}.{part}[{n}]"), format!("there is no {what} '{}'", mount.source)));
        }
    }
    missing
}

fn nothing_to_run(at: &str, service: &Service, kind: &str, wants_process: bool) -> (String, String) {
    match (&service.image, wants_process) {
        (Some(_), true) => (
            format!("{at}.image"),
            format!(
                "a target of kind '{kind}' runs no images: say how it runs as a process with 'x-windflow: {{ process: … }}'"
            ),
        ),
        (Some(_), false) => (format!("{at}.image"), format!("a target of kind '{kind}' runs no images")),
        (None, true) => {
            (at.to_owned(), "there is nothing to run: give it 'x-windflow: { process: { command: […] } }'".to_owned())
        }
        (None, false) => (at.to_owned(), "there is nothing to run: give it an 'image'".to_owned()),
    }
}

/// The services that wait, directly or not, for themselves.
fn circle(stack: &Stack) -> BTreeSet<&ServiceName> {
    let mut left: BTreeMap<&ServiceName, Vec<&ServiceName>> =
        stack.services.iter().map(|(name, service)| (name, service.depends_on.keys().collect())).collect();
    // Whatever waits for nobody who is left goes; and so does, from the other side, whatever nobody waits for.
    loop {
        let before = left.len();
        let names: BTreeSet<&ServiceName> = left.keys().copied().collect();
        left.retain(|_, needs| needs.iter().any(|need| names.contains(need)));
        let awaited: BTreeSet<&ServiceName> = left.values().flatten().copied().collect();
        left.retain(|name, _| awaited.contains(name));
        if left.len() == before {
            return left.into_keys().collect();
        }
    }
}
