//! What is there of a stack.

use windflow_core::target::{Health, Observed};
use windflow_core::{StackName, TargetName};

use super::output::Output;
use super::text::{clean, columns, moment};

/// Which stack, and which revision of it.
pub fn header(output: &Output, stack: &StackName, target: &TargetName, observed: &Observed) {
    match &observed.current {
        Some(revision) => {
            let (number, at) = (revision.number, moment(revision.at));
            output.text(format!("stack '{stack}' on target '{target}': revision {number}, applied {at}"));
        }
        None => output.text(format!("stack '{stack}' on target '{target}': no revision is current")),
    }
}

/// The services, how they are, and where they answer.
pub fn services(output: &Output, observed: &Observed) {
    let mut rows = vec![["SERVICE", "HEALTH", "INSTANCES", "RESTARTS", "ANSWERS AT"].map(str::to_owned).to_vec()];
    for (name, service) in &observed.services {
        let answers: Vec<String> = service.endpoints.iter().map(|endpoint| clean(&endpoint.to_string())).collect();
        let ready = service.instances.iter().filter(|instance| instance.health.is_ready()).count();
        let restarts: u32 = service.instances.iter().map(|instance| instance.restarts).sum();
        rows.push(vec![
            name.to_string(),
            health(&service.health),
            format!("{ready}/{}", service.instances.len()),
            restarts.to_string(),
            answers.join(" "),
        ]);
    }
    output.text(columns(&rows));
}

fn health(of: &Health) -> String {
    match of {
        Health::Starting => "starting".to_owned(),
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy { why } => format!("unhealthy ({})", clean(why)),
        Health::Completed => "completed".to_owned(),
        Health::Failed { why } => format!("failed ({})", clean(why)),
        Health::Stopped => "stopped".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}
