//! What it costs a Swarm to be asked for what is there already.

use windflow_core::target::{
    ChangeKind, Context, Desired, EndpointMode, EnvValue, PortMapping, PortMode, Replicas, Service, Stack, Target as _,
    TargetExt as _, UpdateConfig,
};

use super::place::{Place, port, sh};

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

/// A field, what its change comes to, and the change.
type Step = (&'static str, ChangeKind, Box<dyn Fn(&mut Service)>);

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_whose_tasks_are_replaced() {
    let place = Place::new();
    let target = place.target();
    let mut stack = place.stack([("one", sh("exec sleep 1000"))]);
    let host = |mapping: PortMapping| PortMapping { mode: PortMode::Host, ..mapping };
    let published = host(PortMapping::tcp(80).published(port()));
    target.deploy(&Context::new("first"), stack.clone()).await.unwrap();
    let steps: [Step; 7] = [
        ("deploy_labels", ChangeKind::Update, Box::new(|one| drop(one.deploy_labels.insert("a".into(), "b".into())))),
        (
            "update_config",
            ChangeKind::Update,
            Box::new(|one| {
                one.update_config = Some(UpdateConfig { parallelism: Some(2), ..UpdateConfig::default() });
            }),
        ),
        (
            "placement",
            ChangeKind::Update,
            Box::new(|one| one.placement.constraints = vec!["node.role==manager".into()]),
        ),
        ("endpoint_mode", ChangeKind::Replace, Box::new(|one| one.endpoint_mode = Some(EndpointMode::Vip))),
        ("endpoint_mode", ChangeKind::Replace, Box::new(|one| one.endpoint_mode = Some(EndpointMode::Dnsrr))),
        ("ports", ChangeKind::Replace, Box::new(move |one| one.ports = vec![published.clone()])),
        ("ports", ChangeKind::Replace, Box::new(|one| one.ports.clear())),
    ];
    for (at, (field, kind, change)) in steps.iter().enumerate() {
        let cx = Context::new(format!("step{at}"));
        let before = target.observe(&cx, &stack.name).await.unwrap().services["one"].instances[0].id.clone();
        change(stack.services.get_mut("one").unwrap());
        let plan = target.plan_for(&cx, &Desired::Present(stack.clone())).await.unwrap();
        let told: Vec<ChangeKind> = plan.changes.iter().map(|change| change.kind).collect();
        assert_eq!(told, [*kind], "{field}: {:?}", plan.changes);
        target.apply(&cx, &plan).await.unwrap();
        let after = target.observe(&cx, &stack.name).await.unwrap().services["one"].instances[0].id.clone();
        assert_eq!(before != after, *kind == ChangeKind::Replace, "step {at}: {field}");
    }
}
