//! What it costs a Swarm to be asked for what is there already.

use windflow_core::target::{Context, Desired, EnvValue, Replicas, Stack, Target as _, TargetExt as _};

use super::place::{Place, sh};

const NAMES: [&str; 20] = [
    "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11", "s12", "s13", "s14", "s15", "s16",
    "s17", "s18", "s19", "s20",
];

/// So many services. Only the first runs, more than once: calls are counted, not seconds.
fn stack_of(place: &Place, services: usize, rich: bool) -> Stack {
    place.stack(NAMES.iter().take(services).enumerate().map(|(at, name)| {
        let mut service = sh("exec sleep 1000");
        service.replicas = Replicas(if at == 0 { 3 } else { 0 });
        if rich {
            let variables = (0..30).map(|at| (format!("VARIABLE_{at}"), EnvValue::Plain(at.to_string())));
            service.environment.extend(variables);
            service.labels.extend((0..20).map(|at| (format!("org.example.l{at}"), at.to_string())));
        }
        (*name, service)
    }))
}

/// How many calls a plan of what is there takes, by a target that has seen nothing yet, and then its apply.
async fn cost(place: &Place, stack: &Stack) -> (usize, usize) {
    place.target().deploy(&Context::new("first"), stack.clone()).await.unwrap();
    let (target, again) = (place.target(), Context::new("again"));
    place.proxy.forget();
    let plan = target.plan_for(&again, &Desired::Present(stack.clone())).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.changes);
    let planned = place.proxy.calls().len();
    target.apply(&again, &plan).await.unwrap();
    assert_eq!(place.proxy.mutations(), 0, "{:?}", place.proxy.calls());
    (planned, place.proxy.calls().len() - planned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_of_what_is_there_costs_eight_questions_however_large_the_stack() {
    let place = Place::new();
    for (services, rich) in [(1, false), (10, false), (20, false), (20, true)] {
        // The first call agrees on a version. Each look asks what it is that is talked to, and for seven lists.
        let cost = cost(&place, &stack_of(&place, services, rich)).await;
        assert_eq!(cost, (1 + 8, 8), "{services} services, {:#?}", place.proxy.calls());
    }
}
