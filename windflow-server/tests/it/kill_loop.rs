//! `kill -9` of the command at random moments, with a ledger that it cannot roll back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::world::World;

/// Every step appends one line with its idempotency key to a file outside the state, and takes it back by another.
const WORKFLOW: &str = r#"
name: ledger
inputs: { fail: { type: boolean, default: false } }
nodes:
  a: &step
    uses: shell
    with: { argv: [/bin/sh, -c, 'echo "do $WINDFLOW_NODE $WINDFLOW_IDEMPOTENCY_KEY" >> "$LEDGER"'], env: { LEDGER: LEDGER_FILE } }
    on_unknown: retry
    compensate:
      uses: shell
      with: { argv: [/bin/sh, -c, 'echo "undo $WINDFLOW_NODE $WINDFLOW_IDEMPOTENCY_KEY" >> "$LEDGER"'], env: { LEDGER: LEDGER_FILE } }
  b: { <<: *step, needs: [a] }
  c: { <<: *step, needs: [a] }
  d: { <<: *step, needs: [b, c] }
  e:
    uses: shell
    needs: [d]
    if: inputs.fail
    with: { argv: [/bin/sh, -c, 'exit 1'] }
    retry: never
    on_unknown: retry
    compensate: nothing
  f: { <<: *step, needs: [d, e] }
"#;

/// How many kills: `WINDFLOW_KILLS`, or enough for a quick look.
fn kills() -> u64 {
    std::env::var("WINDFLOW_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[derive(Default)]
struct Counts {
    killed: u64,
    before_anything: u64,
    between: u64,
    succeeded: u64,
    compensated: u64,
}

#[test]
fn kill_loop() {
    let (next, counts) = (AtomicU64::new(0), Mutex::new(Counts::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let world = World::new();
                let ledger = world.dir.join("ledger");
                world.write("ledger.yaml", &WORKFLOW.replace("LEDGER_FILE", &ledger.to_string_lossy()));
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if counts.lock().unwrap().killed >= kills() {
                        break;
                    }
                    one(&world, number, &counts);
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    println!(
        "  {} kills: {} before the run was durable, {} between start and end; {} runs succeeded, {} were undone",
        counts.killed, counts.before_anything, counts.between, counts.succeeded, counts.compensated
    );
    assert!(counts.between * 10 >= counts.killed * 3, "too few kills met a run in the middle");
    assert!(counts.succeeded > 0 && counts.compensated > 0);
}

fn one(world: &World, number: u64, counts: &Mutex<Counts>) {
    // Spread evenly and the same in every loop; how fast the machine is decides what each kill meets.
    let draw = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let (fail, run) = (draw & 1 == 1, format!("k{number}"));
    let mut pause = Duration::from_millis(15 + draw % 130);
    let start = format!("run ledger.yaml --run-id {run} --input fail={fail} --allow-shell");
    let mut command = world.start(&start);
    let mut killed = 0;
    // Killed once or twice, then left alone.
    loop {
        let until = Instant::now() + pause;
        while Instant::now() < until && !command.has_ended() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if command.has_ended() {
            break;
        }
        command.signal(Signal::KILL);
        command.done();
        killed += 1;
        let created = world.state(&run);
        {
            let mut counts = counts.lock().unwrap();
            counts.killed += 1;
            match created.as_deref() {
                None => counts.before_anything += 1,
                Some("succeeded" | "compensated") => {}
                Some(_) => counts.between += 1,
            }
        }
        let again = if created.is_some() { format!("resume {run} --allow-shell") } else { start.clone() };
        command = world.start(&again);
        if killed == 2 {
            break;
        }
        pause = Duration::from_millis(10 + draw % 97);
    }
    let done = command.done();
    let wanted = if fail { 3 } else { 0 };
    assert_eq!(done.code, wanted, "run {run} ended with {}\n{}\n{}", done.code, done.out, done.err);
    check(world, &run, fail);
    let mut counts = counts.lock().unwrap();
    *(if fail { &mut counts.compensated } else { &mut counts.succeeded }) += 1;
}

/// Holds the journal against the ledger.
fn check(world: &World, run: &str, fail: bool) {
    let text = fs::read_to_string(world.dir.join("ledger")).unwrap_or_default();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split(' ').collect())
        .filter(|words: &Vec<&str>| words.get(2).is_some_and(|key| key.split('/').next() == Some(run)))
        .collect();
    let mut keys: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for words in &lines {
        keys.entry((words[0], words[1])).or_default().insert(words[2]);
        *times.entry((words[0], words[1])).or_default() += 1;
    }
    let effects: &[&str] = if fail { &["a", "b", "c", "d"] } else { &["a", "b", "c", "d", "f"] };
    for node in effects {
        assert!(times.contains_key(&("do", *node)), "{run}: {node} left no effect\n{text}");
        assert_eq!(times.contains_key(&("undo", *node)), fail, "{run}: the ledger of {node} is not balanced\n{text}");
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "{run}: a step used two keys: {keys:?}");
    let journal = world.expect(0, &format!("runs events {run} --json"));
    let (mut complete, mut starts) = (BTreeSet::new(), BTreeMap::new());
    for line in journal.out.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let Some(node) = event["node"].as_str().map(str::to_owned) else { continue };
        match event["type"].as_str().unwrap() {
            "started" => {
                assert!(!complete.contains(&node), "{run}: {node} ran again after it was complete");
                *starts.entry(("do", node)).or_insert(0) += 1;
            }
            "undo_started" => *starts.entry(("undo", node)).or_insert(0) += 1,
            "succeeded" => assert!(complete.insert(node.clone()), "{run}: {node} was completed twice"),
            _ => {}
        }
    }
    for ((what, node), count) in times {
        let starts = starts.get(&(what, node.to_owned())).copied().unwrap_or(0);
        assert!(count <= starts, "{run}: {what} {node} happened {count} times after {starts} starts");
    }
}
