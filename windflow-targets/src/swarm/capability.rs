//! What a Swarm can do with a stack, and what it cannot. Pure.

use windflow_core::ServiceName;
use windflow_core::target::{
    Attachment, Capabilities, Command, EndpointMode, Feature, Mode, Mount, MountKind, Order, PortMode, Probe,
    RESTART_LABEL, Restart, Service, Stack, diff,
};

use super::render::memory_problem;
use crate::engine::staged::{is_blue_green, obstacles};
use crate::engine::{gives_away, mark, name_problem, no_engine_takes, volumes_give_away};

/// The least memory a Swarm takes for a bound of a task.
const LEAST_MEMORY: u64 = 4 * 1024 * 1024;

/// The fields of a service that end up nowhere in the Swarm: they say how we go about it.
pub(super) const OURS_ALONE: [&str; 2] = ["depends_on", "rollout"];

pub(super) fn capabilities() -> Capabilities {
    Capabilities::new("swarm")
        .with_features([Feature::Logs, Feature::Exec, Feature::Discover, Feature::Adopt])
        .with_features([Feature::Promote, Feature::WatchEvents])
        .with_service_fields(["image", "entrypoint", "command", "environment", "ports", "healthcheck", "restart"])
        .with_service_fields(["replicas", "mode", "endpoint_mode", "placement", "resources", "update_config"])
        .with_service_fields(["rollback_config", "stop_signal", "stop_grace_period", "labels", "deploy_labels"])
        .with_service_fields(["volumes", "tmpfs", "configs", "secrets", "networks", "hostname", "extra_hosts", "dns"])
        .with_service_fields(["dns_opt", "dns_search", "user", "group_add", "working_dir", "init", "tty"])
        .with_service_fields(["stdin_open", "read_only", "cap_add", "cap_drop", "security_opt", "sysctls", "ulimits"])
        .with_service_fields(["logging", "oom_score_adj", "isolation"])
        .with_service_fields(OURS_ALONE)
        .with_stack_fields(["networks", "volumes", "configs", "secrets"])
        .passing_over("build", "nothing is built here: the image that is named is taken")
        .passing_over("container_name", "a Swarm names its containers itself")
        .passing_over("expose", "within a network every port is open")
        .passing_over("pull_policy", "each node fetches an image that it does not have")
        .passing_over("platform", "each node takes the image of its own system")
        .passing_over("attach", "nothing is attached to here")
        .with_max_replicas(10_000)
}

/// Everything in the stack that a Swarm cannot honour, as path and sentence.
pub(super) fn refusals(
    stack: &Stack,
    capabilities: &Capabilities,
    api: (usize, usize),
    allow_privileged: bool,
) -> Vec<(String, String)> {
    let mut problems = diff::refusals(stack, capabilities);
    for (name, service) in &stack.services {
        let mut service_problems = Problems { at: format!("services.{name}"), found: Vec::new() };
        service_problems.of(service, api);
        if !allow_privileged {
            for (path, what) in gives_away(service).into_iter().filter(|(path, _)| offers(capabilities, path)) {
                service_problems.push(&path, not_allowed(&what));
            }
        }
        problems.append(&mut service_problems.found);
    }
    if !allow_privileged {
        problems.extend(volumes_give_away(stack).into_iter().map(|(path, what)| (path, not_allowed(&what))));
    }
    for (name, network) in stack.networks.iter().filter(|(_, network)| !network.external) {
        if let Some(driver @ ("bridge" | "host" | "none" | "null")) = network.driver.as_deref() {
            let why = format!("a network of a Swarm spans its nodes, and '{driver}' does not: leave the driver out");
            problems.push((format!("networks.{name}.driver"), why));
        }
        if network.enable_ipv4 == Some(false) {
            problems.push((format!("networks.{name}.enable_ipv4"), "an overlay always has IPv4".to_owned()));
        }
    }
    for (part, files) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
        let named = files.iter().filter(|(_, file)| file.name.is_some() && !file.is_external());
        problems.extend(named.map(|(name, _)| {
            let why = "it is made anew under another name whenever its content changes: leave the name out";
            (format!("{part}.{name}.name"), why.to_owned())
        }));
    }
    problems
}

fn not_allowed(what: &str) -> String {
    format!("{what} makes the container root of its node, which this target does not allow ('allow_privileged')")
}

/// Whether the field of this path is offered at all: what is not is refused already.
fn offers(capabilities: &Capabilities, path: &str) -> bool {
    let field = path.split(['[', '.']).next().unwrap_or(path);
    capabilities.service_fields.contains(field) && field != "security_opt"
}

struct Problems {
    at: String,
    found: Vec<(String, String)>,
}

impl Problems {
    fn push(&mut self, field: &str, why: impl Into<String>) {
        self.found.push((format!("{}.{field}", self.at), why.into()));
    }

