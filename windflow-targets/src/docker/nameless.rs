//! Volumes without a name: of a mount that says only where, or of an image. A container that takes the place of another
//! of the same service and number is given what that one had, as the Compose tool does; the engine would give it empty ones.

use std::collections::BTreeMap;

use bollard::models::{HostConfig, ImageConfig, Mount as EngineMount, MountType};
use bollard::query_parameters::RemoveVolumeOptions;
use windflow_core::ServiceName;
use windflow_core::target::{MountKind, Service, TargetError, TargetErrorKind};

use super::look::{Found, Seen};
use super::render::Rendered;
use crate::engine::Engine;

/// The engine's names of volumes by where they are in a container.
pub(super) type Nameless = BTreeMap<String, String>;

/// What is carried over, by service and number.
pub(super) type Carried = BTreeMap<(ServiceName, u32), Nameless>;

/// Whether the engine has made this name up.
fn is_made_up(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_asked_for(service: &Service, volume: &str) -> bool {
    service.volumes.iter().any(|mount| mount.source.as_deref() == Some(volume))
}

/// Those that a container has.
pub(super) fn of(found: &Found) -> Nameless {
    let mounts = found.inspect.mounts.iter().flatten().filter(|mount| mount.typ.as_deref() == Some("volume"));
    let named = mounts.filter_map(|mount| Some((mount.destination.clone()?, mount.name.clone()?)));
    named.filter(|(_, volume)| is_made_up(volume) && !is_asked_for(&found.spec, volume)).collect()
}

/// What the next containers are to be given: of two that stand beside each other, what the older one has.
pub(super) fn carried(seen: &Seen) -> Carried {
    let mut oldest: Vec<&Found> = seen.containers.iter().collect();
    oldest.sort_by(|a, b| a.inspect.created.cmp(&b.inspect.created));
    let mut carried = Carried::new();
    for found in oldest {
        let of_this = carried.entry((found.service.clone(), found.instance)).or_default();
        for (target, volume) in of(found) {
            of_this.entry(target).or_insert(volume);
        }
    }
    carried.retain(|_, volumes| !volumes.is_empty());
    carried
}

/// Has a container take over these volumes, as far as it or its image asks for one at that place.
pub(super) fn give(rendered: &mut Rendered, service: &Service, image: &ImageConfig, volumes: &Nameless) {
    let host = rendered.body.host_config.get_or_insert_default();
    for (target, volume) in volumes {
        let nameless = host.mounts.iter_mut().flatten().find(|mount| {
            mount.target.as_ref() == Some(target) && mount.source.is_none() && mount.typ == Some(MountType::VOLUME)
        });
        let taken = service.volumes.iter().any(|mount| mount.target == *target)
            || service.tmpfs.iter().any(|folder| folder.split(':').next() == Some(target));
        let of_the_image = image.volumes.iter().flatten().any(|asked| asked == target);
        match nameless {
            Some(mount) => mount.source = Some(volume.clone()),
            None if of_the_image && !taken => host.mounts.get_or_insert_default().push(EngineMount {
                target: Some(target.clone()),
                source: Some(volume.clone()),
                typ: Some(MountType::VOLUME),
                ..EngineMount::default()
            }),
            None => {}
        }
    }
}

/// The settings of a container as if nothing had been carried over: that is no difference.
pub(super) fn forgotten(mut host: HostConfig, service: &Service) -> HostConfig {
    for mount in host.mounts.iter_mut().flatten() {
        if mount.source.as_deref().is_some_and(|volume| is_made_up(volume) && !is_asked_for(service, volume)) {
            mount.source = None;
        }
    }
    let asked = |mount: &EngineMount| {
        let of_ours = service.volumes.iter().find(|ours| mount.target.as_ref() == Some(&ours.target));
        of_ours.is_some_and(|ours| ours.kind == MountKind::Volume && ours.source.is_none())
    };
    if let Some(mounts) = &mut host.mounts {
        mounts.retain(|mount| mount.typ != Some(MountType::VOLUME) || mount.source.is_some() || asked(mount));
    }
    host
}

/// Removes those that had a container which is gone: the engine does so only for those it has made for that container.
pub(super) async fn remove(engine: &Engine, found: &Found) -> Result<(), TargetError> {
    let docker = engine.docker().await?;
    for (target, volume) in of(found) {
        let what = format!("removing the volume of {} at {target}", found.service);
        match engine.remove(&what, docker.remove_volume(&volume, None::<RemoveVolumeOptions>)).await {
            // Somebody else has it, too.
            Err(error) if error.kind == TargetErrorKind::Conflict => {}
            done => done?,
        }
    }
    Ok(())
}
