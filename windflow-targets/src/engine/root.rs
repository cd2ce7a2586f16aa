//! What makes a container root of the machine it runs on. Whoever may write stacks is not thereby whoever owns the machine.

use windflow_core::target::{MountKind, Service, Stack, Volume};

/// The capabilities a container has unless it drops them: asking for one of them gives nothing away.
const OWN_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Whoever has one of these has the machine: the engine's own folders, those of its siblings, what the kernel and the system
/// are told by.
const NEVER: [&str; 17] = [
    "/",
    "/var",
    "/var/lib",
    "/run",
    "/var/run",
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/containerd",
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/systemd",
    "/run/dbus",
];

/// All that is below these, too.
const NOR_BELOW: [&str; 11] = [
    "/proc",
    "/sys",
    "/dev",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/containerd",
    "/run/docker",
    "/run/containerd",
    "/run/podman",
    "/run/systemd",
    "/run/dbus",
];

/// What the machine runs as root lies here: whoever writes it is root.
const NOT_TO_WRITE: [&str; 11] =
    ["/etc", "/root", "/boot", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/var/spool", "/var/lib/kubelet"];

/// File systems a volume may be of without anybody's leave: those that hold nothing of the machine.
const HARMLESS_TYPES: [&str; 6] = ["tmpfs", "nfs", "nfs4", "cifs", "smb3", "smbfs"];

/// What of a service makes its containers root of the machine, as field and what it is.
pub(crate) fn gives_away(service: &Service) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut say = |path: &str, what: &str| found.push((path.to_owned(), what.to_owned()));
    if service.privileged {
        say("privileged", "'privileged'");
    }
    for (field, value) in [
        ("pid", &service.pid),
        ("ipc", &service.ipc),
        ("uts", &service.uts),
        ("userns_mode", &service.userns_mode),
        ("cgroup", &service.cgroup),
        ("network_mode", &service.network_mode),
    ] {
        if value.as_deref() == Some("host") {
            say(field, "a namespace of the machine");
        }
    }
    if !service.devices.is_empty() {
        say("devices", "a device");
    }
    if !service.device_cgroup_rules.is_empty() {
        say("device_cgroup_rules", "a rule for devices");
    }
    for capability in &service.cap_add {
        let name = capability.to_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        if !OWN_CAPABILITIES.contains(&name) {
            say("cap_add", &format!("the capability {name}"));
        }
    }
    for option in &service.security_opt {
        if option.contains("unconfined") || option.contains("disable") {
            say("security_opt", &format!("'{option}'"));
        }
    }
    for (n, mount) in service.volumes.iter().enumerate().filter(|(_, mount)| mount.kind == MountKind::Bind) {
        if mount.source.as_deref().is_some_and(|path| is_the_machine_s(path, !mount.read_only)) {
            say(&format!("volumes[{n}]"), "this path of the machine");
        }
    }
    found
}

/// The same of the volumes of a stack: the engine's own driver mounts whatever it is told to.
pub(crate) fn volumes_give_away(stack: &Stack) -> Vec<(String, String)> {
    let ours = stack.volumes.iter().filter(|(_, volume)| !volume.external);
    let each = ours.filter_map(|(name, volume)| {
        let (option, what) = volume_gives_away(volume)?;
        Some((format!("volumes.{name}.driver_opts.{option}"), what))
    });
    each.collect()
}

fn volume_gives_away(volume: &Volume) -> Option<(&'static str, String)> {
    if !matches!(volume.driver.as_deref(), None | Some("local")) {
        return None;
    }
    let option = |name: &str| volume.driver_opts.get(name).map(String::as_str).unwrap_or_default();
    let (kind, device, words) = (option("type"), option("device"), option("o"));
    let is_bind = words.split(',').any(|word| matches!(word.trim(), "bind" | "rbind"));
    if HARMLESS_TYPES.contains(&kind) && !is_bind {
        return None;
    }
    if device.is_empty() && kind.is_empty() {
        return None;
    }
    if is_the_machine_s(device, true) {
        return Some(("device", "this device".to_owned()));
    }
    // An overlay has its folders in its options, and the kernel has file systems that are the machine itself.
    let plain = matches!(kind, "" | "none" | "bind");
    (!plain || !is_bind).then(|| ("type", format!("a file system '{kind}' of the machine")))
}

