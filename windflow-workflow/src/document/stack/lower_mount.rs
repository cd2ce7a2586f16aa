//! What is mounted into a service.

use windflow_core::target::{BindOptions, Mount, MountKind, TmpfsOptions, VolumeOptions};

use super::fields::Normal;
use crate::document::diagnostic::Problems;

pub(super) fn mounts(from: &Normal<'_>, problems: &mut Problems) -> Vec<Mount> {
    let mut out: Vec<Mount> = Vec::new();
    for at in from.items("volumes") {
        let kind = match at.text("type").as_deref() {
            Some("bind") => MountKind::Bind,
            Some("tmpfs") => MountKind::Tmpfs,
            Some("npipe") => MountKind::Npipe,
            Some("cluster") => MountKind::Cluster,
            Some("image") => MountKind::Image,
            _ => MountKind::Volume,
        };
        let target = at.text("target").unwrap_or_default();
        if !target.starts_with('/') && kind != MountKind::Npipe {
            let span = at.get("target").map_or(at.node.span, |entry| entry.value.span);
            problems.error(span, &format!("{}.target", at.path), format_args!("'{target}' must be an absolute path"));
        }
        let mut mount = Mount::new(kind, at.text("source").filter(|source| !source.is_empty()), target);
        mount.read_only = at.flag("read_only");
        mount.consistency = at.text("consistency");
        mount.bind = at.inside("bind").map(|bind| BindOptions {
            propagation: bind.text("propagation"),
            create_host_path: bind.switch("create_host_path").unwrap_or(true),
            recursive: bind.text("recursive"),
            selinux: bind.text("selinux"),
        });
        let volume = at.inside("volume").map(|volume| VolumeOptions {
            nocopy: volume.flag("nocopy"),
            subpath: volume.text("subpath"),
            labels: volume.pairs("labels"),
        });
        mount.volume = volume.filter(|options| *options != VolumeOptions::default());
        let tmpfs =
            at.inside("tmpfs").map(|tmpfs| TmpfsOptions { size: tmpfs.number("size"), mode: tmpfs.number("mode") });
        mount.tmpfs = tmpfs.filter(|options| *options != TmpfsOptions::default());
        mount.image_subpath = at.inside("image").and_then(|image| image.text("subpath"));
        out.push(mount);
    }
    twice(from, problems);
    out
}

/// Nothing is mounted where something else is.
fn twice(from: &Normal<'_>, problems: &mut Problems) {
    let tmpfs = from.texts("tmpfs");
    let mut seen: Vec<&str> = tmpfs.iter().map(|text| text.split_once(':').map_or(&**text, |(path, _)| path)).collect();
    let volumes = from.items("volumes");
    let targets: Vec<Option<String>> = volumes.iter().map(|at| at.text("target")).collect();
    for (at, target) in volumes.iter().zip(&targets) {
        let Some(target) = target.as_deref() else { continue };
        if seen.contains(&target) {
            problems.error(at.node.span, &at.path, format_args!("something is mounted at '{target}' already"));
        }
        seen.push(target);
    }
}
