//! Whether anything that a stack says is lost without a word: each value is taken out in turn, and either what an engine is asked
//! for is another, or what the plan says is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windflow_core::target::Stack;

/// A stack that says something in every place there is. Some of it cannot be together: a plan then says so.
fn everything() -> Stack {
    serde_json::from_str(EVERYTHING).unwrap()
}

const EVERYTHING: &str = r#"{
  "name": "shop",
  "services": {
    "web": {
      "image": "app:1",
      "entrypoint": ["/entry", "point"],
      "command": ["serve", "all"],
      "environment": {"A": {"plain": "1"}, "P": {"secret": "secret://env/P"}},
      "ports": [
        {
          "target": 80,
          "published": 8080,
          "published_end": 8090,
          "host_ip": "127.0.0.1",
          "protocol": "udp",
          "mode": "host",
          "name": "front",
          "app_protocol": "http"
        }
      ],
      "expose": ["81", "53/udp"],
      "depends_on": {"db": {"condition": "service_healthy", "required": false, "restart": true}},
      "healthcheck": {
        "probe": {"exec": ["true", "yes"]},
        "interval": 1000,
        "timeout": 2000,
        "retries": 4,
        "start_period": 5000,
        "start_interval": 100
      },
      "restart": {"policy": "on-failure", "max_attempts": 3, "delay": 1000, "window": 2000},
      "replicas": 2,
      "mode": "replicated",
      "endpoint_mode": "dnsrr",
      "placement": {
        "constraints": ["node.role==worker", "node.labels.a==b"],
        "spread": ["node.labels.zone"],
        "max_replicas_per_node": 1
      },
      "resources": {
        "limits": {
          "cpus": "0.5",
          "memory": 67108864,
          "pids": 50,
          "generic": {"gpu": 1}
        },
        "reservations": {
          "cpus": "0.5",
          "memory": 67108864,
          "pids": 50,
          "generic": {"gpu": 1}
        }
      },
      "update_config": {
        "parallelism": 2,
        "delay": 1000,
        "failure_action": "rollback",
        "monitor": 2000,
        "max_failure_ratio": "0.5",
        "order": "stop-first"
      },
      "rollback_config": {
        "parallelism": 2,
        "delay": 1000,
        "failure_action": "rollback",
        "monitor": 2000,
        "max_failure_ratio": "0.5",
        "order": "stop-first"
      },
      "rollout": {
        "strategy": "rolling",
        "batch": 2,
        "min_healthy": 1000,
        "progress_deadline": 2000,
        "bake": 3000
      },
      "stop_signal": "SIGINT",
      "stop_grace_period": 3000,
      "labels": {"a": "1"},
      "deploy_labels": {"b": "2"},
      "annotations": {"c": "3"},
      "volumes": [
        {
          "type": "volume",
          "source": "data",
          "target": "/data",
          "read_only": true,
          "consistency": "cached",
          "volume": {"nocopy": true, "subpath": "within", "labels": {"d": "4"}}
        },
        {
          "type": "bind",
          "source": "/srv",
          "target": "/srv",
          "read_only": true,
          "bind": {"propagation": "rslave", "create_host_path": true, "recursive": "enabled", "selinux": "z"}
        },
        {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 1048576, "mode": 448}},
        {"type": "image", "source": "app:2", "target": "/image", "image_subpath": "within"}
      ],
      "tmpfs": ["/run:size=64m,mode=1777,uid=5,noexec", "/run2"],
      "configs": [{"source": "page", "target": "/etc/page", "uid": "1", "gid": "2", "mode": 256}],
      "secrets": [{"source": "page", "target": "/etc/page", "uid": "1", "gid": "2", "mode": 256}],
      "networks": {
        "front": {
          "aliases": ["www", "web2"],
          "ipv4_address": "10.1.2.3",
          "ipv6_address": "fd00::3",
          "link_local_ips": ["169.254.1.1"],
          "mac_address": "02:42:ac:11:00:02",
          "interface_name": "eth7",
          "driver_opts": {"e": "5"},
          "priority": 7,
          "gw_priority": 8
        },
        "back": {}
      },
      "network_mode": "host",
      "hostname": "front",
      "domainname": "example.org",
      "mac_address": "02:42:ac:11:00:03",
      "extra_hosts": {"db": ["10.1.2.4"]},
      "dns": ["10.0.0.1"],
      "dns_opt": ["ndots:1"],
      "dns_search": ["example.org"],
      "container_name": "front-1",
      "platform": "linux/amd64",
      "pull_policy": "always",
      "user": "1000",
      "group_add": ["20"],
      "working_dir": "/srv",
      "init": true,
      "tty": true,
      "stdin_open": true,
      "read_only": true,
      "privileged": true,
      "cap_add": ["NET_ADMIN"],
      "cap_drop": ["NET_RAW"],
      "security_opt": ["no-new-privileges:true"],
      "sysctls": {"net.core.somaxconn": "1024"},
      "ulimits": {"nofile": {"soft": 512, "hard": 1024}},
      "devices": [{"source": "/dev/null", "target": "/dev/nothing", "permissions": "r"}],
      "device_cgroup_rules": ["c 1:3 r"],
      "logging": {"driver": "local", "options": {"max-size": "1m"}},
      "shm_size": 1048576,
      "pid": "host",
      "ipc": "host",
      "uts": "host",
      "userns_mode": "host",
      "cgroup": "host",
      "cgroup_parent": "/parent",
      "runtime": "runc",
      "isolation": "default",
      "storage_opt": {"size": "1G"},
      "cpu_shares": 512,
      "cpu_period": 100000,
      "cpu_quota": 50000,
      "cpuset": "0",
      "mem_swappiness": 10,
      "memswap_limit": 134217728,
      "oom_kill_disable": true,
      "oom_score_adj": 100,
      "other": {"blkio_config": {"weight": 300}}
    },
    "db": {"image": "db:1"}
  },
  "networks": {
    "front": {
      "name": "called",
      "driver": "some",
      "driver_opts": {"f": "6"},
      "labels": {"g": "7"},
      "attachable": true,
      "internal": true,
      "enable_ipv4": false,
      "enable_ipv6": true,
      "ipam": {
        "driver": "own",
        "options": {"h": "8"},
        "config": [
          {
            "subnet": "10.1.0.0/16",
            "ip_range": "10.1.2.0/24",
            "gateway": "10.1.0.1",
            "aux_addresses": {"i": "10.1.0.2"}
          }
        ]
      }
    },
    "back": {},
    "theirs": {"external": true}
  },
  "volumes": {
    "data": {"name": "called", "driver": "some", "driver_opts": {"f": "6"}, "labels": {"g": "7"}},
    "theirs": {"external": true}
  },
  "configs": {
    "page": {
      "name": "page-1",
      "source": {"content": "x"},
      "template_driver": "golang",
      "labels": {"j": "9"}
    }
  },
  "secrets": {
    "page": {
      "name": "page-1",
      "source": {"content": "x"},
      "template_driver": "golang",
      "labels": {"j": "9"}
    }
  }
}"#;

