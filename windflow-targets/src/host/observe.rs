//! From what is on disk and in the process table to what is there. Pure.

use std::collections::BTreeSet;

use windflow_core::target::{
    Capabilities, Endpoint, Health, Observed, ObservedInstance, ObservedService, Probe, Revision, Service, diff,
};

use super::state::{InstanceState, ProcessId, StackSpec, StackState};

/// What was read of a stack.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub spec: Option<StackSpec>,
    pub state: StackState,
    pub current: Option<Revision>,
    /// Which boot this is.
    pub boot: String,
    /// Which of the recorded processes live.
    pub alive: BTreeSet<ProcessId>,
    /// Whether a supervisor holds its lock.
    pub supervised: bool,
}

impl Seen {
    /// The living processes of the stack.
    pub fn living(&self) -> impl Iterator<Item = ProcessId> + '_ {
        let same_boot = self.state.boot == self.boot;
        let instances = self.state.services.values().flat_map(|instances| instances.values());
        instances.filter_map(|instance| instance.process).filter(move |id| same_boot && self.alive.contains(id))
    }

    pub fn observed(&self, capabilities: &Capabilities) -> Observed {
        let mut observed = Observed::absent();
        observed.current.clone_from(&self.current);
        for (name, service) in self.spec.iter().flat_map(|spec| &spec.stack.services) {
            let recorded = self.state.services.get(name);
            let instances: Vec<ObservedInstance> = (0..service.replicas.0)
                .map(|n| self.instance(recorded.and_then(|instances| instances.get(&n))))
                .collect();
            let worst = instances.iter().map(|instance| &instance.health).max_by_key(|health| badness(health));
            // No instance is wanted: that is as it should be.
            let health = worst.cloned().unwrap_or(Health::Completed);
            let mut found = ObservedService::new(diff::owned_spec(service, capabilities), health);
            (found.instances, found.endpoints) = (instances, endpoints(service));
            observed.services.insert(name.clone(), found);
        }
        observed
    }

    fn instance(&self, recorded: Option<&InstanceState>) -> ObservedInstance {
        let Some(recorded) = recorded else { return ObservedInstance::new("", Health::Stopped) };
        let lives = recorded.process.is_some_and(|id| self.state.boot == self.boot && self.alive.contains(&id));
        let health = match (lives, self.supervised) {
            (_, true) => recorded.health.clone(),
            (true, false) => Health::Unhealthy {
                why: "it runs unwatched: its supervisor is gone; the next apply starts one".to_owned(),
            },
            (false, false) => match &recorded.health {
                kept @ (Health::Completed | Health::Failed { .. }) if recorded.process.is_none() => kept.clone(),
                _ => Health::Stopped,
            },
        };
        let id = recorded.process.filter(|_| lives).map_or_else(String::new, |id| id.to_string());
        let mut instance = ObservedInstance::new(id, health);
        (instance.since, instance.restarts) = (recorded.since.filter(|_| lives), recorded.restarts);
        instance
    }
}

fn badness(health: &Health) -> u8 {
    match health {
        Health::Completed => 0,
        Health::Healthy => 1,
        Health::Starting => 2,
        Health::Stopped => 3,
        Health::Unhealthy { .. } => 4,
        _ => 5,
    }
}

fn endpoints(service: &Service) -> Vec<Endpoint> {
    let probed = match service.healthcheck.as_ref().map(|check| &check.probe) {
        Some(Probe::Http { port, .. }) => Some(*port),
        _ => None,
    };
    let ports = service.ports.iter().map(|port| {
        let host = match port.host_ip.as_deref() {
            None | Some("" | "0.0.0.0" | "::") => "127.0.0.1",
            Some(address) => address,
        };
        let protocol = if probed == Some(port.target) { "http" } else { &port.protocol };
        Endpoint { host: host.to_owned(), port: port.target, protocol: protocol.to_owned() }
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;
    use windflow_core::target::{HealthCheck, PortMapping, Process, Stack};
    use windflow_core::{ContentHash, ServiceName, StackName};

    fn seen(health: Health, process: Option<ProcessId>) -> Seen {
        let web = ServiceName::new("web").unwrap();
        let second = std::time::Duration::from_secs(1);
        let service = Service {
            process: Some(Process { command: vec!["web".into()], search: Vec::new(), working_dir: None }),
            ports: vec![PortMapping::tcp(80)],
            healthcheck: Some(HealthCheck {
                probe: Probe::Http { port: 80, path: "/".into() },
                interval: Some(second),
                timeout: Some(second),
                retries: Some(1),
                start_period: Some(second),
                start_interval: Some(second),
            }),
            ..Service::default()
        };
        let stack = Stack::new(StackName::new("shop").unwrap(), [(web.clone(), service)].into());
        let programs = [(web.clone(), "/bin/web".into())].into();
        let spec = render::render(&stack, ContentHash::of(b""), &programs, &[], None);
        let instance = InstanceState { process, health, ..InstanceState::default() };
        let state =
            StackState { boot: "b".into(), services: [(web, [(0, instance)].into())].into(), ..StackState::default() };
        Seen { spec: Some(spec), state, boot: "b".into(), alive: process.into_iter().collect(), ..Seen::default() }
    }

    fn health(seen: &Seen) -> Health {
        seen.observed(&render::capabilities()).services["web"].health.clone()
    }

    #[test]
    fn the_supervisor_is_believed_while_it_lives_and_the_process_table_after_that() {
        let process = Some(ProcessId { pid: 7, started: 9 });
        let mut seen = seen(Health::Healthy, process);
        seen.supervised = true;
        assert_eq!(health(&seen), Health::Healthy);
        seen.supervised = false;
        assert!(matches!(health(&seen), Health::Unhealthy { why } if why.contains("unwatched")));
        seen.alive = [ProcessId { pid: 7, started: 10 }].into();
        assert_eq!(health(&seen), Health::Stopped, "a process of that number and another start is not ours");
        seen.alive = process.into_iter().collect();
        seen.boot = "another".into();
        assert_eq!(health(&seen), Health::Stopped, "after a restart of the machine no number is ours");
    }

    #[test]
    fn what_has_run_to_its_end_stays_so_and_a_probed_port_is_an_http_endpoint() {
        let seen = seen(Health::Completed, None);
        assert_eq!(health(&seen), Health::Completed);
        let observed = seen.observed(&render::capabilities());
        assert_eq!(observed.services["web"].endpoints[0].to_string(), "http://127.0.0.1:80");
    }
}
