//! What makes a running service another one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windflow_core::target::{FileObject, FileSource, RESTART_LABEL, Service, Stack};
use windflow_core::{ContentHash, ServiceName};

/// Two services of the same identity need not take each other's place.
pub(crate) type Identity = ContentHash;

/// How far `restart: true` is followed. Circles are refused in the plan; this is a belt to that pair of braces.
const DEPTH: usize = 16;

/// What decides whether containers of this service must be made anew: all that the engine is told about them, the content
/// of the files they are handed, and the identity of whatever they restart with. How many there are, after what they start
/// and how they are replaced is no part of it.
pub(crate) fn identity(stack: &Stack, service: &Service) -> Identity {
    within(stack, service, DEPTH)
}

/// The identities of what a service restarts with (`depends_on` with `restart: true`): when one of them becomes another,
/// so does it. A restart that was asked for by name is not among them: it is asked for of each.
///
/// <https://github.com/compose-spec/compose-spec/blob/main/05-services.md#depends_on>
pub(crate) fn restarts_with(stack: &Stack, service: &Service) -> BTreeMap<ServiceName, Identity> {
    needs(stack, service, DEPTH)
}

fn needs(stack: &Stack, service: &Service, depth: usize) -> BTreeMap<ServiceName, Identity> {
    let restarting = service.depends_on.iter().filter(|(_, need)| need.restart && depth > 0);
    let found = restarting.filter_map(|(name, _)| Some((name, stack.services.get(name)?)));
    found
        .map(|(name, needed)| {
            let mut needed = needed.clone();
            needed.labels.remove(RESTART_LABEL);
            (name.clone(), within(stack, &needed, depth - 1))
        })
        .collect()
}

fn within(stack: &Stack, service: &Service, depth: usize) -> Identity {
    let (own, needs) = (own(stack, service), needs(stack, service, depth));
    if needs.is_empty() { ContentHash::of_value(&own) } else { ContentHash::of_value(&json!([own, needs])) }
}

fn own(stack: &Stack, service: &Service) -> Value {
    let mut told = service.clone();
    told.replicas = Default::default();
    told.depends_on.clear();
    told.rollout = None;
    told.pull_policy = None;
    told.update_config = None;
    told.rollback_config = None;
    told.deploy_labels.clear();
    told.placement = Default::default();
    told.endpoint_mode = None;
    told.process = None;
    told.other.clear();
    let source = |files: &BTreeMap<String, FileObject>, name: &String| {
        files.get(name).and_then(|file| file.source.clone()).map(|source| match source {
            FileSource::Content(text) | FileSource::Base64(text) => ContentHash::of(text.as_bytes()).to_string(),
            FileSource::Secret(reference) => reference.to_string(),
        })
    };
    let configs: Vec<Option<String>> = told.configs.iter().map(|mount| source(&stack.configs, &mount.source)).collect();
    let secrets: Vec<Option<String>> = told.secrets.iter().map(|mount| source(&stack.secrets, &mount.source)).collect();
    let mut own = json!({ "service": told, "configs": configs, "secrets": secrets });
    let foreign = foreign(stack, service);
    if !foreign.is_empty() {
        own["external"] = json!(foreign);
    }
    own
}

