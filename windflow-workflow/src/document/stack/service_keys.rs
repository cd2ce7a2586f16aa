//! The keys of a service.

use super::keys::{NOT_YET, key, table};
use super::merge::{self, by_key, by_path, by_target, whole};
use super::shape::{Names, Shape, Table};
use super::{health, ports, process, short, volumes};

const ANY: i64 = i64::MAX;
const FILES: Shape = Shape::List(&Shape::Short(short::file_mount, &FILE_MOUNT));

/// A service.
pub(super) static SERVICE: Table = Table {
    what: "a service",
    keys: &[
        key("image", Shape::Text).kept(),
        key("build", Shape::Short(short::build, &BUILD)),
        key("command", Shape::Command).replaced().kept(),
        key("entrypoint", Shape::Command).replaced().kept(),
        key("environment", Shape::Pairs(Names::Variables)),
        key("env_file", Shape::Own(short::env_file, &ENV_FILE)).unique(by_path),
        key("ports", Shape::Several(ports::ports, &PORT)).unique(ports::name),
        key("expose", Shape::Texts).unique(whole),
        key("depends_on", Shape::Own(short::depends_on, &NOTHING)),
        key("healthcheck", Shape::Fields(&HEALTHCHECK)),
        key("restart", Shape::Own(short::restart, &NOTHING)),
        key("scale", Shape::Whole(0, 10_000)).kept(),
        key("deploy", Shape::Fields(&DEPLOY)),
        key("stop_signal", Shape::Word),
        key("stop_grace_period", Shape::Duration).kept(),
        key("labels", Shape::Pairs(Names::Labels)),
        key("label_file", Shape::Own(short::label_file, &NOTHING)),
        key("annotations", Shape::Pairs(Names::Labels)),
        key("volumes", Shape::Several(volumes::volumes, &MOUNT)).unique(by_target),
        key("volumes_from", Shape::Texts),
        key("tmpfs", Shape::TextOrTexts).unique(by_path),
        key("configs", FILES).unique(merge::by_config),
        key("secrets", FILES).unique(merge::by_secret),
        key("networks", Shape::Named(&Shape::Fields(&ATTACHMENT))),
        key("network_mode", Shape::Word),
        key("hostname", Shape::Text),
        key("domainname", Shape::Text),
        key("mac_address", Shape::Word),
        key("extra_hosts", Shape::Hosts).unique(whole),
        key("dns", Shape::Addresses).unique(by_key),
        key("dns_opt", Shape::Texts).unique(by_key),
        key("dns_search", Shape::TextOrTexts).unique(by_key),
        key("links", Shape::Texts).unique(by_key),
        key("external_links", Shape::Texts),
        key("container_name", Shape::Word),
        key("platform", Shape::Word),
        key("pull_policy", Shape::Word),
        key("pull_refresh_after", Shape::Word),
        key("user", Shape::Text),
        key("group_add", Shape::Texts),
        key("working_dir", Shape::Text),
        key("init", Shape::Flag).kept(),
        key("tty", Shape::Flag),
        key("stdin_open", Shape::Flag),
        key("attach", Shape::Flag).kept(),
        key("read_only", Shape::Flag),
        key("privileged", Shape::Flag),
        key("cap_add", Shape::Texts).unique(by_key),
        key("cap_drop", Shape::Texts).unique(by_key),
        key("security_opt", Shape::Texts).unique(whole),
        key("sysctls", Shape::Pairs(Names::Labels)),
        key("ulimits", Shape::Map(&Shape::Short(short::ulimit, &ULIMIT))).by(merge::entries),
        key("devices", Shape::List(&Shape::Short(short::device, &DEVICE))).unique(by_target),
        key("device_cgroup_rules", Shape::Texts),
        key("gpus", Shape::Own(short::gpus, &GPU)),
        key("logging", Shape::Fields(&LOGGING)).by(merge::logging),
        key("shm_size", Shape::Bytes),
        key("pid", Shape::Word),
        key("ipc", Shape::Word),
        key("uts", Shape::Word),
        key("userns_mode", Shape::Word),
        key("cgroup", Shape::Word),
        key("cgroup_parent", Shape::Word),
        key("runtime", Shape::Word),
        key("isolation", Shape::Word),
        key("storage_opt", Shape::Pairs(Names::Options)),
        key("credential_spec", Shape::Fields(&CREDENTIALS)),
        key("blkio_config", Shape::Fields(&BLKIO)),
        key("cpu_count", Shape::Whole(0, ANY)),
        key("cpu_percent", Shape::Number),
        key("cpu_period", Shape::Whole(0, ANY)),
        key("cpu_quota", Shape::Whole(-1, ANY)),
        key("cpu_rt_period", Shape::Whole(0, ANY)),
        key("cpu_rt_runtime", Shape::Whole(-1, ANY)),
        key("cpu_shares", Shape::Whole(0, ANY)),
        key("cpus", Shape::Number),
        key("cpuset", Shape::Word),
        key("mem_limit", Shape::Bytes),
        key("mem_reservation", Shape::Bytes),
        key("mem_swappiness", Shape::Bytes).kept(),
        key("memswap_limit", Shape::Bytes),
        key("oom_kill_disable", Shape::Flag),
        key("oom_score_adj", Shape::Whole(-1_000, 1_000)),
        key("pids_limit", Shape::Whole(-1, ANY)),
        key("profiles", Shape::Texts).unique(by_key),
        key("extends", Shape::Short(short::extends, &EXTENDS)),
        key("provider", Shape::Fields(&PROVIDER)),
        key("models", Shape::Named(&Shape::Fields(&MODEL_USE))),
        key("develop", Shape::Fields(&DEVELOP)),
        key("use_api_socket", Shape::Flag),
        key("pre_start", Shape::List(&Shape::Fields(&PRE_START))),
        key("post_start", Shape::List(&Shape::Fields(&HOOK))),
        key("pre_stop", Shape::List(&Shape::Fields(&HOOK))),
        key("x-windflow", Shape::Fields(&OURS)),
    ],
    later: &[
        ("env", "is not a key of a service; write 'environment'"),
        ("net", "is not a key of a service; write 'network_mode' or 'networks'"),
        ("log_driver", "is not a key of a service; write 'logging: { driver: … }'"),
        ("log_opt", "is not a key of a service; write 'logging: { options: … }'"),
        ("volume_driver", "is not a key of a service; give the volume a driver under 'volumes' of the stack"),
        ("dockerfile", "is not a key of a service; write 'build: { dockerfile: … }'"),
    ],
    needs: &[],
};