/// What hides something else: no network of a stack is joined beside it, nothing can be handed over, a path is not made.
const HIDING: [&str; 3] = [".network_mode", ".read_only", ".selinux"];

/// The same without that.
fn in_the_open() -> Stack {
    let mut stack = everything();
    let web = stack.services.values_mut().find(|service| service.network_mode.is_some()).unwrap();
    web.network_mode = None;
    web.read_only = false;
    for mount in &mut web.volumes {
        mount.bind.iter_mut().for_each(|bind| bind.selinux = None);
    }
    stack
}

/// Fails where anything is lost, but for these paths, which lead elsewhere, each with where to; and where one of them is not lost.
/// `seen` is everything that an engine is asked for, and everything that a person is told.
pub(crate) fn nothing_is_lost(elsewhere: &[(&str, &str)], seen: impl Fn(&Stack) -> (Value, BTreeSet<String>)) {
    let (open, all) = (in_the_open(), everything());
    let hiding = |path: &String| HIDING.iter().any(|hides| path.ends_with(hides));
    let mut lost = lost(&open, &seen);
    lost.extend(self::lost(&all, &seen).into_iter().filter(hiding));
    let leads = |path: &str, to: &str| path == to || path.starts_with(&format!("{to}."));
    let unknown: Vec<&String> = lost.iter().filter(|path| !elsewhere.iter().any(|(to, _)| leads(path, to))).collect();
    assert!(unknown.is_empty(), "these are lost without a word: {unknown:?}");
    let idle: Vec<&str> =
        elsewhere.iter().map(|(to, _)| *to).filter(|to| !lost.iter().any(|path| leads(path, to))).collect();
    assert!(idle.is_empty(), "these are not lost: {idle:?}");
}

/// The paths of all values whose absence nobody notices. What a plan names, with all that is within, is no loss.
fn lost(stack: &Stack, seen: &impl Fn(&Stack) -> (Value, BTreeSet<String>)) -> BTreeSet<String> {
    let whole = serde_json::to_value(stack).unwrap();
    let (asked, told) = seen(stack);
    let mut paths = Vec::new();
    leaves(&whole, &mut Vec::new(), &mut paths);
    assert!(paths.len() > 180, "only {} values are in it", paths.len());
    let mut lost = BTreeSet::new();
    for path in paths {
        // Keys that no field stands for are told as they are written.
        let name = path.join(".").replace(".other.", ".");
        let is_named = |line: &String| {
            let named = line.split(": ").next().unwrap_or_default().replace('[', ".").replace(']', "");
            name == named || name.starts_with(&format!("{named}."))
        };
        if told.iter().any(is_named) {
            continue;
        }
        let mut other = whole.clone();
        if !take_out(&mut other, &path) {
            continue;
        }
        // What cannot be missing is what it is about.
        let Ok(other) = serde_json::from_value::<Stack>(other) else { continue };
        let (asked_then, told_then) = seen(&other);
        if asked_then == asked && told_then == told {
            lost.insert(name);
        }
    }
    lost
}

fn leaves(value: &Value, at: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let inner: BTreeMap<String, &Value> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(all) => all.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => BTreeMap::new(),
    };
    if inner.is_empty() && !at.is_empty() {
        found.push(at.clone());
    }
    for (key, value) in inner {
        at.push(key);
        leaves(value, at, found);
        at.pop();
    }
}

fn take_out(whole: &mut Value, path: &[String]) -> bool {
    let Some((last, above)) = path.split_last() else { return false };
    let mut at = whole;
    for key in above {
        let next = match at {
            Value::Object(fields) => fields.get_mut(key),
            Value::Array(all) => key.parse::<usize>().ok().and_then(|n| all.get_mut(n)),
            _ => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match at {
        Value::Object(fields) => fields.remove(last).is_some(),
        Value::Array(all) => last.parse::<usize>().is_ok_and(|n| n < all.len() && !all.remove(n).is_null()),
        _ => false,
    }
}
