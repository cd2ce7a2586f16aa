//! Whether the virtual addresses of services can work at all.
//!
//! A Swarm leads the address of a service, and its ingress, to tasks through IPVS, a part of the kernel. Where that is
//! missing, it reports the service as running all the same, and nothing answers. No engine tells; but where the engine
//! runs on our own kernel we can see for ourselves, because it asks for that part when it joins a Swarm. Of other
//! machines nothing is known until a published port is tried.

use std::path::Path;

/// Whether the engine's kernel has IPVS, if it is ours too.
pub(super) fn works(kernel: Option<&str>) -> Option<bool> {
    let ours = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    if kernel != Some(ours.trim()) {
        return None;
    }
    Some(Path::new("/sys/module/ip_vs").exists() || Path::new("/proc/net/ip_vs").exists())
}
