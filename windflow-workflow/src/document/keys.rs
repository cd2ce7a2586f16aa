//! The keys a document may have: read by the decoder, the messages and the schema alike.

/// A key that is known and refused, and what to tell: a message, and after `; ` a hint.
pub(crate) type Later = (&'static str, &'static str);

/// Keys of a workflow file.
pub(crate) const WORKFLOW: &[&str] =
    &["name", "description", "inputs", "on_failure", "max_parallel", "deadline", "nodes", "outputs"];
pub(crate) const WORKFLOW_LATER: &[Later] = &[
    ("on", "triggers are not offered yet; start the workflow with 'windflow run' or from your program"),
    ("triggers", "triggers are not offered yet; start the workflow with 'windflow run' or from your program"),
    ("schedule", "schedules are not offered yet; start the workflow with 'windflow run' or from your program"),
    ("jobs", "is not a key of a workflow; the work stands under 'nodes'"),
    ("steps", "is not a key of a workflow; the work stands under 'nodes', a map of named nodes"),
    ("tasks", "is not a key of a workflow; the work stands under 'nodes', a map of named nodes"),
    ("env", "is not a key of a workflow; give values as 'inputs' and read them as ${{ inputs.x }}"),
    ("services", "is not a key of a workflow; this looks like a stack: name it in the 'with.stack' of a deploy node"),
];

/// Keys of one input.
pub(crate) const INPUT: &[&str] = &["type", "description", "default", "enum"];
pub(crate) const INPUT_LATER: &[Later] =
    &[("required", "is not a key of an input; an input without 'default' must be given")];

/// Keys of one node.
pub(crate) const NODE: &[&str] =
    &["uses", "description", "with", "needs", "if", "join", "retry", "timeout", "deadline", "on_unknown", "compensate"];
pub(crate) const NODE_LATER: &[Later] = &[
    ("for_each", "'for_each' is not offered yet; write one node for each item"),
    ("workflow", "workflows inside workflows are not offered yet; write their nodes out"),
    ("run", "is not a key of a node; write 'uses: shell' and give the command in 'with'"),
    ("depends_on", "is not a key of a node; write 'needs'"),
    ("action", "is not a key of a node; write 'uses'"),
    ("type", "is not a key of a node; write 'uses'"),
    ("when", "is not a key of a node; write 'if'"),
    ("env", "is not a key of a node; an action's environment, if it takes one, stands in its 'with'"),
    ("retries", "is not a key of a node; write 'retry: 3' or 'retry: { max_attempts: 3 }'"),
];

/// Keys of `retry`.
pub(crate) const RETRY: &[&str] = &["max_attempts", "initial", "factor", "cap", "on"];

/// Keys of `compensate`.
pub(crate) const COMPENSATE: &[&str] = &["uses", "with", "retry"];

/// Keys of a stack file.
pub(crate) const STACK: &[&str] = &["name", "version", "services", "x-windflow"];
pub(crate) const STACK_LATER: &[Later] = &[
    ("networks", NOT_YET),
    ("volumes", NOT_YET),
    ("secrets", "is not honoured yet; give a service a secret with 'environment: { KEY: secret://source/path }'"),
    ("configs", NOT_YET),
    ("include", NOT_YET),
    ("models", NOT_YET),
    ("nodes", "is not a key of a stack; this looks like a workflow"),
];
const NOT_YET: &str = "is not honoured yet; remove it, or deploy this part by other means";

