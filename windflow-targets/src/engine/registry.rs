//! Who we are to registries of images.

use std::collections::BTreeMap;

use bollard::auth::DockerCredentials;
use windflow_core::SecretRef;
use windflow_core::target::{Context, TargetError, TargetErrorKind};

use super::Engine;

/// How to log in to one registry. The password is a reference, resolved just before an image is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The user.
    pub username: String,
    /// Where the password is.
    pub password: SecretRef,
}

/// Logins by the name of the registry as images carry it: `registry.example.com:5000`, or `docker.io`.
pub type RegistryLogins = BTreeMap<String, RegistryLogin>;

/// The registry an image comes from: `docker.io` unless the name says otherwise.
pub(crate) fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// What is shown to the registry of this image, if anything.
pub(crate) async fn credentials(
    engine: &Engine,
    cx: &Context,
    logins: &RegistryLogins,
    image: &str,
) -> Result<Option<DockerCredentials>, TargetError> {
    let registry = registry_of(image);
    let Some(login) = logins.get(registry) else { return Ok(None) };
    let password = cx.secret(&login.password).await.map_err(|error| {
        let what = format!("the password for the registry {registry}: {error}");
        TargetError::new(engine.target(), TargetErrorKind::Refused, what)
    })?;
    Ok(Some(DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(password.expose().to_owned()),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::registry_of;

    #[test]
    fn the_registry_is_the_first_part_that_looks_like_a_host() {
        assert_eq!(registry_of("nginx:1.27"), "docker.io");
        assert_eq!(registry_of("library/nginx"), "docker.io");
        assert_eq!(registry_of("localhost/app"), "localhost");
        assert_eq!(registry_of("127.0.0.1:5000/app:1"), "127.0.0.1:5000");
        assert_eq!(registry_of("ghcr.io/a/b@sha256:0"), "ghcr.io");
    }
}
