//! What a Docker engine passes over, or heeds otherwise than one might think, told by path. Pure.

use windflow_core::target::Stack;

use crate::engine::passed_over;

/// Lines for a plan.
pub(super) fn told(stack: &Stack, api: (usize, usize)) -> Vec<String> {
    let mut told = passed_over(stack, api);
    for (name, service) in &stack.services {
        let mut say = |path: &str, why: &str| told.push(format!("services.{name}.{path}: {why}"));
        if let Some(policy) = service.pull_policy.as_deref()
            && !matches!(policy, "missing" | "if_not_present" | "never" | "build")
        {
            // It asks for more than the spec's default.
            let why = format!(
                "'{policy}' is heeded when a container is made; for one that stays as it is no newer image is looked for"
            );
            say("pull_policy", &why);
        }
        let waits = "Docker waits between starts as it sees fit: 0.1 s, then twice as long each time, up to a minute";
        for (path, written) in [("restart.delay", service.restart.delay), ("restart.window", service.restart.window)] {
            if written.is_some() {
                say(path, waits);
            }
        }
        let kept = &service.resources.reservations;
        for (path, written) in [("cpus", kept.cpus.is_some()), ("pids", kept.pids.is_some())] {
            if written {
                say(&format!("resources.reservations.{path}"), "Docker keeps nothing free but memory");
            }
        }
    }
    for (part, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
        for (name, file) in files {
            for (key, written) in [("name", file.name.is_some()), ("labels", !file.labels.is_empty())] {
                if written {
                    let why = "Docker keeps no object of it: it is handed to containers as a file";
                    told.push(format!("{part}.{name}.{key}: {why}"));
                }
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};
    use windflow_core::OwnerId;
    use windflow_core::target::diff;

    use super::super::offer::{capabilities, refusals};
    use super::super::{names, render};
    use super::*;
    use crate::engine::mark;
    use crate::engine::nothing_lost::nothing_is_lost;

    /// What leads elsewhere than into what an engine is asked for, and where.
    const ELSEWHERE: [(&str, &str); 6] = [
        ("services.web.configs", "handed.rs: what is handed to containers as files"),
        ("services.web.secrets", "handed.rs"),
        ("services.web.depends_on.db.restart", "otherwise.rs: why what has not changed is made anew"),
        ("services.web.platform", "the image that is taken; its engine is asked for it when one is fetched"),
        ("services.web.ports.0.mode", "an engine of one machine publishes on that machine in both modes"),
        ("services.web.rollout", "rollout.rs, work.rs and bake.rs: how it goes from one to the next"),
    ];

    fn asked(stack: &Stack, api: (usize, usize)) -> Value {
        let owner = OwnerId::new("me").unwrap();
        let called =
            |names: BTreeSet<&String>| names.into_iter().map(|name| (name.clone(), format!("n-{name}"))).collect();
        let (networks, volumes): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (called(stack.networks.keys().collect()), called(stack.volumes.keys().collect()));
        let around = render::Surroundings {
            owner: &owner,
            stack,
            networks: &networks,
            volumes: &volumes,
            start_interval: api >= (1, 44),
        };
        let containers = stack.services.iter().flat_map(|(name, service)| {
            let around = &around;
            (1..=service.replicas.0).map(move |instance| {
                let mut made = render::container(around, name, service, instance);
                // The service as it was asked for says everything, and the engine heeds none of it.
                let labels = made.body.labels.as_mut().unwrap();
                labels.remove(mark::SPEC);
                labels.remove(mark::IDENTITY);
                json!([made.body, made.joins])
            })
        });
        let containers: Vec<Value> = containers.collect();
        let own = stack.networks.iter().filter(|(_, network)| !network.external);
        let made = own.map(|(name, network)| {
            let called = names::given_network(stack, name).unwrap_or_else(|| name.clone());
            let mut request = render::network(&owner, &stack.name, name, called, network);
            request.labels.as_mut().unwrap().remove(mark::SPEC);
            json!(request)
        });
        let made: Vec<Value> = made.collect();
        let own = stack.volumes.iter().filter(|(_, volume)| !volume.external);
        let kept = own.map(|(name, volume)| {
            let called = names::given_volume(name, volume).unwrap_or_else(|| name.clone());
            let mut request = render::volume(&owner, &stack.name, name, called, volume);
            request.labels.as_mut().unwrap().remove(mark::SPEC);
            json!(request)
        });
        let kept: Vec<Value> = kept.collect();
        json!([containers, made, kept])
    }

    #[test]
    fn nothing_that_a_stack_says_is_lost_without_a_word() {
        for api in [(1, 41), (1, 48)] {
            nothing_is_lost(&ELSEWHERE, |stack| {
                let refused = refusals(stack, &capabilities(), true, |version| api >= version);
                let refused = refused.into_iter().map(|(path, why)| format!("{path}: {why}"));
                let passed = diff::degradations(stack, &capabilities()).into_iter().chain(told(stack, api));
                (asked(stack, api), refused.chain(passed).collect())
            });
        }
    }
}
