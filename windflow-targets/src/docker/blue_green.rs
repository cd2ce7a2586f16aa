//! `blue_green`, service by service: the whole new set beside the old one, and the service's names from one to the other.
//!
//! Names are what an engine knows of a container in a network, and they change only when it leaves the network and joins it
//! again. So the new set takes the names first, and the old one gives them up after that: nobody asks in vain. The old one
//! comes back at once to the address it had: what was under way to it waits for a moment, and goes on.

use std::collections::BTreeMap;

use bollard::models::EndpointSettings;
use tokio::sync::watch;
use windflow_core::ServiceName;
use windflow_core::target::{Service, Stack, TargetError, TargetErrorKind};

use super::look::{Found, Seen, again};
use super::names;
use super::observe::is_as_made_apart_from_networks;
use super::rollout::{Stage, all_ready, beside, count, is_made_of, is_right, take_away, wanted};
use super::work::Work;
use crate::engine::staged::is_blue_green;
use crate::engine::{identity, staged};

/// What keeps two sets of a service from standing beside each other, by path within it.
pub(super) fn obstacles(service: &Service) -> Vec<(String, String)> {
    let mut found = staged::obstacles(service);
    if !is_blue_green(service) {
        return found;
    }
    let mut say = |path: String, why: &str| found.push((path, staged::for_one_only(why)));
    if service.container_name.is_some() {
        say("container_name".to_owned(), "two containers cannot have one name");
    }
    if service.network_mode.is_some() {
        say("network_mode".to_owned(), "without a network there is no name that could lead to one set or the other");
    }
    let fixed = |to: &windflow_core::target::Attachment| {
        to.ipv4_address.is_some()
            || to.ipv6_address.is_some()
            || to.mac_address.is_some()
            || !to.link_local_ips.is_empty()
    };
    for (network, _) in service.networks.iter().filter(|(_, to)| fixed(to)) {
        say(format!("networks.{network}"), "two containers cannot have one address");
    }
    debug_assert!(!found.is_empty() || beside(service), "what prevents a rolling start prevents this, too");
    found
}

/// Whether this stack replaces a set of this service that is to be kept: a container is there that was made of something
/// else.
pub(super) fn is_staged_by(stack: &Stack, seen: &Seen, name: &ServiceName) -> bool {
    let Some(asked) = stack.services.get(name).filter(|service| is_blue_green(service)) else { return false };
    let service = wanted(seen, stack, name, asked);
    seen.current().is_some_and(|current| current.stack.services.contains_key(name))
        && seen.of(name).any(|found| seen.made_as(found) != Some(identity(stack, &service)))
}

/// Whether containers must be able to come back to a network of the stack at the address they had.
pub(super) fn keeps_addresses(stack: &Stack, network: &str) -> bool {
    let is_on = |name: &ServiceName| names::networks_of(stack, name).iter().any(|on| on == network);
    let open = stack.networks.get(network).is_none_or(|network| network.ipam.is_none());
    open && stack.services.iter().any(|(name, service)| is_blue_green(service) && is_on(name))
}

/// It was made of what is wanted and still is that, though it may lack its names, or a network in which they are changing.
pub(super) fn is_standing(work: &Work<'_>, seen: &Seen, found: &Found, wanted: &Service) -> bool {
    is_made_of(work, seen, found, wanted) && is_as_made_apart_from_networks(seen, work.stack, &work.config.owner, found)
}

/// The two sets of a service, and what belongs to neither.
#[derive(Default)]
struct Sets<'a> {
    /// By instance.
    green: BTreeMap<u32, &'a Found>,
    blue: Vec<&'a Found>,
    /// What a cut has left.
    junk: Vec<Found>,
}

fn sets<'a>(work: &Work<'_>, seen: &'a Seen, name: &'a ServiceName, service: &Service) -> Sets<'a> {
    let mut sets = Sets::default();
    let is_ours = |found: &Found| seen.made_as(found) == Some(identity(work.stack, service));
    for found in seen.of(name) {
        let fits = (1..=count(service)).contains(&found.instance) && !sets.green.contains_key(&found.instance);
        if fits && is_standing(work, seen, found, service) {
            sets.green.insert(found.instance, found);
        } else if is_ours(found) {
            sets.junk.push(found.clone());
        } else {
            sets.blue.push(found);
        }
    }
    sets
}

/// Starts the whole new set of a service without its names, and waits until it is ready. The reason when it does not
/// become so.
pub(super) async fn raise(
    work: &Work<'_>,
    seen: &Seen,
    name: &ServiceName,
    service: &Service,
    stage: &watch::Sender<Stage>,
) -> Result<Option<String>, TargetError> {
    let sets = sets(work, seen, name, service);
    take_away(work, &sets.junk).await?;
    let missing: Vec<u32> = (1..=count(service)).filter(|instance| !sets.green.contains_key(instance)).collect();
    let mut all: Vec<Found> = sets.green.values().map(|found| (*found).clone()).collect();
    if !missing.is_empty() {
        work.cx.progress(format_args!("starting {name} beside what runs"));
        match super::rollout::start_all(work, name, service, &missing, true).await? {
            Ok(new) => all.extend(new),
            Err(why) => return Ok(Some(why)),
        }
    }
    stage.send_replace(Stage::Started);
    let verdict = all_ready(work, all.iter(), service, false).await?;
    if verdict.is_none() {
        stage.send_replace(Stage::Ready);
    }
    Ok(verdict)
}

