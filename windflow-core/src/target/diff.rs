//! What every target computes alike: what is asked of it and not offered, what would change, what was read.
//!
//! Pure. Secret references are shown as references, and [`RESTART_LABEL`] never counts as drift.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Applied, Capabilities, Change, ChangeKind, Desired, Observed, Plan, PlanError, Precondition, RESTART_LABEL,
    Revision, Service, Stack, TargetError, TargetErrorKind,
};
use crate::hash::ContentHash;
use crate::id::{OwnerId, ServiceName, TargetName};

/// Fields that are maps, compared entry by entry, so that a plan names the variable and not the whole map.
const BY_ENTRY: [&str; 2] = ["environment", "labels"];

/// The fields of a service a target of these capabilities owns, as JSON: what [`Observed`] carries as the spec.
#[must_use]
pub fn owned_spec(service: &Service, capabilities: &Capabilities) -> Value {
    // The model holds only texts, numbers and maps with text keys: it can always be written.
    let mut spec = serde_json::to_value(service).unwrap_or_default();
    if let Value::Object(fields) = &mut spec {
        fields.retain(|field, _| capabilities.service_fields.contains(field));
    }
    spec
}

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
/// there, and so is `command`, which belongs to the image.
#[must_use]
pub fn refusals(stack: &Stack, capabilities: &Capabilities) -> Vec<(String, String)> {
    let kind = &capabilities.kind;
    let can = |field: &str| capabilities.service_fields.contains(field);
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        let at = format!("services.{name}");
        let runs_image = service.image.is_some() && can("image");
        let runs_process = service.process.is_some() && can("process");
        if !runs_image && !runs_process {
            problems.push(nothing_to_run(&at, service, kind, can("process")));
        }
        let passed_over = |field: &str| match field {
            "image" => true, // told above when it is all there is
            "command" => runs_process,
            "process" => true,
            _ => false,
        };
        let fields = serde_json::to_value(service).unwrap_or_default();
        for field in fields.as_object().into_iter().flat_map(Map::keys) {
            if !can(field) && !passed_over(field) {
                problems.push((format!("{at}.{field}"), format!("a target of kind '{kind}' does not offer '{field}'")));
            }
        }
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
    }
    for name in circle(stack) {
        problems.push((format!("services.{name}.depends_on"), "services wait for each other in a circle".to_owned()));
    }
    problems
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

/// What would change, field by field; `kind_of` says for a field whether it changes in place or by replacement.
#[must_use]
pub fn changes(
    desired: &Desired,
    observed: &Observed,
    capabilities: &Capabilities,
    kind_of: impl Fn(&str) -> ChangeKind,
) -> Vec<Change> {
    let nothing = BTreeMap::new();
    let wanted = match desired {
        Desired::Present(stack) => &stack.services,
        Desired::Absent(_) => &nothing,
    };
    let mut out = Vec::new();
    for (name, service) in wanted {
        let after = owned_spec(service, capabilities);
        match observed.services.get(name) {
            None => out.push(
                Change::new(ChangeKind::Create, format!("services.{name}"))
                    .of(name.clone())
                    .values(None, Some(shown(&after))),
            ),
            Some(found) => {
                let restarted = restart_label_of(observed, name);
                out.extend(field_changes(name, &found.spec, &after, restarted.as_ref(), &kind_of));
            }
        }
    }
    for (name, found) in &observed.services {
        if !wanted.contains_key(name) {
            out.push(
                Change::new(ChangeKind::Delete, format!("services.{name}"))
                    .of(name.clone())
                    .values(Some(shown(&found.spec)), None),
            );
        }
    }
    if out.is_empty() {
        out.extend(record_change(desired, observed));
    }
    out
}

/// Nothing would change but what the target keeps on record.
fn record_change(desired: &Desired, observed: &Observed) -> Option<Change> {
    let number =
        |kind: ChangeKind, before: Option<u64>| Change::new(kind, "revision").values(before.map(Value::from), None);
    match (desired, &observed.current) {
        (Desired::Present(_), None) => Some(number(ChangeKind::Create, None)),
        (Desired::Present(stack), Some(current)) if !same_but_for_restarts(stack, &current.stack) => {
            Some(number(ChangeKind::Update, Some(current.number)).note("recorded only; no service is touched"))
        }
        (Desired::Absent(_), Some(current)) => Some(number(ChangeKind::Delete, Some(current.number))),
        _ => None,
    }
}