    fn of(&mut self, service: &Service, api: (usize, usize)) {
        if let Some(why) = service.image.as_deref().and_then(name_problem) {
            self.push("image", why);
        }
        self.of_replacing(service);
        self.of_ports(service);
        for (n, mount) in service.volumes.iter().enumerate() {
            self.of_mount(&format!("volumes[{n}]"), mount, api);
        }
        for (network, attachment) in &service.networks {
            self.of_attachment(network, attachment);
        }
        for (n, text) in service.tmpfs.iter().enumerate() {
            if let Some(option) = memory_problem(text) {
                let why = format!("of '{option}': a Swarm takes size (in bytes, or as 64m), mode (in octal) and ro");
                self.push(&format!("tmpfs[{n}]"), why);
            }
        }
        if let Some(Probe::Http { .. } | Probe::Tcp { .. }) = service.healthcheck.as_ref().map(|check| &check.probe) {
            self.push("healthcheck", "a container is probed by a command of its own: write a 'test'");
        }
        if service.entrypoint.as_ref().is_some_and(Command::is_empty) {
            let why = "a Swarm cannot take an image's entrypoint away: name the program itself as 'entrypoint'";
            self.push("entrypoint", why);
        }
        for (path, why) in no_engine_takes(service, LEAST_MEMORY) {
            self.push(&path, why);
        }
        if service.resources.reservations.pids.is_some() {
            self.push("resources.reservations.pids", "processes can be bounded, not kept free");
        }
        if !service.resources.limits.generic.is_empty() {
            self.push("resources.limits.generic", "such things can be kept free, not bounded");
        }
        for (n, option) in service.security_opt.iter().enumerate() {
            if no_new_privileges(option).is_none() {
                self.push(&format!("security_opt[{n}]"), "a Swarm offers only no-new-privileges");
            } else if api < (1, 44) {
                self.push(&format!("security_opt[{n}]"), "this engine is too old for it: Docker 25 or later has it");
            }
        }
        if service.oom_score_adj.is_some() && api < (1, 46) {
            self.push("oom_score_adj", "this engine is too old for it: Docker 27 or later has it");
        }
        if let Some(isolation) = service.isolation.as_deref()
            && !matches!(isolation, "default" | "process" | "hyperv")
        {
            self.push("isolation", "it is one of default, process, hyperv");
        }
        let labels = [("labels", &service.labels), ("deploy_labels", &service.deploy_labels)];
        for (field, label) in labels.iter().flat_map(|(field, labels)| labels.keys().map(move |label| (field, label))) {
            if label.starts_with(mark::PREFIX) && (label != RESTART_LABEL || *field != "labels") {
                self.push(&format!("{field}.{label}"), "labels of that name are kept for what is ours");
            }
        }
    }

    fn of_replacing(&mut self, service: &Service) {
        for (path, why) in obstacles(service) {
            self.push(&path, why);
        }
        if is_blue_green(service) && !service.mode.is_job() && service.endpoint_mode != Some(EndpointMode::Dnsrr) {
            let why = "with 'blue_green' a name goes from one set to another, and a virtual address keeps it as long as it \
                       is there: write endpoint_mode: dnsrr";
            self.push("endpoint_mode", why);
        }
        let order = service.update_config.as_ref().and_then(|config| config.order);
        if is_blue_green(service) && order == Some(Order::StopFirst) {
            let why = "with 'blue_green' tasks change their names while others have them: write start-first";
            self.push("update_config.order", why);
        }
        if matches!(service.mode, Mode::Global | Mode::GlobalJob) && service.replicas.0 != 1 {
            self.push("replicas", "a global service has one instance on each node");
        }
        if service.mode.is_job() {
            if matches!(service.restart.policy, Restart::Always | Restart::UnlessStopped) {
                self.push("restart", "a job is done once it has ended: write no or on-failure");
            }
            if service.update_config.is_some() || service.rollback_config.is_some() {
                self.push("update_config", "a job is run anew, not updated");
            }
        }
        let start_first = |config: Option<&windflow_core::target::UpdateConfig>| {
            config.and_then(|config| config.order) == Some(Order::StartFirst)
        };
        let fixed = |port: &windflow_core::target::PortMapping| port.mode == PortMode::Host && port.published.is_some();
        if start_first(service.update_config.as_ref()) && service.ports.iter().any(fixed) {
            let why =
                "the new instance cannot start first while the old one holds a port of the node: write stop-first";
            self.push("update_config.order", why);
        }
    }

    fn of_ports(&mut self, service: &Service) {
        for (n, port) in service.ports.iter().enumerate() {
            let at = format!("ports[{n}]");
            if port.host_ip.as_deref().is_some_and(|address| !matches!(address, "" | "0.0.0.0" | "::")) {
                self.push(&format!("{at}.host_ip"), "a Swarm publishes a port on all addresses of a node");
            }
            if port.published_end.is_some() {
                self.push(&format!("{at}.published"), "a Swarm publishes single ports, no ranges to choose from");
            }
            if port.mode == PortMode::Ingress && service.endpoint_mode == Some(EndpointMode::Dnsrr) {
                let why = "endpoint_mode dnsrr has no address that the ingress could lead to: write mode: host";
                self.push(&format!("{at}.mode"), why);
            }
            if !matches!(port.protocol.as_str(), "tcp" | "udp" | "sctp") {
                self.push(&format!("{at}.protocol"), "it is one of tcp, udp, sctp");
            }
        }
    }

