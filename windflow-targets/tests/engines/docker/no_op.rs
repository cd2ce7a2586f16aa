//! What it costs the engine to be asked for what is there already.

use std::collections::BTreeMap;

use windflow_core::target::{Desired, Service, Stack, Target as _, TargetExt as _};
use windflow_core::{ServiceName, StackName};

use super::place::{Place, cx, idle, with_check, with_variable};

/// So many services, with little or with much to say of each.
fn stack_of(services: usize, rich: bool) -> Stack {
    let of = |number: usize| {
        let mut service = idle();
        if rich {
            service = with_check(service, "true");
            for variable in 0..30 {
                service = with_variable(service, &format!("VARIABLE_{variable}"), &number.to_string());
            }
            service.labels.extend((0..20).map(|label| (format!("org.example.l{label}"), number.to_string())));
            service.working_dir = Some("/tmp".to_owned());
            service.cap_add = vec!["CHOWN".to_owned()];
        }
        (ServiceName::new(format!("s{number}")).unwrap(), service)
    };
    let services: BTreeMap<ServiceName, Service> = (1..=services).map(of).collect();
    Stack::new(StackName::new("no-op").unwrap(), services)
}

/// How many calls a plan of what is there takes, by a target that has seen nothing yet, and then its apply.
async fn cost(place: &Place, stack: &Stack) -> (usize, usize) {
    place.target().deploy(&cx("first"), stack.clone()).await.unwrap();
    let target = place.target();
    place.proxy.forget();
    let plan = target.plan_for(&cx("again"), &Desired::Present(stack.clone())).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.changes);
    let planned = place.proxy.calls().len();
    target.apply(&cx("again"), &plan).await.unwrap();
    assert_eq!(place.proxy.mutations(), 0, "{:?}", place.proxy.calls());
    (planned, place.proxy.calls().len() - planned)
}

#[tokio::test]
async fn an_apply_of_what_is_there_costs_three_lists_and_one_look_at_each_container_and_image() {
    let place = Place::new();
    for services in [1, 10, 20] {
        let (planned, applied) = cost(&place, &stack_of(services, false)).await;
        // The lists, the one image they all run, by the id it was made of and by the name it has now, and the containers;
        // the very first call agrees on a version.
        assert_eq!((planned, applied), (1 + 5 + services, 5 + services), "{:#?}", place.proxy.calls());
    }
    let (planned, applied) = cost(&place, &stack_of(3, true)).await;
    assert_eq!((planned, applied), (1 + 5 + 3, 5 + 3), "more fields, and a health check: {:#?}", place.proxy.calls());
    place.target().destroy(&cx("gone"), &StackName::new("no-op").unwrap()).await.unwrap();
}
