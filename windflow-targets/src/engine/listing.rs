//! Services and tasks of a Swarm, as the engine says them.
//!
//! The client's model of a container's spec looks for its health check under `HealthCheck`; every engine says
//! `Healthcheck`. It is sent rightly, since engines do not mind, but read it is lost: an update of what was read would
//! take the check away. So these answers are read before they become models. The client hands out an answer as it came
//! from one call only, that for the logs of a service; the id it asks for is a piece of the path.

use bollard::errors::Error;
use bollard::models::{Service, Task};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;

use bollard::Docker;
use bollard::query_parameters::LogsOptions;

/// The services that pass this filter, with how many of their tasks run.
pub(crate) async fn services(docker: &Docker, filters: &HashMap<String, Vec<String>>) -> Result<Vec<Service>, Error> {
    read(docker, "services", filters, "&status=true").await
}

/// The tasks that pass this filter.
pub(crate) async fn tasks(docker: &Docker, filters: &HashMap<String, Vec<String>>) -> Result<Vec<Task>, Error> {
    read(docker, "tasks", filters, "").await
}

async fn read<T: DeserializeOwned>(
    docker: &Docker,
    what: &str,
    filters: &HashMap<String, Vec<String>>,
    more: &str,
) -> Result<Vec<T>, Error> {
    let filters = serde_json::to_string(filters)?;
    // What the call puts behind is a parameter that means nothing.
    let path = format!("../{what}?filters={}{more}&rest=", encoded(&filters));
    let mut answer = docker.service_logs(&path, None::<LogsOptions>);
    let mut bytes = Vec::new();
    while let Some(part) = answer.next().await {
        bytes.extend_from_slice(&part?.into_bytes());
    }
    let mut listed: Vec<Value> = serde_json::from_slice(&bytes)?;
    listed.iter_mut().for_each(name_health_checks);
    listed.into_iter().map(|one| Ok(serde_json::from_value(one)?)).collect()
}

/// Gives each health check the name the model has for it.
fn name_health_checks(one: &mut Value) {
    for task in ["/Spec/TaskTemplate/ContainerSpec", "/Spec/ContainerSpec"] {
        if let Some(container) = one.pointer_mut(task).and_then(Value::as_object_mut)
            && let Some(check) = container.remove("Healthcheck")
        {
            container.insert("HealthCheck".to_owned(), check);
        }
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => encoded.push(char::from(byte)),
            // Writing to a text does not fail.
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_health_check_is_found_under_the_name_engines_give_it() {
        let mut said = json!({ "Spec": { "TaskTemplate": { "ContainerSpec": { "Healthcheck": { "Retries": 2 } } } } });
        name_health_checks(&mut said);
        let service: Service = serde_json::from_value(said).unwrap();
        let container = service.spec.unwrap().task_template.unwrap().container_spec.unwrap();
        assert_eq!(container.health_check.unwrap().retries, Some(2));
        assert_eq!(encoded("{\"a\"}"), "%7B%22a%22%7D");
    }
}