    fn of_mount(&mut self, at: &str, mount: &Mount, api: (usize, usize)) {
        match mount.kind {
            MountKind::Cluster => self.push(at, "volumes of the cluster are not offered yet"),
            MountKind::Image => self.push(at, "a Swarm mounts no images"),
            MountKind::Volume | MountKind::Bind | MountKind::Tmpfs | MountKind::Npipe => {}
        }
        if mount.volume.as_ref().is_some_and(|volume| volume.subpath.is_some()) && api < (1, 45) {
            self.push(&format!("{at}.volume.subpath"), "this engine is too old for it: Docker 26 or later has it");
        }
        if let Some(bind) = &mount.bind {
            if bind.selinux.is_some() {
                self.push(&format!("{at}.bind.selinux"), "a Swarm does not relabel paths");
            }
            if bind.recursive.is_some() {
                self.push(&format!("{at}.bind.recursive"), "it is not offered yet");
            }
        }
    }

    fn of_attachment(&mut self, network: &str, attachment: &Attachment) {
        let asked = [
            ("ipv4_address", attachment.ipv4_address.is_some()),
            ("ipv6_address", attachment.ipv6_address.is_some()),
            ("link_local_ips", !attachment.link_local_ips.is_empty()),
            ("mac_address", attachment.mac_address.is_some()),
            ("interface_name", attachment.interface_name.is_some()),
            ("priority", attachment.priority.is_some()),
            ("gw_priority", attachment.gw_priority.is_some()),
        ];
        for (field, _) in asked.iter().filter(|(_, is_asked)| *is_asked) {
            let why = "a Swarm gives its tasks their addresses and interfaces itself";
            self.push(&format!("networks.{network}.{field}"), why);
        }
    }
}

/// What `no-new-privileges`, in its different spellings, asks for.
pub(super) fn no_new_privileges(option: &str) -> Option<bool> {
    match option.strip_prefix("no-new-privileges")? {
        "" | ":true" | "=true" => Some(true),
        ":false" | "=false" => Some(false),
        _ => None,
    }
}

/// The name a service has within its networks.
pub(super) fn alias(service: &ServiceName) -> String {
    service.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windflow_core::StackName;
    use windflow_core::target::{PortMapping, Replicas, RestartPolicy};

    #[test]
    fn what_a_swarm_cannot_do_is_refused_by_path() {
        let mut port = PortMapping::tcp(80).on("127.0.0.1");
        port.published_end = Some(90);
        let service = Service {
            image: Some("web".to_owned()),
            privileged: true,
            ports: vec![port],
            endpoint_mode: Some(EndpointMode::Dnsrr),
            mode: Mode::GlobalJob,
            replicas: Replicas(2),
            restart: RestartPolicy::on(Restart::Always),
            security_opt: vec!["seccomp:unconfined".to_owned()],
            labels: [("windflow.owner".to_owned(), "me".to_owned())].into(),
            ..Service::default()
        };
        let stack = Stack::new(StackName::new("shop").unwrap(), [("web".parse().unwrap(), service)].into());
        let paths: Vec<String> =
            refusals(&stack, &capabilities(), (1, 41), false).into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "services.web.privileged",
                "services.web.replicas",
                "services.web.restart",
                "services.web.ports[0].host_ip",
                "services.web.ports[0].published",
                "services.web.ports[0].mode",
                "services.web.security_opt[0]",
                "services.web.labels.windflow.owner",
            ]
        );
    }
    #[test]
    fn what_gives_its_node_away_is_refused_as_on_a_docker_engine() {
        let mut web = Service { image: Some("web".to_owned()), ..Service::default() };
        web.volumes = vec![Mount::new(MountKind::Bind, Some("/proc/1/root".to_owned()), "/host")];
        let mut stack = Stack::new(StackName::new("shop").unwrap(), [("web".parse().unwrap(), web)].into());
        let options = [("type", "none"), ("o", "bind"), ("device", "/etc")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let volume = windflow_core::target::Volume { driver_opts: options.into(), ..Default::default() };
        stack.volumes.insert("etc".to_owned(), volume);
        let paths = |allowed| -> Vec<String> {
            refusals(&stack, &capabilities(), (1, 41), allowed).into_iter().map(|(path, _)| path).collect()
        };
        assert_eq!(paths(false), ["services.web.volumes[0]", "volumes.etc.driver_opts.device"]);
        assert!(paths(true).is_empty());
    }
}