/// What a service uses that somebody else has made, by path, as the engine knows it: what is ours is known by its path.
fn foreign(stack: &Stack, service: &Service) -> BTreeMap<String, String> {
    let default = (service.networks.is_empty() && service.network_mode.is_none()).then(|| "default".to_owned());
    let networks = service.networks.keys().chain(default.iter()).filter_map(|name| {
        let network = stack.networks.get(name).filter(|network| network.external)?;
        Some((format!("networks.{name}"), network.name.clone().unwrap_or_else(|| name.clone())))
    });
    let volumes = service.volumes.iter().filter_map(|mount| {
        let name = mount.source.as_ref()?;
        let volume = stack.volumes.get(name).filter(|volume| volume.external)?;
        Some((format!("volumes.{name}"), volume.name.clone().unwrap_or_else(|| name.clone())))
    });
    networks.chain(volumes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windflow_core::StackName;
    use windflow_core::target::{Condition, Dependency, FileMount};

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    fn stack(edit: impl FnOnce(&mut Service)) -> Stack {
        let mut web = Service { image: Some("app:1".to_owned()), ..Service::default() };
        edit(&mut web);
        Stack::new(StackName::new("shop").unwrap(), [(name("web"), web)].into())
    }

    fn of(stack: &Stack) -> Identity {
        identity(stack, &stack.services[&name("web")])
    }

    #[test]
    fn only_what_the_engine_is_told_makes_a_container_anew() {
        let plain = stack(|_| {});
        assert_eq!(of(&plain), of(&stack(|web| web.replicas.0 = 3)));
        assert_eq!(of(&plain), of(&stack(|web| web.pull_policy = Some("always".to_owned()))));
        assert_ne!(of(&plain), of(&stack(|web| web.user = Some("1".to_owned()))));
        let mut handed = stack(|web| web.configs.push(FileMount { source: "page".to_owned(), ..Default::default() }));
        let object =
            |text: &str| FileObject { source: Some(FileSource::Content(text.to_owned())), ..Default::default() };
        handed.configs.insert("page".to_owned(), object("one"));
        let one = of(&handed);
        handed.configs.insert("page".to_owned(), object("two"));
        assert_ne!(one, of(&handed), "another content is another container");
    }

    #[test]
    fn what_was_ours_and_is_somebody_else_s_is_another() {
        use windflow_core::target::{Mount, MountKind, Network, Volume};
        let data = Mount::new(MountKind::Volume, Some("data".to_owned()), "/data");
        let mut shop = stack(|web| web.volumes = vec![data]);
        shop.volumes.insert("data".to_owned(), Volume::default());
        let ours = of(&shop);
        shop.networks.insert("other".to_owned(), Network { external: true, ..Network::default() });
        assert_eq!(ours, of(&shop), "it is not on that network");
        shop.networks.insert("default".to_owned(), Network { external: true, ..Network::default() });
        let theirs = of(&shop);
        shop.volumes.insert("data".to_owned(), Volume { external: true, ..Volume::default() });
        let both = of(&shop);
        shop.volumes.get_mut("data").unwrap().name = Some("elsewhere".to_owned());
        assert!(ours != theirs && theirs != both && both != of(&shop));
    }

    /// `web` needs `api`, which needs `db`.
    fn chain(restart: bool, edit: impl FnOnce(&mut Service)) -> Stack {
        let needing = |need: &str| {
            let condition = Condition::ServiceStarted;
            let dependency = Dependency { condition, required: true, restart };
            Service { depends_on: [(name(need), dependency)].into(), ..Service::default() }
        };
        let mut shop = stack(|web| web.depends_on = needing("api").depends_on);
        let mut db = Service { image: Some("db:1".to_owned()), ..Service::default() };
        edit(&mut db);
        shop.services.extend([(name("api"), needing("db")), (name("db"), db)]);
        shop
    }

    #[test]
    fn what_restarts_with_another_becomes_another_with_it() {
        let (before, user) = (chain(true, |_| {}), |db: &mut Service| db.user = Some("1".to_owned()));
        assert_ne!(of(&before), of(&chain(true, user)), "even at second hand");
        assert_eq!(of(&chain(false, |_| {})), of(&chain(false, user)));
        assert_eq!(of(&before), of(&chain(true, |db| db.replicas.0 = 2)), "nothing of db is made anew");
        let asked = |db: &mut Service| drop(db.labels.insert(RESTART_LABEL.to_owned(), "now".to_owned()));
        assert_eq!(of(&before), of(&chain(true, asked)), "a restart is asked for of each");
        assert_eq!(of(&chain(false, |_| {})), of(&stack(|_| {})), "without it, needs are no part");
    }

    #[test]
    fn a_circle_ends() {
        let mut shop = chain(true, |_| {});
        let again = shop.services[&name("web")].depends_on.clone();
        shop.services.get_mut(&name("db")).unwrap().depends_on = again;
        assert_eq!(of(&shop), of(&shop.clone()));
    }
}
