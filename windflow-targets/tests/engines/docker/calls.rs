//! What is called on the engine, seen by a proxy in front of it; and what becomes of a stack when a call is the last one.

use std::time::{Duration, SystemTime};

use windflow_bed::{Cut, Proxy};
use windflow_core::target::{Applied, Condition, Desired, Plan, Target as _, TargetError, TargetExt as _};
use windflow_targets::docker::DockerTarget;

use super::place::{Place, cx, idle, needing, stack, with_check, with_variable};

fn shop(version: &str) -> Desired {
    let web = needing(with_variable(idle(), "VERSION", version), "db", Condition::ServiceHealthy);
    Desired::Present(stack("cut-short", [("db", with_check(idle(), "true")), ("web", web)]))
}

fn gone() -> Desired {
    Desired::Absent(shop("1").stack().clone())
}

/// A place whose engine is behind a proxy.
struct Watched {
    place: Place,
    proxy: Proxy,
}

impl Watched {
    fn new() -> Self {
        let proxy = Proxy::start(&windflow_bed::docker()).unwrap();
        Self { place: Place::new(), proxy }
    }

    /// As a process has it that has just begun.
    fn target(&self) -> DockerTarget {
        let mut config = self.place.config();
        config.endpoint = self.proxy.endpoint().parse().unwrap();
        config.settle = Duration::from_millis(50);
        DockerTarget::new(config)
    }

    /// How many objects of each sort there are.
    fn shape(&self) -> Vec<String> {
        let marked = self.place.marked(None).into_iter();
        let mut sorts: Vec<String> = marked.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        sorts.sort();
        sorts
    }

    async fn plan(&self, desired: &Desired) -> Plan {
        self.target().plan_for(&cx("plan"), desired).await.unwrap()
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, TargetError> {
        self.target().apply(&cx("apply"), plan).await
    }

    /// Makes it so, and says how many calls that change something that took.
    async fn cost(&self, desired: &Desired) -> usize {
        let plan = self.plan(desired).await;
        self.proxy.forget();
        self.apply(&plan).await.unwrap();
        self.proxy.mutations()
    }
}

#[tokio::test]
async fn a_second_apply_plans_nothing_and_calls_nothing_that_changes_anything() {
    let watched = Watched::new();
    assert!(watched.cost(&shop("1")).await >= 4);
    let plan = watched.plan(&shop("1")).await;
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(watched.cost(&shop("1")).await, 0, "{:?}", watched.proxy.calls());
    assert!(!watched.proxy.calls().is_empty());
}

/// One cut: which work (from, to), at which call, when, and how it looks in the end.
#[derive(Clone)]
struct Case {
    from: Option<Desired>,
    to: Desired,
    call: usize,
    cut: Cut,
    shape: Vec<String>,
}

/// Every cut of an apply, an update and a destroy.
async fn every_case() -> Vec<Case> {
    let mut cases = Vec::new();
    for (from, to) in [(None, shop("1")), (Some(shop("1")), shop("2")), (Some(shop("1")), gone())] {
        let uncut = Watched::new();
        if let Some(from) = &from {
            uncut.cost(from).await;
        }
        let calls = uncut.cost(&to).await;
        let shape = uncut.shape();
        let each = (1..=calls).flat_map(|call| [(call, Cut::Before), (call, Cut::After)]);
        let of = |(call, cut)| Case { from: from.clone(), to: to.clone(), call, cut, shape: shape.clone() };
        cases.extend(each.map(of));
    }
    cases
}

impl Case {
    /// In a few words, for a test that fails.
    fn told(&self, watched: &Watched) -> String {
        let lines = watched.proxy.calls().into_iter().filter(|call| call.mutates);
        let calls: Vec<String> = lines.map(|call| format!("{} {} {:?}", call.method, call.path, call.status)).collect();
        let work = if self.from.is_none() {
            "apply"
        } else if self.to == gone() {
            "destroy"
        } else {
            "update"
        };
        format!("{work}, cut {:?} call {}: {calls:#?}", self.cut, self.call)
    }
}

/// At each call that changes something, both before and after the engine has heard of it. All of them with `WINDFLOW_CUTS=all`,
/// otherwise twenty, others each time.
#[tokio::test]
async fn whatever_call_is_the_last_one_the_same_again_ends_where_an_uncut_one_does() {
    let mut cases = every_case().await;
    let all = cases.len();
    if std::env::var("WINDFLOW_CUTS").as_deref() != Ok("all") {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let first = usize::try_from(now).unwrap() % all;
        cases = (0..20).map(|at| cases[(first + at * all / 20) % all].clone()).collect();
    }
    println!("{} of {all} cuts", cases.len());
    assert!(cases.len() >= 20);
    let (watched, mut not_cut) = (Watched::new(), 0);
    for case in cases {
        if let Some(from) = &case.from {
            watched.cost(from).await;
        }
        let plan = watched.plan(&case.to).await;
        watched.proxy.forget();
        watched.proxy.cut_at(case.call, case.cut);
        let done = watched.apply(&plan).await;
        if watched.proxy.is_cut() {
            assert!(done.is_err(), "told as {done:?}: {}", case.told(&watched));
            watched.proxy.heal().unwrap();
            let again = watched.apply(&plan).await;
            assert!(again.is_ok(), "{again:?}: {}", case.told(&watched));
        } else {
            // A network whose address range was taken by somebody else a moment before is made twice; so the same work may
            // take a call or two less today than when it was counted.
            assert!(done.is_ok(), "{done:?}: {}", case.told(&watched));
            watched.proxy.heal().unwrap();
            not_cut += 1;
        }
        assert_eq!(watched.shape(), case.shape, "{}", case.told(&watched));
        assert_eq!(watched.cost(&case.to).await, 0, "{}", case.told(&watched));
        watched.cost(&gone()).await;
    }
    assert!(not_cut <= 4, "{not_cut} were not cut at all");
}