static NOTHING: Table = table("it", &[]);

/// A port.
pub(super) static PORT: Table = Table {
    what: "a port",
    keys: &[
        key("target", Shape::Word),
        key("published", Shape::Word),
        key("host_ip", Shape::Word),
        key("protocol", Shape::Choice(&["tcp", "udp", "sctp"])),
        key("mode", Shape::Choice(&["ingress", "host"])),
        key("name", Shape::Word),
        key("app_protocol", Shape::Word),
    ],
    later: &[],
    needs: &[("target", "the port the service listens on")],
};

/// A file with variables.
pub(super) static ENV_FILE: Table = Table {
    what: "an env_file",
    keys: &[key("path", Shape::Path), key("required", Shape::Flag).kept(), key("format", Shape::Choice(&["raw"]))],
    later: &[],
    needs: &[("path", "the file's name")],
};

static FILE_MOUNT: Table = Table {
    what: "a file that is handed in",
    keys: &[
        key("source", Shape::Word),
        key("target", Shape::Word),
        key("uid", Shape::Word),
        key("gid", Shape::Word),
        key("mode", Shape::Mode),
    ],
    later: &[],
    needs: &[("source", "the name of a secret or config of the stack")],
};

/// How a service is waited for.
pub(super) static DEPENDENCY: Table = table(
    "a dependency",
    &[
        key("condition", Shape::Choice(&["service_started", "service_healthy", "service_completed_successfully"])),
        key("required", Shape::Flag).kept(),
        key("restart", Shape::Flag),
    ],
);

