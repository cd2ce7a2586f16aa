//! What is mounted into a container.

use std::collections::BTreeMap;

use bollard::models::{
    Mount as TheirMount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation, MountTmpfsOptions,
    MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use windflow_core::target::{Mount, MountKind, Service};

use super::service::Bound;

/// On a volume: of whom it is, of which stack, and what it is called there. Volumes outlive their stack, and cannot be
/// relabelled: nothing else of ours is on them.
pub(crate) const RETAINED: &str = "windflow.retained";

/// A volume as each node makes it when it is first mounted there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VolumeSource {
    pub name: String,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

pub(super) fn mounts(service: &Service, bound: &Bound) -> Vec<TheirMount> {
    let listed = service.volumes.iter().map(|asked| mount(asked, bound));
    listed.chain(service.tmpfs.iter().map(|text| memory(text))).collect()
}

fn mount(asked: &Mount, bound: &Bound) -> TheirMount {
    let named = asked.source.as_ref().filter(|_| asked.kind == MountKind::Volume);
    let volume = named.map(|name| {
        bound.volumes.get(name).cloned().unwrap_or(VolumeSource { name: name.clone(), ..VolumeSource::default() })
    });
    TheirMount {
        target: Some(asked.target.clone()),
        source: volume.as_ref().map(|volume| volume.name.clone()).or_else(|| asked.source.clone()),
        typ: Some(match asked.kind {
            MountKind::Volume => MountType::VOLUME,
            MountKind::Bind => MountType::BIND,
            MountKind::Tmpfs => MountType::TMPFS,
            MountKind::Npipe => MountType::NPIPE,
            MountKind::Cluster => MountType::CLUSTER,
            MountKind::Image => MountType::IMAGE,
        }),
        read_only: asked.read_only.then_some(true),
        consistency: asked.consistency.clone(),
        bind_options: asked.bind.as_ref().and_then(|bind| {
            let propagation = bind.propagation.as_deref().and_then(|word| word.parse::<Propagation>().ok())?;
            Some(MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() })
        }),
        volume_options: volume_options(asked, volume.as_ref()),
        image_options: None,
        tmpfs_options: asked.tmpfs.as_ref().map(|memory| MountTmpfsOptions {
            size_bytes: memory.size.and_then(|size| i64::try_from(size).ok()),
            mode: memory.mode.map(i64::from),
            options: None,
        }),
    }
}

fn volume_options(asked: &Mount, volume: Option<&VolumeSource>) -> Option<MountVolumeOptions> {
    let mut options = MountVolumeOptions::default();
    if let Some(own) = &asked.volume {
        options.no_copy = own.nocopy.then_some(true);
        options.subpath.clone_from(&own.subpath);
        options.labels = (!own.labels.is_empty()).then(|| own.labels.clone().into_iter().collect());
    }
    if let Some(volume) = volume {
        let mut labels = options.labels.take().unwrap_or_default();
        labels.extend(volume.labels.clone());
        options.labels = (!labels.is_empty()).then_some(labels);
        if volume.driver.is_some() || !volume.driver_opts.is_empty() {
            options.driver_config = Some(MountVolumeOptionsDriverConfig {
                name: Some(volume.driver.clone().unwrap_or_else(|| "local".to_owned())),
                options: (!volume.driver_opts.is_empty()).then(|| volume.driver_opts.clone().into_iter().collect()),
            });
        }
    }
    (options != MountVolumeOptions::default()).then_some(options)
}

/// `/run:size=64m,mode=1777`.
pub(crate) fn memory(text: &str) -> TheirMount {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let size = option("size").and_then(bytes);
    let mode = option("mode").and_then(|mode| i64::from_str_radix(mode, 8).ok());
    let asked = MountTmpfsOptions { size_bytes: size, mode, options: None };
    TheirMount {
        target: Some(target.to_owned()),
        typ: Some(MountType::TMPFS),
        read_only: options.split(',').any(|option| option == "ro").then_some(true),
        tmpfs_options: (asked != MountTmpfsOptions::default()).then_some(asked),
        ..TheirMount::default()
    }
}

/// The first option of a `tmpfs` that a Swarm does not take.
pub(crate) fn memory_problem(text: &str) -> Option<&str> {
    let options = text.split_once(':')?.1;
    options.split(',').find(|option| match option.split_once('=') {
        Some(("size", size)) => bytes(size).is_none(),
        Some(("mode", mode)) => i64::from_str_radix(mode, 8).is_err(),
        // `rw` is what it is without a word.
        None => !matches!(*option, "ro" | "rw" | ""),
        Some(_) => true,
    })
}

fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_lowercase().trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}
