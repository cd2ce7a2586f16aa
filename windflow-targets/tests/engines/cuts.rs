//! Two sets of a service, cut at any call of whatever is done to them, and the same again.

use std::time::SystemTime;

use windflow_bed::{Cut, Proxy};
use windflow_core::target::{Applied, Context, PlanError, Promote, Stack, Target, TargetExt as _};

/// A stack with one service of two sets, behind a proxy, and nothing else.
pub trait TwoSets {
    fn new() -> Self;

    fn proxy(&self) -> &Proxy;

    fn target(&self) -> impl Target;

    /// The stack, whose page says this.
    fn shop(&self, says: &str) -> Stack;

    /// The sorts of objects that are there, one word for each, in order.
    async fn sorts(&self) -> Vec<String>;

    /// How many sets of the page there are.
    async fn sets(&self) -> usize;

    /// What the page says to an instance of a service of the stack.
    fn says(&self, instance: &str) -> String;
}

/// What is done to a stack of two revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Stage,
    Promote,
    Abort,
    Destroy,
}

const ACTS: [Act; 4] = [Act::Stage, Act::Promote, Act::Abort, Act::Destroy];

impl Act {
    async fn on(self, place: &impl TwoSets) -> Result<Applied, PlanError> {
        let (target, stack, cx) = (place.target(), place.shop("").name, Context::new);
        Ok(match self {
            Self::Stage => target.deploy(&cx("stage"), place.shop("two")).await?,
            Self::Promote => target.promote(&cx("promote"), &stack, Promote::Promote).await?,
            Self::Abort => target.promote(&cx("abort"), &stack, Promote::Abort).await?,
            Self::Destroy => target.destroy(&cx("destroy"), &stack).await?,
        })
    }

    /// What must be there before it.
    async fn prepare(self, place: &impl TwoSets) {
        place.target().deploy(&Context::new("one"), place.shop("one")).await.unwrap();
        if self != Self::Stage {
            place.target().deploy(&Context::new("two"), place.shop("two")).await.unwrap();
        }
    }
}

/// How it looks: the sorts of objects, which revisions are current and staged, and what the page says.
async fn shape(place: &impl TwoSets) -> (Vec<String>, Option<u64>, Option<u64>, Option<String>) {
    let observed = place.target().observe(&Context::new("look"), &place.shop("").name).await.unwrap();
    let load = observed.services.get("load").map(|service| service.instances[0].id.clone());
    let says = load.map(|load| place.says(&load));
    (place.sorts().await, observed.current.map(|r| r.number), observed.staged.map(|r| r.number), says)
}

/// All cuts with `WINDFLOW_CUTS=all`, otherwise this many of each act, others each time.
pub async fn every_cut_is_finished_by_the_same_again<P: TwoSets>(some: usize) {
    let all = std::env::var("WINDFLOW_CUTS").as_deref() == Ok("all");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let now = usize::try_from(now).unwrap();
    let (mut tried, mut not_cut) = (0, 0);
    for act in ACTS {
        let place = P::new();
        act.prepare(&place).await;
        place.proxy().forget();
        act.on(&place).await.unwrap();
        let calls = place.proxy().mutations();
        let expected = shape(&place).await;
        drop(place);
        assert!(calls >= 4, "{act:?}: {calls} calls");
        let mut cuts: Vec<(usize, Cut)> = (1..=calls).flat_map(|n| [(n, Cut::Before), (n, Cut::After)]).collect();
        if !all {
            cuts = (0..some).map(|n| cuts[(now + n * calls) % cuts.len()]).collect();
        }
        for (call, cut) in cuts {
            let place = P::new();
            act.prepare(&place).await;
            place.proxy().forget();
            place.proxy().cut_at(call, cut);
            let done = act.on(&place).await;
            let lines = place.proxy().calls().into_iter().filter(|call| call.mutates);
            let calls: Vec<String> =
                lines.map(|call| format!("{} {} {:?}", call.method, call.path, call.status)).collect();
            let told = format!("{act:?}, cut {cut:?} call {call}: {done:?}, {calls:#?}");
            if place.proxy().is_cut() {
                place.proxy().heal().unwrap();
                let again = act.on(&place).await;
                assert!(again.is_ok(), "{again:?}: {told}");
            } else {
                // What an engine under load could not do it is asked again, so the same work may take a call or two less
                // today than when it was counted.
                assert!(done.is_ok(), "{told}");
                place.proxy().heal().unwrap();
                not_cut += 1;
            }
            assert_eq!(shape(&place).await, expected, "{told}");
            tried += 1;
        }
    }
    println!("{tried} cuts, {not_cut} of them too late");
    assert!(not_cut * 4 <= tried, "{not_cut} of {tried} were not cut at all");
}
