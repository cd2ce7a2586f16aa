//! What Podman's compatible socket answers otherwise than Docker does. Proved with Podman 4.3.

use std::future::ready;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, Mount, MountTmpfsOptions, MountType};
use bollard::query_parameters::ListContainersOptions;
use futures_util::future::BoxFuture;
use serde_json::Value;
use windflow_core::target::{MountKind, Service, TargetError};

use crate::engine::{Engine, mark};

/// Takes out of a list what was not asked for in it.
type WithoutItsOwn = fn(&mut [Value], &[Value]);

/// The fields to which it adds something that was not asked for, as if it had been.
pub(super) const ADDS: [(&str, WithoutItsOwn); 2] = [("ports", without_chosen_ports), ("tmpfs", without_own_options)];

/// What it adds to the options of a tmpfs.
const OWN_OPTIONS: [&str; 6] = ["rw", "rprivate", "nosuid", "nodev", "noexec", "tmpcopyup"];

/// How often a container is looked at whose state has no word that Docker knows.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Whether Podman made this: it says that of every container, whatever runs it.
pub(super) fn made(inspect: &ContainerInspectResponse) -> bool {
    inspect.host_config.as_ref().and_then(|host| host.runtime.as_deref()) == Some("oci")
}

/// Looks at a container.
pub(super) fn inspect<'a>(
    engine: &'a Engine,
    id: &'a str,
) -> BoxFuture<'a, Result<Option<ContainerInspectResponse>, TargetError>> {
    // In a box: what is said of a container is large, and this is asked within much else.
    Box::pin(async move {
        let docker = engine.docker().await?;
        let found = tidied(|| engine.call(docker.inspect_container(id, None))).await;
        match engine.find("looking at a container", ready(found)).await? {
            Some(mut found) if made(&found) => {
                memory_among_mounts(&mut found);
                with_ids_of_networks(engine, found).await.map(Some)
            }
            found => Ok(found),
        }
    })
}

/// Lists containers.
pub(super) async fn containers(
    engine: &Engine,
    options: ListContainersOptions,
) -> Result<Vec<ContainerSummary>, TargetError> {
    let docker = engine.docker().await?;
    let found = tidied(|| engine.call(docker.list_containers(Some(options.clone())))).await;
    engine.ask("listing containers", ready(found)).await
}