static HEALTHCHECK: Table = table(
    "a healthcheck",
    &[
        key("test", Shape::Test).replaced().kept(),
        key("interval", Shape::Duration).kept(),
        key("timeout", Shape::Duration).kept(),
        key("retries", Shape::Whole(0, 1_000)),
        key("start_period", Shape::Duration).kept(),
        key("start_interval", Shape::Duration).kept(),
        key("disable", Shape::Flag),
        key("x-windflow", Shape::Own(health::ours, &HEALTH_OURS)),
    ],
);

/// What a health check may try besides commands.
pub(super) static HEALTH_OURS: Table = table(
    "x-windflow of a healthcheck",
    &[key("http", Shape::Own(health::http, &HTTP)), key("tcp", Shape::Fields(&TCP))],
);
/// An HTTP check.
pub(super) static HTTP: Table = Table {
    what: "an HTTP check",
    keys: &[key("port", Shape::Whole(1, 65_535)), key("path", Shape::Text)],
    later: &[],
    needs: &[("port", "the port the service listens on")],
};
static TCP: Table = Table {
    what: "a TCP check",
    keys: &[key("port", Shape::Whole(1, 65_535))],
    later: &[],
    needs: &[("port", "the port the service listens on")],
};

static DEPLOY: Table = table(
    "deploy",
    &[
        key("mode", Shape::Choice(&["replicated", "global", "replicated-job", "global-job"])),
        key("replicas", Shape::Whole(0, 10_000)).kept(),
        key("endpoint_mode", Shape::Choice(&["vip", "dnsrr"])),
        key("labels", Shape::Pairs(Names::Labels)),
        key("update_config", Shape::Fields(&UPDATE)),
        key("rollback_config", Shape::Fields(&UPDATE)),
        key("resources", Shape::Fields(&RESOURCES)),
        key("restart_policy", Shape::Fields(&RESTART_POLICY)),
        key("placement", Shape::Fields(&PLACEMENT)),
    ],
);
static UPDATE: Table = table(
    "an update's rules",
    &[
        key("parallelism", Shape::Whole(0, 1_000_000)).kept(),
        key("delay", Shape::Duration),
        key("failure_action", Shape::Choice(&["continue", "rollback", "pause"])),
        key("monitor", Shape::Duration),
        key("max_failure_ratio", Shape::Number),
        key("order", Shape::Choice(&["stop-first", "start-first"])),
    ],
);
static RESOURCES: Table =
    table("resources", &[key("limits", Shape::Fields(&AMOUNTS)), key("reservations", Shape::Fields(&AMOUNTS))]);
static AMOUNTS: Table = table(
    "resources",
    &[
        key("cpus", Shape::Number),
        key("memory", Shape::Bytes),
        key("pids", Shape::Whole(-1, ANY)),
        key("devices", Shape::List(&Shape::Fields(&GPU))),
        key("generic_resources", Shape::List(&Shape::Fields(&GENERIC))),
    ],
);
static GENERIC: Table = table("a resource", &[key("discrete_resource_spec", Shape::Fields(&DISCRETE))]);
static DISCRETE: Table = table("a resource", &[key("kind", Shape::Word), key("value", Shape::Whole(0, ANY)).kept()]);

/// Devices that are asked for.
pub(super) static GPU: Table = table(
    "a request for devices",
    &[
        key("capabilities", Shape::Texts),
        key("count", Shape::Own(short::count, &NOTHING)),
        key("device_ids", Shape::Texts),
        key("driver", Shape::Word),
        key("options", Shape::Pairs(Names::Labels)),
    ],
);
static RESTART_POLICY: Table = table(
    "a restart policy",
    &[
        key("condition", Shape::Choice(&["none", "on-failure", "any", "always", "unless-stopped"])),
        key("delay", Shape::Duration).kept(),
        key("max_attempts", Shape::Whole(0, 1_000_000_000)).kept(),
        key("window", Shape::Duration).kept(),
    ],
);
static PLACEMENT: Table = table(
    "a placement",
    &[
        key("constraints", Shape::Texts),
        key("preferences", Shape::List(&Shape::Fields(&PREFERENCE))),
        key("max_replicas_per_node", Shape::Whole(0, 1_000_000)),
    ],
);
static PREFERENCE: Table = table("a preference", &[key("spread", Shape::Word)]);

