//! What a Swarm passes over, or does otherwise than it is written, told by path. Pure.

use windflow_core::target::{EnvValue, FailureAction, MountKind, PortMode, Restart, Service, Stack, Strategy};

use crate::engine::passed_over;

/// Lines for a plan. `probed` says whether ports are tried from here.
pub(super) fn told(stack: &Stack, probed: bool, api: (usize, usize)) -> Vec<String> {
    let mut told = passed_over(stack, api);
    for (name, service) in &stack.services {
        let secret = |value: &_| matches!(value, EnvValue::Secret(_));
        for variable in service.environment.iter().filter(|(_, value)| secret(value)).map(|(variable, _)| variable) {
            told.push(format!(
                "services.{name}.environment.{variable}: whoever may read services of the Swarm reads its value; a secret \
                 that is a file is kept from them"
            ));
        }
        for (n, mount) in service.volumes.iter().enumerate() {
            if mount.kind == MountKind::Bind && mount.bind.as_ref().is_some_and(|bind| bind.create_host_path) {
                told.push(format!("services.{name}.volumes[{n}]: a Swarm does not make the path; it must be there"));
            }
        }
        told.extend(
            replaced_otherwise(service).into_iter().map(|(path, why)| format!("services.{name}.{path}: {why}")),
        );
        if !probed && service.ports.iter().any(|port| port.mode == PortMode::Ingress) {
            told.push(format!("services.{name}.ports: whether they answer is not tried from here"));
        }
    }
    told
}

/// How instances are replaced and started again, as far as a Swarm does otherwise.
fn replaced_otherwise(service: &Service) -> Vec<(&'static str, &'static str)> {
    let mut told = Vec::new();
    if service.restart.policy == Restart::UnlessStopped {
        told.push(("restart", "a Swarm has no tasks that were stopped by hand: it is 'always' here"));
    }
    let back = service.rollback_config.as_ref().and_then(|config| config.failure_action);
    if back == Some(FailureAction::Rollback) {
        told.push((
            "rollback_config.failure_action",
            "a Swarm that fails to go back pauses: there is nothing further back",
        ));
    }
    if let (Some(_), Some(rollout)) = (&service.update_config, &service.rollout) {
        let says = "'update_config' says it here";
        if rollout.strategy.is_some_and(|strategy| strategy != Strategy::BlueGreen) {
            told.push(("rollout.strategy", says));
        }
        if rollout.batch.is_some() {
            told.push(("rollout.batch", says));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::{Value, json};
    use windflow_core::OwnerId;
    use windflow_core::target::diff;

    use super::super::capability::{capabilities, refusals};
    use super::super::parts::volumes;
    use super::super::render::{self, Bound};
    use super::*;
    use crate::engine::mark;
    use crate::engine::nothing_lost::nothing_is_lost;

    /// What leads elsewhere than into what a Swarm is asked for, and where.
    const ELSEWHERE: [(&str, &str); 5] = [
        ("networks.front.name", "files.rs: what the network is called when it is made"),
        ("services.web.depends_on.db.restart", "Bound::restarts_with"),
        ("services.web.rollout.bake", "bake.rs: how long it is watched"),
        ("services.web.rollout.min_healthy", "converge.rs: for how long it must have been ready"),
        ("services.web.rollout.progress_deadline", "converge.rs: how long it may take"),
    ];

    fn asked(stack: &Stack, api: (usize, usize)) -> Value {
        let owner = OwnerId::new("me").unwrap();
        let sources = volumes(&owner, stack);
        let services = stack.services.iter().map(|(name, service)| {
            let bound = Bound { name: name.to_string(), volumes: sources.clone(), api, ..Bound::default() };
            let mut spec = render::service(&owner, &stack.name, name, service, &bound);
            // The service as it was asked for says everything, and the Swarm heeds none of it.
            spec.labels.as_mut().unwrap().remove(mark::SPEC);
            (name.to_string(), json!(spec))
        });
        let services: BTreeMap<String, Value> = services.collect();
        let ours = stack.networks.iter().filter(|(_, network)| !network.external);
        let networks =
            ours.map(|(name, network)| (name.clone(), json!(render::network(name.clone(), network, HashMap::new()))));
        let networks: BTreeMap<String, Value> = networks.collect();
        let (configs, secrets) = (&stack.configs, &stack.secrets);
        json!([services, networks, format!("{sources:?}"), configs, secrets])
    }

    #[test]
    fn nothing_that_a_stack_says_is_lost_without_a_word() {
        for api in [(1, 41), (1, 48)] {
            nothing_is_lost(&ELSEWHERE, |stack| {
                let refused =
                    refusals(stack, &capabilities(), api, true).into_iter().map(|(path, why)| format!("{path}: {why}"));
                let passed = diff::degradations(stack, &capabilities()).into_iter().chain(told(stack, true, api));
                (asked(stack, api), refused.chain(passed).collect())
            });
        }
    }
}