/// Leads the names of all services that are staged to their new sets, then takes them from the old ones.
pub(super) async fn switch(work: &Work<'_>, seen: &Seen) -> Result<(), TargetError> {
    let mut staged = Vec::new();
    for (name, asked) in &work.stack.services {
        if is_staged_by(work.stack, seen, name) {
            staged.push((name, wanted(seen, work.stack, name, asked)));
        }
    }
    for (name, service) in &staged {
        work.go_on()?;
        work.still_ours().await?;
        work.cx.progress(format_args!("{name} leads to what is new"));
        for found in sets(work, seen, name, service).green.values() {
            take_the_name(work, service, found).await?;
        }
    }
    let mut gave_up = false;
    for (name, service) in &staged {
        work.still_ours().await?;
        for found in sets(work, seen, name, service).blue {
            gave_up |= give_up_the_name(work, &found.spec, found).await?;
        }
    }
    drain(work, gave_up).await;
    Ok(())
}

/// What was looked up just before a name was given up is still on its way, and may be tried again after a second or two.
async fn drain(work: &Work<'_>, gave_up: bool) {
    if gave_up {
        tokio::time::sleep(work.config.drain).await;
    }
}

/// Whether each service is as the staged revision has it: both sets where there are two, each under the names it should have.
pub(super) fn is_switched(work: &Work<'_>, seen: &Seen) -> bool {
    work.stack.services.iter().all(|(name, asked)| {
        let service = wanted(seen, work.stack, name, asked);
        if !is_staged_by(work.stack, seen, name) {
            let right = seen.of(name).filter(|found| is_right(work, seen, found, &service)).count();
            return right == seen.of(name).count() && u32::try_from(right) == Ok(count(&service));
        }
        let sets = sets(work, seen, name, &service);
        let named = |found: &Found| work.networks.values().any(|real| stands_in(found, real) == Some(true));
        sets.junk.is_empty()
            && u32::try_from(sets.green.len()) == Ok(count(&service))
            && sets.green.values().all(|found| is_right(work, seen, found, &service))
            && !sets.blue.iter().any(|found| named(found))
    })
}

/// One set is to stay: it gets the names, the other gives them up, and may be taken away.
pub(super) async fn settle(
    work: &Work<'_>,
    service: &Service,
    stays: &[&Found],
    goes: &[Found],
) -> Result<(), TargetError> {
    work.still_ours().await?;
    for found in stays {
        take_the_name(work, service, found).await?;
    }
    let mut gave_up = false;
    for found in goes {
        gave_up |= give_up_the_name(work, &found.spec, found).await?;
    }
    drain(work, gave_up).await;
    Ok(())
}

/// Whether the names of everything that is staged lead to it, and to nothing else.
pub(super) fn is_led_over(stack: &Stack, seen: &Seen) -> bool {
    let named = |found: &Found| {
        let networks = found.inspect.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        let aliases = networks.into_iter().flat_map(|networks| networks.values()).map(|to| to.aliases.as_ref());
        aliases
            .filter(|aliases| aliases.is_some_and(|all| all.iter().any(|alias| alias == found.service.as_str())))
            .count()
    };
    stack.services.keys().filter(|name| is_staged_by(stack, seen, name)).all(|name| {
        let wanted = names::networks_of(stack, name).len();
        seen.of(name).all(|found| if seen.is_kept(found) { named(found) == 0 } else { named(found) >= wanted })
    })
}

/// The names of the service lead to this container from now on.
pub(super) async fn take_the_name(work: &Work<'_>, service: &Service, found: &Found) -> Result<(), TargetError> {
    Box::pin(stand(work, service, found, true)).await.map(drop)
}

/// The names of the service do not lead to this container any more; it stays in its networks. Says whether they did.
async fn give_up_the_name(work: &Work<'_>, service: &Service, found: &Found) -> Result<bool, TargetError> {
    Box::pin(stand(work, service, found, false)).await
}

/// Has a container be in its networks, with the names or without. Says whether anything had to be done.
async fn stand(work: &Work<'_>, service: &Service, found: &Found, named: bool) -> Result<bool, TargetError> {
    let Some(now) = Box::pin(again(work.engine, found)).await? else { return Ok(false) };
    let mut changed = false;
    let mut asked = Stack::new(work.stack.name.clone(), BTreeMap::from([(found.service.clone(), service.clone())]));
    asked.networks = work.stack.networks.clone();
    for network in names::networks_of(&asked, &found.service) {
        // One that only the other set is on has no name here that anybody could ask for.
        let Some(real) = work.networks.get(&network) else { continue };
        let stands = stands_in(&now, real);
        if stands == Some(named) {
            continue;
        }
        if stands.is_some() {
            work.leave(&found.service, &found.id, real).await?;
        }
        // Whoever has just looked it up finds it where it was.
        let back = address_in(&now, real).filter(|_| !named);
        let joined = work.join_at(&found.service, service, &found.id, real, !named, back.as_deref()).await;
        match joined {
            // In a network of another's, or an older one, addresses are given by the engine only.
            Err(error) if back.is_some() && error.kind != TargetErrorKind::Unknown && !error.is_connection() => {
                work.join(&found.service, service, &found.id, real, !named).await?;
            }
            done => done?,
        }
        changed = true;
    }
    Ok(changed)
}

fn place_in<'a>(found: &'a Found, real: &str) -> Option<&'a EndpointSettings> {
    let networks = found.inspect.network_settings.as_ref()?.networks.as_ref()?;
    let is_it = |(name, to): &(&String, &EndpointSettings)| *name == real || to.network_id.as_deref() == Some(real);
    networks.iter().find(is_it).map(|(_, to)| to)
}

fn address_in(found: &Found, real: &str) -> Option<String> {
    place_in(found, real)?.ip_address.clone().filter(|address| !address.is_empty())
}

/// Whether a container answers to its service's name in a network; none when it is not in it.
fn stands_in(found: &Found, real: &str) -> Option<bool> {
    let to = place_in(found, real)?;
    Some(to.aliases.iter().flatten().any(|alias| alias == found.service.as_str()))
}