/// What is mounted.
pub(super) static MOUNT: Table = Table {
    what: "a mount",
    keys: &[
        key("type", Shape::Choice(&["volume", "bind", "tmpfs", "npipe", "cluster", "image"])),
        key("source", Shape::Word),
        key("target", Shape::Word),
        key("read_only", Shape::Flag),
        key("consistency", Shape::Word),
        key("bind", Shape::Fields(&BIND)),
        key("volume", Shape::Fields(&VOLUME_OPTIONS)),
        key("tmpfs", Shape::Fields(&TMPFS)),
        key("image", Shape::Fields(&IMAGE_OPTIONS)),
    ],
    later: &[],
    needs: &[("type", "volume, bind, tmpfs, npipe, cluster or image"), ("target", "the path in the container")],
};
static BIND: Table = table(
    "a bind mount's options",
    &[
        key("propagation", Shape::Word),
        key("create_host_path", Shape::Flag).kept(),
        key("recursive", Shape::Choice(&["enabled", "disabled", "writable", "readonly"])),
        key("selinux", Shape::Choice(&["z", "Z"])),
    ],
);
static VOLUME_OPTIONS: Table = table(
    "a volume's options",
    &[key("labels", Shape::Pairs(Names::Labels)), key("nocopy", Shape::Flag), key("subpath", Shape::Word)],
);
static TMPFS: Table =
    table("a tmpfs's options", &[key("size", Shape::Bytes), key("mode", Shape::Own(short::mode, &NOTHING))]);
static IMAGE_OPTIONS: Table = table("an image's options", &[key("subpath", Shape::Word)]);

static ATTACHMENT: Table = table(
    "a network of a service",
    &[
        key("aliases", Shape::Texts).unique(by_key),
        key("ipv4_address", Shape::Address),
        key("ipv6_address", Shape::Address),
        key("link_local_ips", Shape::Texts).unique(by_key),
        key("mac_address", Shape::Word),
        key("interface_name", Shape::Word),
        key("driver_opts", Shape::Pairs(Names::Options)),
        key("priority", Shape::Whole(i64::MIN, ANY)),
        key("gw_priority", Shape::Whole(i64::MIN, ANY)),
    ],
);
static ULIMIT: Table = Table {
    what: "a ulimit",
    keys: &[key("soft", Shape::Whole(-1, ANY)).kept(), key("hard", Shape::Whole(-1, ANY)).kept()],
    later: &[],
    needs: &[("soft", "what holds at first"), ("hard", "how far it can be raised")],
};
static DEVICE: Table = Table {
    what: "a device",
    keys: &[key("source", Shape::Word), key("target", Shape::Word), key("permissions", Shape::Word)],
    later: &[],
    needs: &[("source", "the device's path on the machine")],
};
static LOGGING: Table = table("logging", &[key("driver", Shape::Word), key("options", Shape::Pairs(Names::Options))]);
static CREDENTIALS: Table =
    table("credential_spec", &[key("config", Shape::Word), key("file", Shape::Word), key("registry", Shape::Word)]);
static BLKIO: Table = table(
    "blkio_config",
    &[
        key("weight", Shape::Whole(0, 1_000)),
        key("weight_device", Shape::List(&Shape::Fields(&WEIGHT))),
        key("device_read_bps", Shape::List(&Shape::Fields(&RATE))),
        key("device_read_iops", Shape::List(&Shape::Fields(&RATE))),
        key("device_write_bps", Shape::List(&Shape::Fields(&RATE))),
        key("device_write_iops", Shape::List(&Shape::Fields(&RATE))),
    ],
);
static WEIGHT: Table = table("a weight", &[key("path", Shape::Word), key("weight", Shape::Whole(0, 1_000))]);
static RATE: Table = table("a rate", &[key("path", Shape::Word), key("rate", Shape::Bytes)]);

/// What a service takes over from another.
static EXTENDS: Table = Table {
    what: "extends",
    keys: &[key("service", Shape::Word), key("file", Shape::Word)],
    later: &[],
    needs: &[("service", "the service that is extended")],
};
static PROVIDER: Table = Table {
    what: "a provider",
    keys: &[key("type", Shape::Word), key("options", Shape::Own(short::options, &NOTHING))],
    later: &[],
    needs: &[("type", "the program that provides it")],
};
static MODEL_USE: Table =
    table("a model of a service", &[key("endpoint_var", Shape::Word), key("model_var", Shape::Word)]);
