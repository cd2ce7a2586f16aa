//! Names that services ask for (`container_name`): who has them. Elsewhere a name is for people only, and another will do;
//! whoever writes one counts on it.

use bollard::models::ContainerInspectResponse;
use windflow_core::target::{Service, Stack, TargetError};
use windflow_core::{OwnerId, ServiceName, StackName};

use super::look::Seen;
use super::podman;
use crate::engine::{Engine, mark};

/// The container of somebody else that has the name a service asks for, told for people.
pub(super) async fn stranger(
    engine: &Engine,
    owner: &OwnerId,
    stack: &StackName,
    called: &str,
    ours: impl Fn(&str) -> bool,
) -> Result<Option<String>, TargetError> {
    let found = podman::inspect(engine, called).await?;
    // The engine finds containers by the beginning of their ids as well.
    let found = found.filter(|found| is_called(found, called));
    Ok(found.and_then(|found| {
        let label = |name: &str| found.config.as_ref()?.labels.as_ref()?.get(name).cloned();
        let is_marked = label(mark::OWNER).as_deref() == Some(owner.as_str())
            && label(mark::STACK).as_deref() == Some(stack.as_str());
        let id = found.id.clone().unwrap_or_default();
        if is_marked || ours(&id) {
            return None;
        }
        let whose = match (label(mark::OWNER), label(mark::STACK), label("com.docker.compose.project")) {
            (Some(owner), Some(stack), _) => format!(", of stack '{stack}' of owner '{owner}'"),
            (_, _, Some(project)) => format!(", of the Compose project '{project}'"),
            _ => String::new(),
        };
        let image = found.config.as_ref().and_then(|config| config.image.clone()).unwrap_or_default();
        let short = id.get(..12).unwrap_or(&id);
        Some(format!("the name '{called}' is that of another container, {short} of the image {image}{whose}"))
    }))
}

fn is_called(found: &ContainerInspectResponse, called: &str) -> bool {
    found.name.as_deref().is_some_and(|name| name.trim_start_matches('/') == called)
}

/// What is in the way of this service's own name.
pub(super) async fn in_the_way(
    engine: &Engine,
    owner: &OwnerId,
    stack: &Stack,
    seen: &Seen,
    service: &Service,
) -> Result<Option<String>, TargetError> {
    let Some(called) = service.container_name.as_deref() else { return Ok(None) };
    // No question where one of ours has it.
    if seen.containers.iter().any(|found| is_called(&found.inspect, called)) {
        return Ok(None);
    }
    stranger(engine, owner, &stack.name, called, |_| false).await
}

/// What is in the way of the names the services of a stack ask for, as path and sentence.
pub(super) async fn problems(
    engine: &Engine,
    owner: &OwnerId,
    stack: &Stack,
    seen: &Seen,
) -> Result<Vec<(String, String)>, TargetError> {
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        if let Some(why) = in_the_way(engine, owner, stack, seen, service).await? {
            problems.push((path(name), format!("{why}: remove that one, or choose another name")));
        }
    }
    Ok(problems)
}

pub(super) fn path(service: &ServiceName) -> String {
    format!("services.{service}.container_name")
}