/// Asks until no container is `stopped`, which is no word of Docker's: that is one that has ended, and after which Podman
/// has not tidied up yet.
async fn tidied<T, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> Result<T, Error> {
    for _ in 1..LOOKS {
        match ask().await {
            Err(error) if is_between(&error) => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
    ask().await
}

fn is_between(error: &Error) -> bool {
    matches!(error, Error::JsonDataError { message, .. } if message.contains("unknown variant `stopped`"))
}

/// It says the name of a network where its id should stand.
async fn with_ids_of_networks(
    engine: &Engine,
    mut found: ContainerInspectResponse,
) -> Result<ContainerInspectResponse, TargetError> {
    let docker = engine.docker().await?;
    let networks = found.network_settings.iter_mut().flat_map(|settings| settings.networks.iter_mut().flatten());
    for (name, place) in networks.filter(|(name, place)| place.network_id.as_ref() == Some(name)) {
        let network = engine.find("looking at a network", docker.inspect_network(name, None)).await?;
        place.network_id = network.and_then(|network| network.id).or(place.network_id.take());
    }
    Ok(found)
}

/// Memory that was asked for as a mount it tells among that which was asked for as `tmpfs`.
fn memory_among_mounts(found: &mut ContainerInspectResponse) {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let asked: Option<Service> = labels.and_then(|labels| serde_json::from_str(labels.get(mark::SPEC)?).ok());
    let (Some(asked), Some(host)) = (asked, found.host_config.as_mut()) else { return };
    for mount in asked.volumes.into_iter().filter(|mount| mount.kind == MountKind::Tmpfs) {
        let Some(options) = host.tmpfs.as_mut().and_then(|memory| memory.remove(&mount.target)) else { continue };
        let option = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        let tmpfs = MountTmpfsOptions {
            size_bytes: option("size").and_then(|size| size.parse().ok()),
            mode: option("mode").and_then(|mode| i64::from_str_radix(mode, 8).ok()),
            ..MountTmpfsOptions::default()
        };
        host.mounts.get_or_insert_default().push(Mount {
            target: Some(mount.target),
            typ: Some(MountType::TMPFS),
            read_only: options.split(',').any(|option| option == "ro").then_some(true),
            tmpfs_options: Some(tmpfs),
            ..Mount::default()
        });
    }
}

/// Of a port that it chose by itself it says which it is.
fn without_chosen_ports(live: &mut [Value], asked: &[Value]) {
    let without = |port: &Value| {
        let mut port = port.clone();
        port.as_object_mut().map(|port| port.remove("published"));
        port
    };
    for port in live.iter_mut().filter(|port| !asked.contains(port)) {
        if asked.contains(&without(port)) {
            *port = without(port);
        }
    }
}

fn without_own_options(live: &mut [Value], asked: &[Value]) {
    let parts = |text: &str| -> (String, Vec<String>) {
        let (folder, options) = text.split_once(':').unwrap_or((text, ""));
        let options = options.split(',').filter(|option| !option.is_empty());
        (folder.to_owned(), options.map(str::to_owned).collect())
    };
    for mount in live {
        let (folder, options) = parts(mount.as_str().unwrap_or_default());
        let same = asked.iter().find(|asked| {
            let (its_folder, its_options) = parts(asked.as_str().unwrap_or_default());
            let mut added = options.iter().filter(|option| !its_options.contains(option));
            its_folder == folder
                && its_options.iter().all(|option| options.contains(option))
                && added.all(|option| OWN_OPTIONS.contains(&option.as_str()))
        });
        if let Some(same) = same {
            *mount = same.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn without(field: &str, live: Value, asked: &Value) -> Value {
        let (_, without_its_own) = ADDS.iter().find(|(name, _)| *name == field).unwrap();
        let mut live = live.as_array().unwrap().clone();
        without_its_own(&mut live, asked.as_array().unwrap());
        Value::Array(live)
    }

    #[test]
    fn memory_that_was_asked_for_as_a_mount_is_one() {
        let spec = json!({ "tmpfs": ["/one"], "volumes": [
            { "type": "tmpfs", "target": "/two" },
            { "type": "tmpfs", "target": "/three", "read_only": true, "tmpfs": { "size": 1_048_576, "mode": 448 } },
        ] });
        let mut found: ContainerInspectResponse = serde_json::from_value(json!({
            "Config": { "Labels": { mark::SPEC: spec.to_string() } },
            "HostConfig": { "Tmpfs": {
                "/one": "rw,rprivate,nosuid,nodev,tmpcopyup",
                "/two": "rw,rprivate,nosuid,nodev,tmpcopyup",
                "/three": "size=1048576,mode=700,ro,rprivate,nosuid,nodev,tmpcopyup",
            } },
        }))
        .unwrap();
        memory_among_mounts(&mut found);
        let host = found.host_config.unwrap();
        assert_eq!(host.tmpfs.unwrap().into_keys().collect::<Vec<_>>(), ["/one"]);
        assert_eq!(
            json!(host.mounts),
            json!([
                { "Target": "/two", "Type": "tmpfs", "TmpfsOptions": {} },
                { "Target": "/three", "Type": "tmpfs", "ReadOnly": true, "TmpfsOptions": { "SizeBytes": 1_048_576, "Mode": 448 } },
            ])
        );
    }

    #[test]
    fn what_podman_adds_is_taken_out_and_what_somebody_changed_is_not() {
        let asked =
            json!([{ "target": 80, "protocol": "tcp" }, { "target": 81, "protocol": "tcp", "published": 8081 }]);
        let chosen = json!([
            { "target": 80, "protocol": "tcp", "published": 40000 },
            { "target": 81, "protocol": "tcp", "published": 8081 },
        ]);
        assert_eq!(without("ports", chosen, &asked), asked);
        let other = json!([{ "target": 81, "protocol": "tcp", "published": 8082 }]);
        assert_eq!(without("ports", other.clone(), &asked), other);

        let asked = json!(["/a", "/b:size=10m,mode=700"]);
        let own = json!(["/a:rw,rprivate,nosuid,nodev,tmpcopyup", "/b:size=10m,mode=700,rw,rprivate,nosuid,nodev"]);
        assert_eq!(without("tmpfs", own, &asked), asked);
        let other = json!(["/a:size=1m,rw,rprivate", "/b:mode=700,rw", "/c:rw"]);
        assert_eq!(without("tmpfs", other.clone(), &asked), other);
    }
}