/// Whether two stacks differ in nothing but the label that asks for restarts.
#[must_use]
pub fn same_but_for_restarts(a: &Stack, b: &Stack) -> bool {
    let bare = |stack: &Stack| {
        let mut stack = stack.clone();
        for service in stack.services.values_mut() {
            service.labels.remove(RESTART_LABEL);
        }
        stack
    };
    bare(a) == bare(b)
}

/// Whether applying this stack over this revision, which is current, would only put right what has drifted from it.
#[must_use]
pub fn is_revision(stack: &Stack, current: &Revision) -> bool {
    let label = |stack: &Stack, name: &ServiceName| stack.services.get(name)?.labels.get(RESTART_LABEL).cloned();
    let restarts = |name| label(stack, name).is_some_and(|asked| label(&current.stack, name) != Some(asked));
    same_but_for_restarts(stack, &current.stack) && !stack.services.keys().any(restarts)
}

fn restart_label_of(observed: &Observed, name: &ServiceName) -> Option<Value> {
    let service = observed.current.as_ref()?.stack.services.get(name)?;
    service.labels.get(RESTART_LABEL).cloned().map(Value::String)
}

fn field_changes(
    name: &ServiceName,
    before: &Value,
    after: &Value,
    restarted: Option<&Value>,
    kind_of: &impl Fn(&str) -> ChangeKind,
) -> Vec<Change> {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut out = Vec::new();
    let mut push = |path: String, kind: ChangeKind, before: Option<Value>, after: Option<Value>| {
        out.push(Change::new(kind, path).of(name.clone()).values(before, after));
    };
    for field in fields {
        let at = format!("services.{name}.{field}");
        let (old, new) = (before.get(field), after.get(field));
        if !BY_ENTRY.contains(&field.as_str()) {
            let kind = kind_of(field);
            leaves(at, old, new, &mut |path, old, new| push(path, kind, old.cloned(), new.cloned()));
            continue;
        }
        let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
        let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let (old, new) = (old.get(key), new.get(key));
            let is_restart = field == "labels" && key == RESTART_LABEL;
            // A restart is asked for by a new value only: losing it, or finding the recorded one gone, is no drift.
            let skipped = is_restart && (new.is_none() || new == restarted);
            if old != new && !skipped {
                let kind = if is_restart { ChangeKind::Replace } else { kind_of(field) };
                push(format!("{at}.{key}"), kind, old.map(shown_entry), new.map(shown_entry));
            }
        }
    }
    out
}

/// Where two values differ, as deep down as they have the same form: whoever reads a plan looks for the one word that
/// changes.
fn leaves(
    at: String,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut impl FnMut(String, Option<&Value>, Option<&Value>),
) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().for_each(|key| leaves(format!("{at}.{key}"), old.get(key), new.get(key), found));
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                leaves(format!("{at}[{index}]"), Some(old), Some(new), found);
            }
        }
        _ => found(at, old, new),
    }
}

/// A spec for people: variables as texts, secrets as references.
fn shown(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(Value::Object(variables)) = spec.get_mut("environment") {
        for value in variables.values_mut() {
            *value = shown_entry(value);
        }
    }
    spec
}

fn shown_entry(value: &Value) -> Value {
    let text = |form: &str| value.get(form).cloned();
    text("plain").or_else(|| text("secret")).unwrap_or_else(|| value.clone())
}

/// What a plan made on this has read: the spec of each service, and which stack is current.
#[must_use]
pub fn preconditions(desired: &Desired, observed: &Observed) -> Vec<Precondition> {
    let mut read =
        vec![Precondition { path: "revision".to_owned(), hash: observed.current.as_ref().map(|current| current.hash) }];
    let wanted: Vec<&ServiceName> = match desired {
        Desired::Present(stack) => stack.services.keys().collect(),
        Desired::Absent(_) => Vec::new(),
    };
    let names: BTreeSet<&ServiceName> = observed.services.keys().chain(wanted).collect();
    read.extend(names.into_iter().map(|name| Precondition {
        path: format!("services.{name}"),
        hash: observed.services.get(name).map(|service| ContentHash::of_value(&service.spec)),
    }));
    read
}

