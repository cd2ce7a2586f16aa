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

    /// Takes everything down. Says whether the engine cannot, for it has lost count of what is on a network.
    async fn is_miscounted(&self) -> bool {
        let gone = self.apply(&self.plan(&gone()).await).await;
        assert!(gone.is_ok() || lost_count(&gone), "{gone:?}");
        gone.is_err()
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

fn lost_count(done: &Result<Applied, TargetError>) -> bool {
    done.as_ref().is_err_and(has_lost_count)
}

/// Whether an engine does not remove a network because of what it does not show to be on it.
pub fn has_lost_count(error: &TargetError) -> bool {
    error.hint.as_deref().is_some_and(|hint| hint.contains("has lost count"))
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
    /// Cut and done again, it ends where it should. Says whether it was cut.
    async fn comes_to_its_end(&self, watched: &Watched) -> bool {
        if let Some(from) = &self.from {
            watched.cost(from).await;
        }
        let plan = watched.plan(&self.to).await;
        watched.proxy.forget();
        watched.proxy.cut_at(self.call, self.cut);
        let mut done = watched.apply(&plan).await;
        // A network whose address range was taken by somebody else a moment before is made twice; so the same work may take
        // a call or two less today than when it was counted.
        let is_cut = watched.proxy.is_cut();
        watched.proxy.heal().unwrap();
        if is_cut {
            assert!(done.is_err(), "told as {done:?}: {}", self.told(watched));
            done = watched.apply(&plan).await;
        }
        if !lost_count(&done) {
            assert!(done.is_ok(), "{done:?}: {}", self.told(watched));
            assert_eq!(watched.shape(), self.shape, "{}", self.told(watched));
            assert_eq!(watched.cost(&self.to).await, 0, "{}", self.told(watched));
        }
        is_cut
    }

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

/// How often an engine may lose count of what is on a network. Docker 20.10 does so about once in two hundred containers that
/// come and go at the same moment, and counts anew when it starts; until then it removes that network for nobody.
const MISCOUNTS: usize = 2;

/// At each call that changes something, both before and after the engine has heard of it. All of them with `WINDFLOW_CUTS=all`,
/// otherwise as many as make twenty that were really cut, others each time.
#[tokio::test]
async fn whatever_call_is_the_last_one_the_same_again_ends_where_an_uncut_one_does() {
    let cases = every_case().await;
    let is_all = std::env::var("WINDFLOW_CUTS").as_deref() == Ok("all");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let first = usize::try_from(now).unwrap() % cases.len();
    // Far from each other, and each once: the step has no part in common with their number.
    let step = (cases.len() / 20 + 1..).find(|step| gcd(*step, cases.len()) == 1).unwrap();
    let (mut watched, mut cut, mut miscounts) = (Watched::new(), 0, 0);
    for case in (0..cases.len()).map(|at| &cases[(first + at * step) % cases.len()]) {
        if cut >= 20 && !is_all {
            break;
        }
        cut += usize::from(case.comes_to_its_end(&watched).await);
        if watched.is_miscounted().await {
            miscounts += 1;
            watched = Watched::new();
        }
    }
    println!("{cut} cuts of {} there are, {miscounts} networks the engine has lost count of", cases.len());
    assert!(cut >= 20, "{cut}");
    assert!(miscounts <= MISCOUNTS, "{miscounts}");
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
