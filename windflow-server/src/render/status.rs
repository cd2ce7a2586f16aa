//! What is there of a stack.

use windflow_core::target::{Health, Mode, Observed};
use windflow_core::{ServiceName, StackName, TargetName};

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
    if let (Some(green), Some(blue)) = (&observed.staged, &observed.current) {
        let (green, blue) = (green.number, blue.number);
        let until = observed.baking.and_then(|baking| baking.until);
        let until = until.map_or_else(String::new, |until| format!(", until {}", moment(until)));
        output.text(format!("baking{until}: green revision {green}, blue revision {blue} kept until promoted"));
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
            format!("{ready}/{}", service.instances.len().max(asked_for(observed, name))),
            restarts.to_string(),
            answers.join(" "),
        ]);
    }
    output.text(columns(&rows));
}

/// How many instances the revision that runs asks for: one that is missing is none of those that are there.
fn asked_for(observed: &Observed, name: &ServiceName) -> usize {
    let asked = observed.latest().and_then(|latest| latest.stack.services.get(name));
    let counted = asked.filter(|asked| matches!(asked.mode, Mode::Replicated | Mode::ReplicatedJob));
    counted.map_or(0, |asked| usize::try_from(asked.replicas.0).unwrap_or(usize::MAX))
}

/// What is kept although nothing wants it any more.
pub fn retained(output: &Output, stack: &StackName, target: &TargetName, observed: &Observed) {
    if observed.retained.is_empty() {
        return;
    }
    let each = observed.retained.iter().map(|(path, called)| format!("{} ({})", clean(path), clean(called)));
    output.text(format!("retained, with what is in it: {}", each.collect::<Vec<_>>().join(", ")));
    let change = format!("windflow destroy {stack} --target {target} --allow-destroy volume");
    output.text(match observed.is_absent() {
        true => format!("next:\n  {change}    # removes it for good"),
        false => "it goes with the stack, if `destroy` is told --allow-destroy volume".to_owned(),
    });
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

#[cfg(test)]
mod tests {
    use windflow_core::target::{Replicas, Revision, Service, Stack};

    use super::*;

    #[test]
    fn an_instance_that_is_missing_counts_among_those_that_were_asked_for() {
        let name: ServiceName = "web".parse().unwrap();
        let of = |service: Service| {
            let stack = Stack::new("shop".parse().unwrap(), [(name.clone(), service)].into());
            let mut observed = Observed::absent();
            observed.current = Some(Revision::new(1, stack, "key", windflow_core::Timestamp(0)));
            asked_for(&observed, &name)
        };
        assert_eq!(of(Service { replicas: Replicas(3), ..Service::default() }), 3);
        assert_eq!(of(Service { mode: Mode::Global, ..Service::default() }), 0);
        assert_eq!(asked_for(&Observed::absent(), &name), 0);
    }
}
