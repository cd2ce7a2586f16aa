//! Where a Docker engine is: what `windflow.yaml` says, then what the `docker` command would take.

use std::path::{Path, PathBuf};

use serde_json::Value;
use windflow_core::ContentHash;
use windflow_targets::docker::{Endpoint, TlsFiles};

use crate::process::Process;

/// Where Docker listens unless somebody says otherwise.
const DEFAULT: &str = "unix:///var/run/docker.sock";

/// What `windflow.yaml` says about the engine of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineConfig {
    /// `unix://`, `tcp://` or `ssh://`.
    pub endpoint: Option<String>,
    /// A context of the `docker` command.
    pub context: Option<String>,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub tls: Option<PathBuf>,
    /// The key for `ssh://`.
    pub ssh_key: Option<PathBuf>,
}

/// Where the engine is: `endpoint`, `context`, then `DOCKER_HOST` (with `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`),
/// `DOCKER_CONTEXT`, the context that is current in Docker's configuration, and Docker's own socket.
///
/// # Errors
/// What is written and leads nowhere.
pub fn endpoint(written: &EngineConfig, process: &Process) -> Result<Endpoint, String> {
    let found = match (&written.endpoint, &written.context) {
        (Some(endpoint), _) => endpoint.parse()?,
        (None, Some(context)) => of_context(process, context)?,
        (None, None) => ambient(process)?,
    };
    let found = match &written.tls {
        Some(folder) => found.with_tls(TlsFiles::within(process.working_dir.join(folder))),
        None => found,
    };
    Ok(match (found, &written.ssh_key) {
        (Endpoint::Ssh { destination, .. }, Some(key)) => {
            Endpoint::Ssh { destination, key: Some(process.working_dir.join(key)) }
        }
        (found, _) => found,
    })
}

fn ambient(process: &Process) -> Result<Endpoint, String> {
    if let Some(host) = process.variable("DOCKER_HOST") {
        let endpoint: Endpoint = host.parse().map_err(|error| format!("DOCKER_HOST: {error}"))?;
        if process.variable("DOCKER_TLS_VERIFY").is_none() {
            return Ok(endpoint);
        }
        let folder = process.variable("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| configuration(process));
        let folder = folder.ok_or("DOCKER_TLS_VERIFY is set, and DOCKER_CERT_PATH names no folder")?;
        return Ok(endpoint.with_tls(TlsFiles::within(folder)));
    }
    if let Some(context) = process.variable("DOCKER_CONTEXT") {
        return of_context(process, context);
    }
    let current = configuration(process).and_then(|folder| read(&folder.join("config.json")));
    match current.as_ref().and_then(|config| config["currentContext"].as_str()) {
        Some(context) if !context.is_empty() => of_context(process, context),
        _ => Ok(Endpoint::default()),
    }
}

/// The folder with Docker's configuration.
fn configuration(process: &Process) -> Option<PathBuf> {
    let set = process.variable("DOCKER_CONFIG").map(PathBuf::from);
    set.or_else(|| Some(Path::new(process.variable("HOME")?).join(".docker")))
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The engine of a context; its folder is called after the hash of its name.
fn of_context(process: &Process, name: &str) -> Result<Endpoint, String> {
    if name == "default" {
        return Ok(Endpoint::default());
    }
    let unknown = || format!("there is no Docker context '{name}': 'docker context ls' shows those there are");
    let folder = configuration(process).ok_or_else(unknown)?.join("contexts");
    let hash: String = ContentHash::of(name.as_bytes()).bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let meta = read(&folder.join("meta").join(&hash).join("meta.json")).ok_or_else(unknown)?;
    let host = meta["Endpoints"]["docker"]["Host"].as_str().unwrap_or(DEFAULT);
    let endpoint: Endpoint = host.parse().map_err(|error| format!("the Docker context '{name}': {error}"))?;
    let certificates = folder.join("tls").join(&hash).join("docker");
    Ok(if certificates.is_dir() { endpoint.with_tls(TlsFiles::within(certificates)) } else { endpoint })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn process(variables: &[(&str, &str)]) -> Process {
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Process { variables, working_dir: "/work".into(), ..Process::current().unwrap() }
    }

    #[test]
    fn what_is_written_goes_before_what_is_around() {
        let around = process(&[("DOCKER_HOST", "tcp://around:2375")]);
        let found = |written: EngineConfig| endpoint(&written, &around).map(|found| found.to_string());
        assert_eq!(found(EngineConfig::default()).as_deref(), Ok("tcp://around:2375"));
        let written = EngineConfig { endpoint: Some("ssh://me@there".to_owned()), ..EngineConfig::default() };
        assert_eq!(found(written).as_deref(), Ok("ssh://me@there"));
        let nowhere = EngineConfig { context: Some("nowhere".to_owned()), ..EngineConfig::default() };
        assert!(found(nowhere).unwrap_err().contains("no Docker context 'nowhere'"));
        let tls = process(&[("DOCKER_HOST", "tcp://a:2376"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/c")]);
        assert!(matches!(endpoint(&EngineConfig::default(), &tls), Ok(Endpoint::Tls { .. })));
    }

    #[test]
    fn a_context_is_found_where_the_docker_command_keeps_it() {
        let folder = std::env::temp_dir().join(format!("windflow-contexts-{}", std::process::id()));
        // The hash of the name, as the docker command makes it.
        let hash = "ab8e18ef4ebebeddc0b3152ce9c9006e14fc05242e3fc9ce32246ea6a9543074";
        let meta = folder.join("contexts/meta").join(hash);
        std::fs::create_dir_all(&meta).unwrap();
        let said = r#"{"Name":"production","Endpoints":{"docker":{"Host":"tcp://far:2376"}}}"#;
        std::fs::write(meta.join("meta.json"), said).unwrap();
        std::fs::write(folder.join("config.json"), r#"{"currentContext":"production"}"#).unwrap();
        let around = process(&[("DOCKER_CONFIG", &folder.to_string_lossy())]);
        let current = endpoint(&EngineConfig::default(), &around);
        std::fs::create_dir_all(folder.join("contexts/tls").join(hash).join("docker")).unwrap();
        let secured = endpoint(&EngineConfig { context: Some("production".to_owned()), ..Default::default() }, &around);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(current.unwrap().to_string(), "tcp://far:2376");
        assert!(matches!(secured, Ok(Endpoint::Tls { .. })), "{secured:?}");
    }
}
