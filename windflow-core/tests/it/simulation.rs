//! Thousands of seeded worlds, with floors on what happened in them; and bugs planted to see them caught.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use windflow_core::sim::{Counters, Outcome, simulate};

/// How many worlds are run: `WINDFLOW_SIM_WORLDS`, or enough for a quick look.
fn worlds() -> u64 {
    std::env::var("WINDFLOW_SIM_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// Where the seeds begin: `WINDFLOW_SIM_SEED`, to run one world again.
fn first_seed() -> u64 {
    std::env::var("WINDFLOW_SIM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Runs worlds on all cores, and what `each` makes of every one.
fn on_all_cores(count: u64, each: impl Fn(u64, Outcome) + Sync) {
    let next = AtomicU64::new(first_seed());
    let last = first_seed() + count;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    each(seed, simulate(seed).unwrap());
                }
            });
        }
    });
}

#[test]
fn no_world_breaks_a_promise() {
    let totals = Mutex::new((Counters::default(), Vec::new()));
    on_all_cores(worlds(), |seed, outcome| {
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.0 += outcome.counters;
        totals.1.extend(outcome.violations.into_iter().map(|what| format!("seed {seed}: {what}")));
    });
    let (counters, violations) = totals.into_inner().unwrap();
    for (name, count) in counters.list() {
        println!("  {name:<18} {count}");
    }
    assert!(
        violations.is_empty(),
        "{} violations; repeat one with WINDFLOW_SIM_WORLDS=1 WINDFLOW_SIM_SEED=<seed>:\n{}",
        violations.len(),
        violations.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    if counters.worlds < 1_000 {
        return;
    }
    // A run of worlds in which nothing happened proves nothing: floors for each 1,000 worlds.
    let floors = [
        ("runs", 1_500),
        ("children", 500),
        ("effects", 5_000),
        ("undos", 2_000),
        ("crashes_before", 500),
        ("crashes_after", 500),
        ("unknown_applied", 500),
        ("unknown_lost", 500),
        ("unavailable", 500),
        ("frozen", 100),
        ("fenced", 50),
        ("takeovers", 2_000),
        ("shutdowns", 500),
        ("cancels", 100),
        ("pauses", 100),
        ("pondered", 500),
        ("panics", 50),
        ("observed", 500),
        ("slow_looks", 200),
        ("parked", 300),
        ("quarantined", 5),
        ("stuck", 20),
        ("timers", 100),
        ("succeeded", 100),
        ("compensated", 100),
        ("cancelled", 50),
    ];
    for (name, floor) in floors {
        let count = counters.list().into_iter().find(|(of, _)| *of == name).map_or(0, |(_, count)| count);
        let floor = floor * counters.worlds / 1_000;
        assert!(count >= floor, "only {count} {name} in {} worlds, fewer than {floor}", counters.worlds);
    }
}

#[test]
fn a_seed_replays() {
    for seed in first_seed()..first_seed() + 20 {
        let (one, two) = (simulate(seed).unwrap(), simulate(seed).unwrap());
        assert_eq!((one.trace, one.counters), (two.trace, two.counters), "seed {seed}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_caught() {
    use windflow_core::sim::Bug;
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        Bug::plant(Some(bug));
        let caught = (1..=2_000).find_map(|seed| {
            let violations = simulate(seed).unwrap().violations;
            violations.first().map(|what| (seed, what.clone()))
        });
        Bug::plant(None);
        match caught {
            Some((seed, what)) => println!("  {bug:?}: caught by seed {seed}: {what}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
