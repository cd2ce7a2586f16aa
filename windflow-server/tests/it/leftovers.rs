//! What a shell step has started is gone when the step is over for its engine, even one that was killed.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Started, World, until};

/// Says who of an earlier attempt lives beside it; then, unless it may end, goes on for ever with children in its group,
/// in a session of their own, and there without the environment they came from.
const PROGRAM: &str = "\
for pid in $(cat pids 2>/dev/null); do
  case \"$(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null)\" in ''|Z) ;; *) echo $pid >> beside ;; esac
done
if [ -e go ]; then exit 0; fi
sleep 1000 & a=$!
setsid sleep 1001 & b=$!
env -i setsid sleep 1002 & c=$!
until [ \"$(cut -d' ' -f6 /proc/$b/stat)\" = $b ] && [ \"$(cut -d' ' -f6 /proc/$c/stat)\" = $c ]; do :; done
echo $$ $a $b $c > pids.new; mv pids.new pids
wait
";

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie is dead: nobody reaps the orphans of a test.
    !stat.is_empty() && !stat.contains(") Z ")
}

/// A run whose step goes on and on, with all it has started.
fn under_way(argv: &str, on_unknown: &str) -> (World, Started, Vec<String>) {
    let step = format!("uses: shell, on_unknown: {on_unknown}, compensate: nothing");
    let with = format!("with: {{ argv: [{argv}, program.sh], env: {{ PATH: \"/usr/bin:/bin\" }} }}");
    let world = World::with("w.yaml", &format!("name: w\nnodes:\n  long: {{ {step}, {with} }}\n"));
    world.write("program.sh", PROGRAM);
    let run = world.start("run w.yaml --allow-shell --run-id r");
    world.until_file("pids");
    // Written down: the mark, and then the program itself.
    until("both checkpoints are durable", || {
        let events = world.run("runs events r --json").out;
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["type"] == "checkpointed").count() == 2
    });
    let pids = fs::read_to_string(world.dir.join("pids")).unwrap();
    let pids: Vec<String> = pids.split_whitespace().map(str::to_owned).collect();
    assert_eq!(pids.len(), 4);
    (world, run, pids)
}

#[test]
fn the_next_attempt_begins_when_nothing_of_a_killed_engine_runs_any_more() {
    // As it is; and one that has cleared its environment, and the mark with it, before it does anything.
    for argv in ["/bin/sh", "/usr/bin/env, -i, PATH=/usr/bin:/bin, /bin/sh"] {
        let (world, run, pids) = under_way(argv, "retry");
        run.signal(Signal::KILL);
        run.done();
        assert!(pids.iter().all(|pid| is_alive(pid)), "they outlive the engine: {pids:?}");
        world.write("go", "");
        world.expect(0, "resume r --allow-shell");
        let beside = fs::read_to_string(world.dir.join("beside")).unwrap_or_default();
        assert_eq!(beside, "", "an earlier attempt ran beside the next one ({argv})");
        assert!(!pids.iter().any(|pid| is_alive(pid)), "{argv}: {pids:?}");
    }
}

#[test]
fn nothing_of_a_killed_engine_runs_when_a_person_is_asked_what_happened() {
    let (world, run, pids) = under_way("/bin/sh", "stuck");
    run.signal(Signal::KILL);
    run.done();
    assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    let stuck = world.run("resume r --allow-shell");
    assert_eq!(world.state("r").as_deref(), Some("stuck"), "{}", stuck.err);
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

#[test]
fn nothing_runs_on_when_the_command_is_asked_to_end_or_the_run_is_cancelled() {
    let (_world, run, pids) = under_way("/bin/sh", "retry");
    run.signal(Signal::TERM);
    let done = run.done();
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{}: {pids:?}", done.err);
    let (world, run, pids) = under_way("/bin/sh", "retry");
    world.expect(0, "runs cancel r --reason enough");
    assert_eq!(run.done().code, 4);
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

const HELD: &str = "name: held\nnodes:\n  hold: { uses: wait, with: { for: 1h } }\n";

#[test]
fn a_run_that_a_step_has_left_to_the_background_is_not_the_steps() {
    let program = env!("CARGO_BIN_EXE_windflow");
    let detach = format!("{program}, run, held.yaml, --detach, --run-id, held");
    let step = format!("uses: shell, with: {{ argv: [{detach}], env: {{ PATH: \"/usr/bin:/bin\" }} }}");
    let world = World::with("w.yaml", &format!("name: w\nnodes:\n  begin: {{ {step} }}\n"));
    world.write("held.yaml", HELD);
    world.expect(0, "run w.yaml --allow-shell --run-id r");
    world.until_state("held", "waiting");
    let drives = || world.processes().len();
    until("it is driven", || drives() == 1);
    world.expect(0, "runs cancel held --reason enough");
    world.until_state("held", "cancelled");
    until("its process ends", || drives() == 0);
}

#[test]
fn a_run_that_a_step_has_others_resume_in_the_background_is_not_the_steps() {
    let program = env!("CARGO_BIN_EXE_windflow");
    let step = format!("uses: shell, with: {{ argv: [{program}, resume, held, --detach] }}");
    let world = World::with("w.yaml", &format!("name: w\nnodes:\n  begin: {{ {step} }}\n"));
    world.write("held.yaml", HELD);
    for _ in 0..5 {
        world.expect(0, "run held.yaml --run-id held --detach");
        world.until_state("held", "waiting");
        world.kill_services();
        world.expect(0, "run w.yaml --allow-shell");
        until("it is driven", || world.processes().len() == 1);
        world.kill_services();
    }
}

#[test]
fn a_service_may_have_its_own_stack_taken_down_by_a_run_in_the_background() {
    let program = env!("CARGO_BIN_EXE_windflow");
    let world = World::with(
        "w.yaml",
        "name: w\nnodes:\n  down: { uses: destroy, with: { target: local, stack: self.yaml } }\n",
    );
    let folder = world.dir.display();
    let script = format!("cd {folder} && {program} run w.yaml --detach --run-id down; sleep 1000");
    let process = format!("{{ command: [/bin/sh, -c, \"{script}\"] }}");
    let service = format!("x-windflow: {{ process: {process} }}");
    world.write("self.yaml", &format!("name: self\nservices:\n  one: {{ {service} }}\n"));
    world.expect(0, "apply self.yaml --target local --yes");
    world.until_state("down", "succeeded");
    until("nothing is left", || world.processes().is_empty());
}
