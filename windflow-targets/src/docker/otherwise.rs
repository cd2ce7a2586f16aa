//! Why services are made anew of which no field has changed.

use std::collections::BTreeMap;

use bollard::models::ContainerStateStatusEnum;
use windflow_core::ServiceName;
use windflow_core::target::{Service, Stack};

use super::look::{Found, Seen};
use super::rollout::wanted;
use crate::engine::{Identity, identity, restarts_with};

/// Services with containers that are not what is wanted though no field says so, and why.
pub(super) fn otherwise(stack: &Stack, seen: &Seen) -> Vec<(ServiceName, String)> {
    let mut told = Vec::new();
    for (name, service) in &stack.services {
        let service = wanted(seen, stack, name, service);
        let anew = identity(stack, &service);
        let why = seen.of(name).filter(|found| !seen.is_kept(found)).find_map(|found| {
            let state = found.inspect.state.as_ref().and_then(|state| state.status);
            let made_as = seen.made_as(found).filter(|made_as| *made_as != anew);
            match (state, made_as) {
                (Some(ContainerStateStatusEnum::CREATED), _) => Some("its container was never completed".to_owned()),
                (_, None) => None,
                (_, Some(_)) => restarting_with(stack, seen, found, &service).or_else(|| {
                    let same_words = identity(stack, &found.spec) == anew;
                    Some(match same_words {
                        true if service.configs.is_empty() && service.secrets.is_empty() => {
                            "a network or volume it uses is another one".to_owned()
                        }
                        true => "a file it is handed has changed, or a network or volume it uses".to_owned(),
                        false => "a container of it was left by an apply that did not come to its end".to_owned(),
                    })
                }),
            }
        });
        told.extend(why.map(|why| (name.clone(), why)));
    }
    told
}

/// Why a container is replaced though nothing of its own has changed: what it restarts with is made anew, or is not the
/// same as before.
fn restarting_with(stack: &Stack, seen: &Seen, found: &Found, service: &Service) -> Option<String> {
    let (before, now) = (restarts_with(&seen.current()?.stack, &found.spec), restarts_with(stack, service));
    let names = |of: &BTreeMap<ServiceName, Identity>, than: &BTreeMap<ServiceName, Identity>| {
        let other = of.iter().filter(|(name, identity)| than.get(*name) != Some(identity));
        other.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match (names(&now, &before), names(&before, &now)) {
        (anew, gone) if anew.is_empty() && gone.is_empty() => None,
        (anew, gone) if anew.is_empty() => Some(format!("it restarts with {gone} no more")),
        (anew, _) => Some(format!("it restarts with {anew}")),
    }
}
