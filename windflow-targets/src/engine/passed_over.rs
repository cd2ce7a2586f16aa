//! What an engine of either kind passes over without a word, told by path. Pure.

use windflow_core::target::Stack;

/// Lines for a plan: what is written and makes no difference on an engine that speaks this version.
pub(crate) fn passed_over(stack: &Stack, api: (usize, usize)) -> Vec<String> {
    let mut told = Vec::new();
    for (name, service) in &stack.services {
        for (n, port) in service.ports.iter().enumerate() {
            for (key, written) in [("name", &port.name), ("app_protocol", &port.app_protocol)] {
                if written.is_some() {
                    told.push(format!(
                        "services.{name}.ports[{n}].{key}: it is for people; an engine has no place for it"
                    ));
                }
            }
        }
        let asked = service.healthcheck.as_ref().is_some_and(|check| check.start_interval.is_some());
        if asked && api < (1, 44) {
            told.push(format!(
                "services.{name}.healthcheck.start_interval: the engine is too old for it, and tries at every 'interval'; \
                 Docker 25 or later has it"
            ));
        }
    }
    told
}