/// Keys of one service.
pub(crate) const SERVICE: &[&str] = &[
    "image",
    "command",
    "environment",
    "ports",
    "depends_on",
    "healthcheck",
    "restart",
    "stop_signal",
    "stop_grace_period",
    "labels",
    "deploy",
    "scale",
    "x-windflow",
];
pub(crate) const SERVICE_LATER: &[Later] = &[
    (
        "build",
        "is not honoured yet; build and push the image before, in a node of the workflow, and name it in 'image'",
    ),
    ("env_file", "is not honoured yet; write the variables under 'environment'"),
    ("env", "is not a key of a service; write 'environment'"),
    ("annotations", NOT_YET),
    ("attach", NOT_YET),
    ("blkio_config", NOT_YET),
    ("cap_add", NOT_YET),
    ("cap_drop", NOT_YET),
    ("cgroup", NOT_YET),
    ("cgroup_parent", NOT_YET),
    ("configs", NOT_YET),
    ("container_name", "is not honoured yet; instances are named after the stack and the service"),
    ("cpu_count", NOT_YET),
    ("cpu_percent", NOT_YET),
    ("cpu_period", NOT_YET),
    ("cpu_quota", NOT_YET),
    ("cpu_rt_period", NOT_YET),
    ("cpu_rt_runtime", NOT_YET),
    ("cpu_shares", NOT_YET),
    ("cpus", NOT_YET),
    ("cpuset", NOT_YET),
    ("credential_spec", NOT_YET),
    ("develop", NOT_YET),
    ("device_cgroup_rules", NOT_YET),
    ("devices", NOT_YET),
    ("dns", NOT_YET),
    ("dns_opt", NOT_YET),
    ("dns_search", NOT_YET),
    ("domainname", NOT_YET),
    ("entrypoint", NOT_YET),
    ("expose", NOT_YET),
    ("extends", NOT_YET),
    ("external_links", NOT_YET),
    ("extra_hosts", NOT_YET),
    ("gpus", NOT_YET),
    ("group_add", NOT_YET),
    ("hostname", NOT_YET),
    ("init", NOT_YET),
    ("ipc", NOT_YET),
    ("isolation", NOT_YET),
    ("label_file", NOT_YET),
    ("links", NOT_YET),
    ("logging", NOT_YET),
    ("mac_address", NOT_YET),
    ("mem_limit", NOT_YET),
    ("mem_reservation", NOT_YET),
    ("mem_swappiness", NOT_YET),
    ("memswap_limit", NOT_YET),
    ("models", NOT_YET),
    ("network_mode", NOT_YET),
    ("networks", NOT_YET),
    ("oom_kill_disable", NOT_YET),
    ("oom_score_adj", NOT_YET),
    ("pid", NOT_YET),
    ("pids_limit", NOT_YET),
    ("platform", NOT_YET),
    ("post_start", NOT_YET),
    ("pre_stop", NOT_YET),
    ("privileged", NOT_YET),
    ("profiles", NOT_YET),
    ("provider", NOT_YET),
    ("pull_policy", NOT_YET),
    ("read_only", NOT_YET),
    ("runtime", NOT_YET),
    ("secrets", "is not honoured yet; give the service a secret with 'environment: { KEY: secret://source/path }'"),
    ("security_opt", NOT_YET),
    ("shm_size", NOT_YET),
    ("stdin_open", NOT_YET),
    ("storage_opt", NOT_YET),
    ("sysctls", NOT_YET),
    ("tmpfs", NOT_YET),
    ("tty", NOT_YET),
    ("ulimits", NOT_YET),
    ("use_api_socket", NOT_YET),
    ("user", NOT_YET),
    ("userns_mode", NOT_YET),
    ("uts", NOT_YET),
    ("volumes", NOT_YET),
    ("volumes_from", NOT_YET),
    ("working_dir", "is not honoured yet; for a process write 'x-windflow: { process: { working_dir: … } }'"),
];

/// Keys of `deploy`.
pub(crate) const DEPLOY: &[&str] = &["replicas"];
pub(crate) const DEPLOY_LATER: &[Later] = &[
    ("endpoint_mode", NOT_YET),
    ("labels", NOT_YET),
    ("mode", NOT_YET),
    ("placement", NOT_YET),
    ("resources", NOT_YET),
    ("restart_policy", "is not honoured yet; write the service's 'restart'"),
    ("rollback_config", NOT_YET),
    ("update_config", NOT_YET),
];

/// Keys of one port in its long form.
pub(crate) const PORT: &[&str] = &["target", "published", "host_ip", "protocol"];
pub(crate) const PORT_LATER: &[Later] = &[("name", NOT_YET), ("app_protocol", NOT_YET), ("mode", NOT_YET)];

/// Keys of one dependency in its long form.
pub(crate) const DEPENDENCY: &[&str] = &["condition", "required", "restart"];

/// Keys of `healthcheck`, of its extension, and of what that may hold.
pub(crate) const HEALTH: &[&str] =
    &["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable", "x-windflow"];
pub(crate) const HEALTH_OURS: &[&str] = &["http", "tcp"];
pub(crate) const HTTP: &[&str] = &["port", "path"];
pub(crate) const TCP: &[&str] = &["port"];

/// Keys of a service's `x-windflow`, and of the process in it.
pub(crate) const SERVICE_OURS: &[&str] = &["process"];
pub(crate) const SERVICE_OURS_LATER: &[Later] =
    &[("vm", NOT_YET), ("helm", NOT_YET), ("manifests", NOT_YET), ("rollout", NOT_YET)];
pub(crate) const PROCESS: &[&str] = &["command", "working_dir", "search"];
