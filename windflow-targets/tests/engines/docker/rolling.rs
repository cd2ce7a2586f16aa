//! Instances of a service are replaced a few at a time, each of them within its time.

use std::time::Duration;

use windflow_core::Timestamp;
use windflow_core::target::{Applied, Replicas, Rollout, Service, Stack, Strategy, Target as _, TargetExt as _};

use super::going_back::Ear;
use super::place::{Place, cx, idle, stack, until, with_check, with_variable};

fn shop(web: Service) -> Stack {
    stack("rolling", [("web", web)])
}

fn rolled(rollout: Rollout) -> Service {
    let mut web = with_check(idle(), "true");
    web.rollout = Some(Rollout { strategy: Some(Strategy::Rolling), ..rollout });
    web
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_are_replaced_two_at_a_time_and_the_third_when_those_were_healthy_for_so_long() {
    let place = Place::new();
    let target = place.target();
    let least = Duration::from_secs(2);
    let version = |version: &str| {
        let mut web = rolled(Rollout { batch: Some(2), min_healthy: Some(least), ..Rollout::default() });
        web.replicas = Replicas(3);
        shop(with_variable(web, "VERSION", version))
    };
    target.deploy(&cx("one"), version("1")).await.unwrap();
    let ear = Ear::new(&place);
    assert_eq!(target.deploy(&cx("two"), version("2")).await.unwrap(), Applied::Revision(Some(2)));
    // Three are made, started and removed.
    until("all of it is heard", || ear.told_of("web").len() == 9).await;
    let told: Vec<String> = ear.told_of("web").into_iter().map(|(what, _)| what).collect();
    let up_to_the_third: Vec<&str> = {
        let third = told.iter().enumerate().filter(|(_, what)| *what == "start").nth(2).unwrap().0;
        let mut before: Vec<&str> = told[..third].iter().map(String::as_str).filter(|what| *what != "create").collect();
        before.sort_unstable();
        before
    };
    assert_eq!(up_to_the_third, ["destroy", "destroy", "start", "start"], "{told:?}");
    let observed = target.observe(&cx("look"), &version("2").name).await.unwrap();
    let mut since: Vec<Timestamp> = observed.services["web"].instances.iter().map(|one| one.since.unwrap()).collect();
    since.sort();
    assert!(since[1].after(least) <= since[2], "the first two were to be healthy for so long: {since:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ready_within_its_own_time_goes_back_long_before_the_target_would_give_up() {
    let place = Place::new();
    let target = place.target();
    target.deploy(&cx("one"), shop(with_check(idle(), "true"))).await.unwrap();
    let mut late = rolled(Rollout { progress_deadline: Some(Duration::from_secs(2)), ..Rollout::default() });
    // For half a minute it may fail its checks: it is neither well nor ill.
    late = Service { healthcheck: with_check(idle(), "false").healthcheck, ..late };
    late.healthcheck.as_mut().unwrap().start_period = Some(Duration::from_secs(30));
    let applied = target.deploy(&cx("two"), shop(late)).await.unwrap();
    let Applied::RolledBack { to: Some(1), why } = &applied else { panic!("{applied:?}") };
    assert!(why.contains("still starting when time was up"), "{why}");
}