/// The paths someone else has changed since the plan was made.
#[must_use]
pub fn moved(plan: &Plan, observed: &Observed) -> Vec<String> {
    let now: BTreeMap<String, Option<ContentHash>> =
        preconditions(&plan.desired, observed).into_iter().map(|read| (read.path, read.hash)).collect();
    let planned: BTreeSet<&String> = plan.preconditions.iter().map(|read| &read.path).collect();
    let changed = plan.preconditions.iter().filter(|read| now.get(&read.path).copied().flatten() != read.hash);
    let appeared = now.iter().filter(|(path, hash)| hash.is_some() && !planned.contains(path));
    changed.map(|read| read.path.clone()).chain(appeared.map(|(path, _)| path.clone())).collect()
}

/// Refuses a plan that was made for another owner, another target, or by a later version.
///
/// # Errors
/// [`TargetErrorKind::Refused`].
pub fn check_bound(plan: &Plan, owner: &OwnerId, target: &TargetName) -> Result<(), TargetError> {
    let refused = |why: String| {
        Err(TargetError::new(target, TargetErrorKind::Refused, why)
            .in_stack(plan.desired.stack())
            .with_hint("plan again here"))
    };
    if plan.version > Plan::VERSION {
        return refused(format!("the plan is of version {}, this program knows {}", plan.version, Plan::VERSION));
    }
    if plan.owner != *owner {
        return refused(format!("the plan belongs to the owner '{}', not to '{owner}'", plan.owner));
    }
    if plan.target != *target {
        return refused(format!("the plan is for the target '{}'", plan.target));
    }
    Ok(())
}

/// Refuses a plan when someone else has changed what it was made on.
///
/// # Errors
/// [`TargetErrorKind::Conflict`], naming what was changed.
pub fn check_moved(plan: &Plan, observed: &Observed, target: &TargetName) -> Result<(), TargetError> {
    let moved = moved(plan, observed);
    if moved.is_empty() {
        return Ok(());
    }
    let message = format!("someone else has changed {} since the plan was made", moved.join(", "));
    Err(TargetError::new(target, TargetErrorKind::Conflict, message)
        .in_stack(plan.desired.stack())
        .with_hint("plan again"))
}

/// What an apply answers without doing anything: the plan is in force already.
///
/// The same plan under the same key gets the answer it got (or lost) the first time; anyone else gets
/// [`Applied::Nothing`].
#[must_use]
pub fn already(plan: &Plan, observed: &Observed, key: &str, capabilities: &Capabilities) -> Option<Applied> {
    if !changes(&plan.desired, observed, capabilities, |_| ChangeKind::Update).is_empty() {
        return None;
    }
    match &observed.current {
        Some(current) if !plan.is_empty() && current.key == key && plan.base != Some(current.number) => {
            Some(Applied::Revision(Some(current.number)))
        }
        _ => Some(Applied::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::StackName;
    use crate::target::{Condition, Dependency, EnvValue, Health, ObservedService, Process};
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
        Stack { name: StackName::new("shop").unwrap(), services }
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
        let target = crate::id::TargetName::new("t").unwrap();
        let mut plan = Plan::new(crate::id::OwnerId::new("o").unwrap(), target, desired, Some(1));
        plan.preconditions = preconditions(&plan.desired, &before);
        assert!(moved(&plan, &before).is_empty());
        let mut healthier = before.clone();
        healthier.services.values_mut().for_each(|service| service.health = Health::Starting);
        assert!(moved(&plan, &healthier).is_empty(), "health is no precondition");
        let other = stack(&[("web", service(&[("A", EnvValue::Plain("1".to_owned()))])), ("cache", service(&[]))]);
        assert_eq!(moved(&plan, &observed(&other)), ["revision", "services.web", "services.cache"]);
    }
}