/// Whether a path leads to the engine itself, or to what makes the machine what it is.
fn is_the_machine_s(path: &str, writable: bool) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let path = format!("/{}", parts.join("/"));
    // The two are one folder.
    let path = path.strip_prefix("/var/run/").map_or(path.clone(), |rest| format!("/run/{rest}"));
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    parts.contains(&"..")
        || NEVER.contains(&path.as_str())
        || NOR_BELOW.iter().any(|folder| below(folder))
        || (writable && NOT_TO_WRITE.iter().any(|folder| path == *folder || below(folder)))
        || (path.ends_with(".sock")
            && (path.contains("docker") || path.contains("containerd") || path.contains("podman")))
}

#[cfg(test)]
mod tests {
    use windflow_core::target::Mount;

    use super::*;

    #[test]
    fn paths_of_the_machine_are_told_from_those_that_hold_data() {
        let is_refused = |path: &str, read_only: bool| {
            let mut mount = Mount::new(MountKind::Bind, Some(path.to_owned()), "/x");
            mount.read_only = read_only;
            !gives_away(&Service { volumes: vec![mount], ..Service::default() }).is_empty()
        };
        let never = [
            "/",
            "//",
            "/.",
            "/srv/../etc",
            "/proc",
            "/proc/1/root",
            "/sys/fs/cgroup",
            "/dev/sda",
            "/dev/mem",
            "/etc",
            "/var/lib/docker/volumes",
            "/var/run/docker.sock",
            "/run/containerd/containerd.sock",
            "/run/systemd/private",
            "/var/run/dbus/system_bus_socket",
            "/srv/docker.sock",
        ];
        for path in never {
            assert!(is_refused(path, true), "{path} can be read");
        }
        for path in ["/etc/cron.d", "/root", "/root/.ssh", "/boot", "/usr/local/bin", "/bin", "/var/spool/cron"] {
            assert!(is_refused(path, false), "{path} can be written");
        }
        for path in ["/etc/localtime", "/usr/share/zoneinfo", "/etc/ssl/certs"] {
            assert!(!is_refused(path, true), "{path} may be read");
        }
        for path in ["/srv/data", "/home/me/site", "/opt/shop", "/var/log/shop", "/tmp/x", "/etcetera", "/data/etc"] {
            assert!(!is_refused(path, false), "{path} holds data");
        }
    }

    #[test]
    fn a_volume_is_no_way_round() {
        let told = |driver: Option<&str>, options: &[(&str, &str)]| {
            let driver_opts = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            volume_gives_away(&Volume { driver: driver.map(str::to_owned), driver_opts, ..Volume::default() })
                .map(|(option, _)| option)
        };
        for device in ["/", "/etc", "/proc/1/root", "/var/lib/docker", "/dev/sda1"] {
            assert_eq!(told(None, &[("type", "none"), ("o", "bind"), ("device", device)]), Some("device"), "{device}");
        }
        assert_eq!(told(Some("local"), &[("type", "ext4"), ("device", "/dev/sda1")]), Some("device"));
        // The word that decides is among the options, whatever type is named.
        assert_eq!(told(None, &[("type", "tmpfs"), ("o", "ro,bind"), ("device", "/etc")]), Some("device"));
        let over = [("type", "overlay"), ("device", "overlay"), ("o", "lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w")];
        assert_eq!(told(None, &over), Some("type"));
        for kind in ["proc", "sysfs", "devtmpfs", "cgroup", "debugfs"] {
            assert!(told(None, &[("type", kind), ("device", "any")]).is_some(), "{kind}");
        }
        assert_eq!(told(None, &[]), None);
        assert_eq!(told(None, &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=64m")]), None);
        assert_eq!(told(None, &[("type", "nfs"), ("device", ":/exports"), ("o", "addr=10.0.0.1,rw")]), None);
        assert_eq!(told(None, &[("type", "none"), ("o", "bind"), ("device", "/srv/data")]), None);
        assert_eq!(told(Some("rexray"), &[("device", "/dev/xvdf")]), None);
    }
}