static DEVELOP: Table = table("develop", &[key("watch", Shape::List(&Shape::Fields(&WATCH)))]);
static WATCH: Table = Table {
    what: "a watch",
    keys: &[
        key("path", Shape::Path),
        key("action", Shape::Choice(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
        key("target", Shape::Word),
        key("ignore", Shape::TextOrTexts),
        key("include", Shape::TextOrTexts),
        key("exec", Shape::Fields(&HOOK)),
        key("initial_sync", Shape::Flag),
    ],
    later: &[],
    needs: &[("path", "the folder that is watched"), ("action", "what is done when something in it changes")],
};
static HOOK: Table = Table {
    what: "a hook",
    keys: &[
        key("command", Shape::Command).replaced(),
        key("user", Shape::Text),
        key("privileged", Shape::Flag),
        key("working_dir", Shape::Text),
        key("environment", Shape::Pairs(Names::Variables)),
    ],
    later: &[],
    needs: &[("command", "what is run")],
};
static PRE_START: Table = table(
    "a hook",
    &[
        key("command", Shape::Command).replaced(),
        key("image", Shape::Text),
        key("user", Shape::Text),
        key("privileged", Shape::Flag),
        key("working_dir", Shape::Text),
        key("environment", Shape::Pairs(Names::Variables)),
        key("per_replica", Shape::Flag).kept(),
    ],
);
static BUILD: Table = table(
    "build",
    &[
        key("context", Shape::Context),
        key("dockerfile", Shape::Word),
        key("dockerfile_inline", Shape::Text),
        key("entitlements", Shape::Texts),
        key("args", Shape::Pairs(Names::Variables)),
        key("ssh", Shape::Own(short::ssh, &NOTHING)).unique(by_key),
        key("labels", Shape::Pairs(Names::Labels)),
        key("cache_from", Shape::Texts),
        key("cache_to", Shape::Texts),
        key("no_cache", Shape::Flag),
        key("no_cache_filter", Shape::TextOrTexts),
        key("additional_contexts", Shape::Pairs(Names::Contexts)),
        key("network", Shape::Word),
        key("provenance", Shape::Own(short::switch, &NOTHING)),
        key("sbom", Shape::Own(short::switch, &NOTHING)),
        key("pull", Shape::Flag),
        key("target", Shape::Word),
        key("shm_size", Shape::Bytes),
        key("extra_hosts", Shape::Hosts).unique(whole),
        key("isolation", Shape::Word),
        key("privileged", Shape::Flag),
        key("secrets", FILES),
        key("tags", Shape::Texts).unique(by_key),
        key("ulimits", Shape::Map(&Shape::Short(short::ulimit, &ULIMIT))).by(merge::entries),
        key("platforms", Shape::Texts),
    ],
);

static OURS: Table = Table {
    what: "x-windflow of a service",
    keys: &[key("process", Shape::Own(process::process, &PROCESS)), key("rollout", Shape::Fields(&ROLLOUT))],
    later: &[("vm", NOT_YET), ("helm", NOT_YET), ("manifests", NOT_YET)],
    needs: &[],
};
/// A process.
pub(super) static PROCESS: Table = Table {
    what: "a process",
    keys: &[
        key("command", Shape::Own(process::command, &NOTHING)).replaced(),
        key("working_dir", Shape::Text),
        key("search", Shape::TextOrTexts).replaced().kept(),
    ],
    later: &[],
    needs: &[("command", "a list: the program and its arguments")],
};
static ROLLOUT: Table = table(
    "a rollout",
    &[
        key("strategy", Shape::Choice(&["recreate", "rolling", "blue_green"])),
        key("batch", Shape::Whole(1, 10_000)),
        key("min_healthy", Shape::Duration).kept(),
        key("progress_deadline", Shape::Duration).kept(),
        key("bake", Shape::Duration).kept(),
    ],
);
