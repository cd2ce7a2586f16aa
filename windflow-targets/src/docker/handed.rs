//! What is handed to a service besides its image: the values of its secrets, and its files.

use std::collections::BTreeMap;

use windflow_core::target::{EnvValue, Service, Stack, TargetError, TargetErrorKind};
use windflow_core::{ServiceName, TargetName};

use super::meaning::Meaning;

/// What a service is handed; never printed.
#[derive(Clone, Default)]
pub(super) struct Handed {
    /// The values of secret variables.
    pub values: BTreeMap<String, String>,
    /// Configs and secrets.
    pub files: Vec<File>,
    /// What tells later whether they have changed.
    pub label: Option<String>,
}

/// One file.
#[derive(Clone)]
pub(super) struct File {
    pub path: String,
    pub content: Vec<u8>,
    pub uid: u64,
    pub gid: u64,
    pub mode: u32,
}

/// Everything that is handed to a service.
///
/// # Errors
/// A secret that is not there, a number that is none, by path.
pub(super) fn handed(
    target: &TargetName,
    meaning: &Meaning,
    stack: &Stack,
    name: &ServiceName,
    service: &Service,
) -> Result<Handed, TargetError> {
    let wrong =
        |what: String| TargetError::new(target, TargetErrorKind::Refused, what).in_stack(&stack.name).in_service(name);
    let mut handed = Handed { label: meaning.label(stack, service), ..Handed::default() };
    for (variable, value) in &service.environment {
        let EnvValue::Secret(_) = value else { continue };
        let value = meaning.variable(name, variable);
        let value = value.map_err(|error| wrong(format!("environment.{variable}: {error}")))?;
        handed.values.insert(variable.clone(), value.to_owned());
    }
    for (part, mounts) in [("configs", &service.configs), ("secrets", &service.secrets)] {
        for mount in mounts {
            let at = format!("{part}.{}", mount.source);
            let content = meaning.values.need_file(&at).map_err(|error| wrong(format!("{at}: {error}")))?.to_vec();
            let number = |text: &Option<String>, what: &str| match text.as_deref() {
                None => Ok(0),
                Some(text) => text.parse().map_err(|_| wrong(format!("{at}.{what}: '{text}' is not a number"))),
            };
            let path = if part == "secrets" { mount.secret_path() } else { mount.config_path() };
            let (uid, gid) = (number(&mount.uid, "uid")?, number(&mount.gid, "gid")?);
            handed.files.push(File { path, content, uid, gid, mode: mount.mode.unwrap_or(0o444) });
        }
    }
    Ok(handed)
}

/// The files as the archive an engine unpacks at the root of a container.
///
/// # Errors
/// A path that no archive can hold.
pub(super) fn archive(files: &[File]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    if files.iter().any(|file| file.path.starts_with("/run/secrets/")) {
        // Folders the engine makes by itself could be written by everybody.
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        archive.append_data(&mut header, "run/secrets/", std::io::empty())?;
    }
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_uid(file.uid);
        header.set_gid(file.gid);
        header.set_size(u64::try_from(file.content.len()).unwrap_or(u64::MAX));
        archive.append_data(&mut header, file.path.trim_start_matches('/'), file.content.as_slice())?;
    }
    archive.into_inner()
}

/// Files that would be handed to a place where something else is mounted when the container starts: they would vanish under it,
/// or stay behind in it. As path and sentence.
pub(super) fn covered(service: &Service) -> Vec<(String, String)> {
    let folders = service.tmpfs.iter().map(|entry| entry.split_once(':').map_or(entry.as_str(), |(folder, _)| folder));
    let mounts: Vec<&str> = folders.chain(service.volumes.iter().map(|mount| mount.target.as_str())).collect();
    let secrets = service.secrets.iter().enumerate().map(|(n, to)| (format!("secrets[{n}]"), to.secret_path()));
    let configs = service.configs.iter().enumerate().map(|(n, to)| (format!("configs[{n}]"), to.config_path()));
    let over = |file: &str| mounts.iter().copied().find(|mount| std::path::Path::new(file).starts_with(mount));
    let told = secrets.chain(configs).filter_map(|(path, file)| {
        let mount = over(&file)?;
        Some((path, format!("{file} would lie under what is mounted at {mount}: give it another 'target'")))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::values::Values;
    use windflow_core::target::{Context, FileMount, FileObject, FileSource, Mount, MountKind};

    #[tokio::test]
    async fn a_file_is_handed_over_as_whose_it_is_said_to_be_and_where() {
        let mount = FileMount {
            source: "page".to_owned(),
            target: Some("/etc/page".to_owned()),
            uid: Some("1000".to_owned()),
            gid: Some("20".to_owned()),
            mode: Some(0o640),
        };
        let mut web = Service { configs: vec![mount.clone()], secrets: vec![mount.clone()], ..Service::default() };
        web.secrets[0].target = None;
        let name = ServiceName::new("web").unwrap();
        let mut shop = Stack::new("shop".parse().unwrap(), [(name.clone(), web)].into());
        let file =
            |text: &str| FileObject { source: Some(FileSource::Content(text.to_owned())), ..FileObject::default() };
        (shop.configs, shop.secrets) =
            ([("page".to_owned(), file("a page"))].into(), [("page".to_owned(), file("a word"))].into());
        let target = TargetName::new("docker").unwrap();
        let meaning = Meaning { values: Values::of(&Context::new("test"), &shop).await, ..Meaning::default() };
        let handed = handed(&target, &meaning, &shop, &name, &shop.services[&name]).unwrap();
        let bytes = archive(&handed.files).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let (header, path) = (entry.header().clone(), entry.path().unwrap().display().to_string());
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            if !text.is_empty() {
                found.push((path, header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap(), text));
            }
        }
        let of = |path: &str, text: &str| (path.to_owned(), 1000, 20, 0o640, text.to_owned());
        assert_eq!(found, [of("etc/page", "a page"), of("run/secrets/page", "a word")]);
        let mut wrong = shop.clone();
        wrong.services.get_mut(&name).unwrap().configs[0].uid = Some("me".to_owned());
        let told = super::handed(&target, &meaning, &wrong, &name, &wrong.services[&name]).err().unwrap();
        assert!(told.to_string().contains("configs.page.uid: 'me' is not a number"), "{told}");
    }

    #[test]
    fn a_file_under_a_mount_is_refused_by_path_and_one_beside_it_is_not() {
        let at = |source: &str, target: Option<&str>| FileMount {
            source: source.to_owned(),
            target: target.map(str::to_owned),
            ..FileMount::default()
        };
        let mut service = Service { tmpfs: vec!["/run/:size=1m".to_owned()], ..Service::default() };
        service.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/etc/app")];
        service.secrets = vec![at("key", None), at("key", Some("/runs/key"))];
        service.configs = vec![at("conf", Some("/etc/app/conf")), at("conf", None)];
        let told: Vec<String> = covered(&service).into_iter().map(|(path, why)| format!("{path}: {why}")).collect();
        assert_eq!(
            told,
            [
                "secrets[0]: /run/secrets/key would lie under what is mounted at /run/: give it another 'target'",
                "configs[0]: /etc/app/conf would lie under what is mounted at /etc/app: give it another 'target'",
            ]
        );
    }
}
